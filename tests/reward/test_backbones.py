"""What pictures look like to a backbone."""

import pytest
import torch
from pydantic import ValidationError

from prefpaint.reward.backbones import clip_pixels
from prefpaint.reward.config import RewardConfig


def test_clip_sees_all_of_a_picture_that_is_not_square() -> None:
    wide = torch.zeros(1, 3, 32, 96)
    other = wide.clone()
    other[..., 90:] = 1
    seen = [clip_pixels(images, 32) for images in (wide, other)]
    assert seen[0].shape == (1, 3, 32, 32)
    assert (seen[0] != seen[1])[..., -2:].all()


def test_similarity_to_words_needs_standardised_features() -> None:
    given = {"text": {"checkpoint": "clip"}, "head": {"kind": "mlp"}}
    trained = {"kind": "clip", "checkpoint": "clip", "frozen": 0.5}
    with pytest.raises(ValidationError, match=r"set backbone\.frozen to 1"):
        RewardConfig.model_validate({**given, "backbone": trained})
    RewardConfig.model_validate({**given, "backbone": {**trained, "frozen": 1.0}})
