"""Other people's models as judges, on small models of the real classes with random weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from prefpaint.errors import PrefPaintError
from prefpaint.judges.outside_models import aesthetic_judge, blip_judge, clip_judge, imagereward_judge, logits_judge
from tests.judges.outside_models import pictures, write_models


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    return write_models(tmp_path_factory.mktemp("models"), tiny_base / "tokenizer")


def test_clip_is_the_cosine_of_the_models_own_embeddings(models: Path) -> None:
    found = clip_judge("judge", str(models / "clip"), "a photograph")(pictures())
    model = transformers.CLIPModel.from_pretrained(models / "clip").eval()
    processor = transformers.AutoProcessor.from_pretrained(models / "clip")
    inputs = processor(text=["a photograph"], images=list(pictures()), return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits_per_image[:, 0] / model.logit_scale.exp()
    np.testing.assert_allclose(found, 100 * logits.clamp(min=0).numpy(), atol=1e-3)


def test_blip_gives_probabilities(models: Path) -> None:
    found = blip_judge("judge", str(models / "blip"), "a photograph")(pictures())
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
        assert np.isfinite(judge("judge", str(models / name), "a photograph " * 300)(pictures())).all()
