"""ImageReward's published weights in transformers' BLIP give the scores of the authors' code."""

import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from prefpaint.errors import PrefPaintError
from prefpaint.judges.imagereward import imagereward_scores, load_imagereward

PARITY = Path(__file__).parents[1] / "data/imagereward"
EXPECTED = json.loads((PARITY / "expected.json").read_text())


def weight(key: str, shape: list[int]) -> torch.Tensor:
    """The weight that the expected scores were computed with."""
    drawn = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
    one_row = len(shape) == 1
    scale = 0.1 if one_row else 1.5 / np.sqrt(np.prod(shape[1:]))
    around = float(one_row and "norm" in key.lower() and key.endswith("weight"))
    return torch.from_numpy((scale * drawn + around).astype(np.float32))


def write_checkpoint(folder: Path) -> None:
    """A checkpoint as the authors publish it, of the sizes of `expected.json`."""
    weights = {key: weight(key, shape) for key, shape in EXPECTED["shapes"].items()}
    # Files of that time have this buffer too.
    weights["blip.text_encoder.embeddings.position_ids"] = torch.arange(40)[None]
    torch.save(weights, folder / "ImageReward.pt")
    for name in ("med_config.json", "vocab.txt"):
        shutil.copy(PARITY / name, folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path)
    return tmp_path


def test_scores_are_those_of_the_published_code(folder: Path) -> None:
    model = load_imagereward(str(folder))
    found = [
        [
            imagereward_scores(*model, np.asarray(Image.open(PARITY / f"{number}.png"))[None], [text])[0]
            for text in EXPECTED["texts"]
        ]
        for number in range(len(EXPECTED["scores"]))
    ]
    # float32 in another order of operations: measured 2e-6 on scores of up to 11.
    np.testing.assert_allclose(found, EXPECTED["scores"], atol=1e-4)


def test_pictures_do_not_depend_on_their_neighbours(folder: Path) -> None:
    model = load_imagereward(str(folder))
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    together = imagereward_scores(*model, pictures, ["a photograph"] * len(pictures))
    alone = imagereward_scores(*model, pictures[1:2], ["a photograph"])
    # Rounding of batched float32 products.
    np.testing.assert_allclose(together[1:2], alone, atol=1e-5)


def change(edit: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Edit the weights in a folder."""

    def apply(folder: Path) -> None:
        weights = torch.load(folder / "ImageReward.pt", weights_only=True)
        edit(weights)
        torch.save(weights, folder / "ImageReward.pt")

    return apply


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: (folder / "ImageReward.pt").unlink(), r"ImageReward\.pt: is missing"),
        (lambda folder: (folder / "ImageReward.pt").write_bytes(b"no pickle"), "holds no plain tensors"),
        (lambda folder: torch.save([1.0], folder / "ImageReward.pt"), "is not a state dict"),
        (lambda folder: (folder / "med_config.json").unlink(), r"med_config\.json: is missing"),
        (lambda folder: (folder / "med_config.json").write_text("{}"), r"med_config\.json: is not a configuration"),
        (lambda folder: (folder / "med_config.json").write_text("{"), r"med_config\.json: is not a configuration"),
        (change(lambda weights: weights.pop("mlp.layers.7.bias")), r"weight head\.4\.bias is missing"),
        (change(lambda weights: weights.pop("blip.visual_encoder.pos_embed")), "has no vision.embeddings.position"),
        (change(lambda weights: weights.update(more=torch.zeros(1))), "weight more is unknown"),
        (
            change(lambda weights: weights.update({"blip.visual_encoder.norm.bias": torch.zeros(3)})),
            r"weight vision\.post_layernorm\.bias has shape \(3,\), not \(64,\)",
        ),
    ],
)
def test_what_is_no_imagereward_is_said_in_one_sentence(folder: Path, harm: Callable[[Path], None], said: str) -> None:
    harm(folder)
    with pytest.raises(PrefPaintError, match=said) as caught:
        load_imagereward(str(folder))
    assert "\n" not in str(caught.value)


def test_nothing_in_the_file_is_run(folder: Path, tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "harmed",)

    torch.save({"blip": Harm()}, folder / "ImageReward.pt")
    with pytest.raises(PrefPaintError, match="holds no plain tensors"):
        load_imagereward(str(folder))
    assert not (tmp_path / "harmed").exists()
