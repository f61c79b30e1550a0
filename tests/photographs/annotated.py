"""Four photographs with masks and words, and how the pipeline reads them."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from prefpaint.images import ImageFolder, complete_folder
from prefpaint.photographs.collection import photograph_regions, photograph_work
from prefpaint.photographs.config import PhotographsConfig
from prefpaint.photographs.own_holes import annotation_table, hole_work

WIDTH, HEIGHT = 40, 30
# Left, top, right, bottom of the holes of four photographs.
BOXES = [(2, 3, 10, 9), (20, 5, 30, 25), (0, 0, 40, 10), (39, 29, 40, 30)]
NAMES = ["a.jpg", "b c.png", "sub/d.webp", "sub/é.tif"]


def make_photographs(folder: Path) -> Path:
    """A folder of four photographs."""
    rng = np.random.default_rng(0)
    for name in NAMES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)).save(path)
    return folder


def hole(number: int) -> np.ndarray:
    """(H, W) uint8."""
    left, top, right, bottom = BOXES[number]
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def save_masks(folder: Path, names: list[str], invert: bool = False) -> Path:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((hole(number) ^ np.uint8(invert)) * np.uint8(255)).save(path)
    return folder


def read(config: PhotographsConfig, path: Path) -> tuple[pd.DataFrame, list[str], ImageFolder]:
    """Table, reasons of what was skipped, and holes, as the pipeline makes them."""
    photographs, holes = ImageFolder(path / "photographs"), ImageFolder(path / "holes", masks=True)
    complete_folder(photographs, photograph_work(config))
    complete_folder(holes, hole_work(config, photographs))
    regions, _ = photograph_regions(config, photographs)
    table, skipped = annotation_table(config, regions, photographs, holes)
    assert all(set(one) == {"name", "reason"} for one in skipped)
    return table, [one["reason"] for one in skipped], holes
