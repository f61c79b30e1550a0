"""Architectures have the published sizes, and small ones of the same classes load as checkpoints do."""

from pathlib import Path

import numpy as np
import pytest
import torch

from prefpaint.evaluation.config import LearnedScoresConfig
from prefpaint.evaluation.learned import check_checkpoints
from prefpaint.inpainting.checkpoint import load_pipeline
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.sampling import Inpainter
from prefpaint.masks.depth import checkpoint_depth
from prefpaint.rehearsal import architectures
from prefpaint.rehearsal.architectures import BERT_WORDS, CLIP_WORDS, Part, on_meta, parameters
from tests.rehearsal.small import SIDE, SMALL


@pytest.mark.parametrize(
    ("part", "weights"),
    [
        (architectures.SD15.parts["unet"], 859_535_364),
        (architectures.SD15.parts["vae"], 83_653_863),
        (architectures.CLIP_L, 123_060_480),
        (architectures.SDXL.parts["unet"], 2_567_478_084),
        (architectures.SDXL.parts["text_encoder_2"], 694_659_840),
        (architectures.FLUX_FILL.parts["transformer"], 11_902_391_360),
        (architectures.FLUX_FILL.parts["text_encoder_2"], 4_762_310_656),
        (architectures.CLIP_B_32, 151_277_313),
        (architectures.DEPTH_SMALL, 24_785_089),
        (architectures.VIT_B_16, 86_567_656),
    ],
)
def test_weights_are_as_many_as_published(part: Part, weights: int) -> None:
    assert parameters(on_meta(part)) == weights


def test_the_cut_flux_keeps_everything_but_blocks() -> None:
    whole, cut = (base.parts["transformer"] for base in (architectures.FLUX_FILL, architectures.FLUX_FILL_CUT))
    assert {name for name in whole.settings if whole.settings[name] != cut.settings[name]} == {
        "num_layers",
        "num_single_layers",
    }
    assert architectures.FLUX_FILL_CUT.cut


@pytest.mark.parametrize("name", SMALL)
def test_a_base_is_written_and_paints(tmp_path: Path, name: str) -> None:
    base = SMALL[name]
    architectures.write_base(base, tmp_path / "base")
    pipe = load_pipeline(tmp_path / "base")
    assert type(pipe).__name__ == base.pipeline
    image = np.full((1, SIDE, SIDE, 3), 90, np.uint8)
    painted = Inpainter(pipe, SamplingConfig(steps=2, precision="bf16")).sample(image, image[..., 0] // 90, [0])
    assert painted.shape == image.shape


def test_texts_have_the_published_length_and_vocabulary() -> None:
    tokenizer = architectures.clip_tokenizer()
    assert len(tokenizer) == CLIP_WORDS
    found = tokenizer("a photograph", padding="max_length", truncation=True).input_ids
    assert len(found) == 77 and found[0] == CLIP_WORDS - 2 and found[-1] == CLIP_WORDS - 1
    assert len(set(architectures.bert_words())) == BERT_WORDS


def test_every_other_model_is_written_and_loads(tmp_path: Path) -> None:
    from tests.rehearsal.small import small_models

    architectures.write_models(small_models(), tmp_path)
    names = ("clip", "blip", "aesthetic", "classifier", "imagereward")
    check_checkpoints(LearnedScoresConfig(**{name: str(tmp_path / name) for name in names}))
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
    assert np.isfinite(checkpoint_depth(str(tmp_path / "depth"))(image)).all()
    # What is there stays.
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    architectures.write_models(small_models(), tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_weights_are_the_same_every_time(tmp_path: Path) -> None:
    part = SMALL["sd15"].parts["unet"]
    with architectures.building(torch.float32):
        first = part.build().state_dict()
    with architectures.building(torch.float32):
        second = part.build().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert torch.get_default_dtype() == torch.float32
