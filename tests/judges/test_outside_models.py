"""Other people's models as judges, on small models of the real classes with random weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from prefpaint.errors import PrefPaintError
from prefpaint.judges.outside_models import aesthetic_judge, blip_judge, clip_judge, imagereward_judge, logits_judge
from tests.judges.outside_models import pictures, write_models

TEXTS = ["a photograph", "a cat", "a cat", "a photograph"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    return write_models(tmp_path_factory.mktemp("models"), tiny_base / "tokenizer")


def test_clip_is_the_cosine_of_the_models_own_embeddings(models: Path) -> None:
    found = clip_judge("judge", str(models / "clip"))(pictures(), TEXTS)
    model = transformers.CLIPModel.from_pretrained(models / "clip").eval()
    processor = transformers.AutoProcessor.from_pretrained(models / "clip")
    inputs = processor(
        text=["a photograph", "a cat"], images=list(pictures()), return_tensors="pt", padding=True, truncation=True
    )
    with torch.no_grad():
        both = model(**inputs).logits_per_image / model.logit_scale.exp()
    logits = both[range(4), [0, 1, 1, 0]]
    assert (both[:, 0] != both[:, 1]).all()
    np.testing.assert_allclose(found, 100 * logits.clamp(min=0).numpy(), atol=1e-3)


def test_blip_gives_probabilities(models: Path) -> None:
    found = blip_judge("judge", str(models / "blip"))(pictures(), TEXTS)
    assert found.shape == (4,) and ((found > 0) & (found < 1)).all()


def test_an_aesthetic_model_has_one_output_or_a_label(models: Path) -> None:
    raw, labels = logits_judge("judge", str(models / "aesthetic"))
    shares = np.exp(raw(pictures()))
    found = aesthetic_judge("judge", str(models / "aesthetic"))(pictures())
    assert labels[1] == "aesthetic"
    np.testing.assert_allclose(found, shares[:, 1] / shares.sum(1), atol=1e-12)
    raw, _ = logits_judge("judge", str(models / "regression"))
    np.testing.assert_array_equal(
        aesthetic_judge("judge", str(models / "regression"))(pictures()), raw(pictures())[:, 0]
    )
    with pytest.raises(PrefPaintError, match=r"^judge: .* has the labels cat, dog, cup; give a model with one output"):
        aesthetic_judge("judge", str(models / "classifier"))


def test_a_long_text_is_cut(models: Path) -> None:
    for judge in (clip_judge, blip_judge, imagereward_judge):
        name = judge.__name__.removesuffix("_judge")
        assert np.isfinite(judge("judge", str(models / name))(pictures(), ["a photograph " * 300] * 4)).all()
