"""Captions by small models of the real classes: for prompts without words only, once, and told apart from own words."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder, write_image
from prefpaint.masks import captions
from prefpaint.masks.captions import captioned, checkpoint_captions
from prefpaint.masks.config import CaptionsConfig
from tests.masks.checkpoints import (
    WORDS,
    write_blip,
    write_blip_retrieval,
    write_classifier,
    write_git,
    write_vit_gpt2,
)


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blip(tmp_path_factory.mktemp("captions") / "blip")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> ImageFolder:
    """Two, of noise."""
    folder = ImageFolder(tmp_path_factory.mktemp("photographs"))
    rng = np.random.default_rng(0)
    for key in ("p", "q"):
        write_image(folder.file(key), rng.integers(0, 256, (60, 80, 3)).astype(np.uint8))
    return folder


def plan(words: dict[int, str] | None = None, pattern: str = "brush") -> pd.DataFrame:
    """Eight crops, the last the same as the first."""
    rows = [
        {
            "prompt_id": f"train_{n}",
            "key": "pq"[n % 2 if n < 7 else 0],
            "sha256": "pq"[n % 2 if n < 7 else 0] * 3,
            "pattern": pattern,
            "left": n % 7,
            "top": 0,
            "right": n % 7 + 40,
            "bottom": 40,
            "text_prompt": (words or {}).get(n, ""),
        }
        for n in range(8)
    ]
    return pd.DataFrame(rows)


def config(checkpoint: Path, **others: int) -> CaptionsConfig:
    return CaptionsConfig(**{"checkpoint": str(checkpoint), "tokens": 6, "batch": 3, **others})


def test_without_a_checkpoint_nothing_changes(photographs: ImageFolder, tmp_path: Path) -> None:
    given = plan({1: "a car"})
    assert captioned(given, photographs, CaptionsConfig(), tmp_path) is given
    assert list(tmp_path.iterdir()) == []


def test_prompts_without_words_get_the_caption_of_their_crop(
    blip: Path, photographs: ImageFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        made = captioned(plan({1: "a car", 4: "the sea"}), photographs, config(blip), tmp_path)
    assert list(made["text_source"]) == ["caption", "own", "caption", "caption", "own", *["caption"] * 3]
    assert list(made.loc[made["text_source"] == "own", "text_prompt"]) == ["a car", "the sea"]
    assert "Text prompts: 2 of your own, 6 captions, 0 without words" in caplog.text
    assert "are the same" not in caplog.text and "are empty" not in caplog.text
    caption = checkpoint_captions(str(blip), 6)
    for row in made[made["text_source"] == "caption"].itertuples():
        crop = photographs[row.key][row.top : row.bottom, row.left : row.right]
        assert [row.text_prompt] == caption([Image.fromarray(crop)])
        assert set(row.text_prompt.split()) <= set(WORDS) - {"[PAD]", "[CLS]", "[SEP]", "[DEC]", "[ENC]", "[MASK]"}
    assert made["text_prompt"].iloc[7] == made["text_prompt"].iloc[0]
    assert made["text_prompt"].nunique() > 3


def test_batches_do_not_matter(blip: Path, photographs: ImageFolder, tmp_path: Path) -> None:
    one, all_at_once = (captioned(plan(), photographs, config(blip, batch=n), tmp_path / str(n)) for n in (1, 8))
    pd.testing.assert_frame_equal(one, all_at_once)


@pytest.fixture
def captioners(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """How many pictures each captioner that is made describes at a time."""
    counts: list[list[int]] = []
    real = captions.checkpoint_captions

    def counting(checkpoint: str, tokens: int) -> captions.Captioner:
        describe, mine = real(checkpoint, tokens), []
        counts.append(mine)
        return lambda pictures: (mine.append(len(pictures)), describe(pictures))[1]

    monkeypatch.setattr(captions, "checkpoint_captions", counting)
    return counts


def test_a_crop_is_captioned_once(
    blip: Path, photographs: ImageFolder, tmp_path: Path, captioners: list[list[int]]
) -> None:
    first = captioned(plan({1: "a car"}), photographs, config(blip), tmp_path)
    assert captioners == [[3, 3]], "the eighth crop is the first one again"
    pd.testing.assert_frame_equal(captioned(plan({1: "a car"}), photographs, config(blip), tmp_path), first)
    assert len(captioners) == 1, "the checkpoint is not even loaded"
    captioned(plan(), photographs, config(blip), tmp_path)
    assert captioners[1:] == [[1]], "only the one that had words before"
    captioned(plan(), photographs, config(blip, tokens=2), tmp_path)
    other = shutil.copytree(blip, tmp_path / "other")
    write_blip(other, seed=1)
    captioned(plan(), photographs, config(other), tmp_path)
    assert captioners[2:] == [[3, 3, 1], [3, 3, 1]], "another length or checkpoint makes others"


def test_a_kill_costs_the_last_batches_only(
    blip: Path, photographs: ImageFolder, tmp_path: Path, captioners: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captions, "BATCHES_KEPT", 1)
    whole = captioned(plan(), photographs, config(blip, batch=2), tmp_path / "whole")
    (tmp_path / "killed").mkdir()
    (file,) = (tmp_path / "whole").glob("*.json")
    kept = dict(list(json.loads(file.read_text()).items())[:4])
    (tmp_path / "killed" / file.name).write_text(json.dumps(kept))
    pd.testing.assert_frame_equal(captioned(plan(), photographs, config(blip, batch=2), tmp_path / "killed"), whole)
    assert captioners == [[2, 2, 2, 1], [2, 1]]


def test_another_architecture(photographs: ImageFolder, tmp_path: Path) -> None:
    made = captioned(plan(), photographs, config(write_vit_gpt2(tmp_path / "vit")), tmp_path)
    assert set(made["text_source"]) == {"caption"} and made["text_prompt"].nunique() > 1


def test_empty_captions_are_said(photographs: ImageFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = captioned(plan({0: "a car"}), photographs, config(write_git(tmp_path / "git")), tmp_path)
    assert list(made["text_source"]) == ["own", *[""] * 7] and set(made["text_prompt"]) == {"a car", ""}
    assert "masks.captions.checkpoint: 7 captions are empty; these prompts have no words" in caplog.text


def test_captions_that_are_all_the_same_are_warned_about(
    blip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = ImageFolder(tmp_path)
    for key in ("p", "q"):
        write_image(plain.file(key), np.full((60, 80, 3), 90, np.uint8))
    made = captioned(plan(), plain, config(blip), tmp_path)
    assert f"all 8 captions are the same ({made['text_prompt'][0]})" in caplog.text


@pytest.mark.parametrize(("pattern", "warned"), [("own", True), ("object", True), ("brush", False), ("warp", False)])
def test_captions_of_what_a_hole_removes_are_warned_about(
    blip: Path, photographs: ImageFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture, pattern: str, warned: bool
) -> None:
    captioned(plan({1: "a car"}, pattern), photographs, config(blip), tmp_path)
    assert ("7 captions of prompts of kind object or own describe what their holes remove as well" in caplog.text) == (
        warned
    )


def _without_weights(folder: Path) -> Path:
    (write_blip(folder) / "model.safetensors").unlink()
    return folder


def _pickled(folder: Path) -> Path:
    import torch
    from safetensors.torch import load_file

    weights = write_blip(folder) / "model.safetensors"
    torch.save(load_file(weights), folder / "pytorch_model.bin")
    weights.unlink()
    return folder


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda folder: folder, "cannot be loaded"),
        (write_classifier, "cannot be loaded"),
        (_without_weights, "cannot be loaded"),
        (_pickled, "cannot be loaded"),
        (write_blip_retrieval, "is not a BlipForConditionalGeneration: it lacks text_decoder"),
    ],
)
def test_a_checkpoint_that_cannot_caption_is_named_in_one_sentence(
    write: Callable[[Path], Path], said: str, photographs: ImageFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    checkpoint = write(tmp_path / "model")
    (tmp_path / "workspace").mkdir()
    with pytest.raises(PrefPaintError) as caught:
        captioned(plan(), photographs, config(checkpoint), tmp_path / "workspace")
    message = str(caught.value)
    assert message.startswith(f"masks.captions.checkpoint: {checkpoint} {said}")
    assert message.endswith(("with safetensors weights (BLIP, GIT, ViT-GPT2)", "give a checkpoint of that kind"))
    assert len(message.splitlines()) == 1 and list((tmp_path / "workspace").iterdir()) == []
