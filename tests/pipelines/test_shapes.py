"""Photographs of several shapes, from a folder to an aligned model, without being cropped to squares."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from prefpaint.images import ImageFolder
from tests.conftest import Project


def folder_of(path: Path) -> None:
    """Twelve blurred pictures: seven wide ones of two shapes, five tall ones."""
    path.mkdir()
    rng = np.random.default_rng(0)
    for number, size in enumerate([(64, 40)] * 5 + [(40, 64)] * 5 + [(64, 24)] * 2):
        small = Image.fromarray(rng.integers(0, 256, (6, 6, 3)).astype(np.uint8))
        small.resize(size, Image.Resampling.BICUBIC).save(path / f"{number}.png")


@pytest.mark.parametrize("size", [[32, 48], "native"])
def test_pictures_keep_their_shapes(project: Project, tmp_path: Path, size: object) -> None:
    folder_of(tmp_path / "pictures")
    photographs = {"folder": str(tmp_path / "pictures"), "size": size, "longest_side": 64, "crop_side": [32, 64]}
    file = project.path / "conf/local/parameters.yml"
    settings = yaml.safe_load(file.read_text())
    settings["photographs"] = photographs
    settings["masks"]["patterns"] = {"outpaint_strip": 0.5, "box": 0.5}
    file.write_text(yaml.safe_dump(settings))
    done = project.run("run")
    assert done.returncode == 0, done.stdout + done.stderr
    data = project.path / "data"
    prompts = pd.read_parquet(data / "03_primary/prompts.parquet")
    images = ImageFolder(data / "03_primary/prompt_images")
    shapes = dict(zip(prompts["prompt_id"], images.shapes(prompts["prompt_id"].tolist()), strict=True))
    expected = {(32, 48)} if size != "native" else {(32, 64), (64, 32), (16, 64)}
    assert set(shapes.values()) == expected
    candidates = pd.read_parquet(data / "04_feature/candidates.parquet")
    painted = ImageFolder(data / "04_feature/candidate_images")
    found = painted.shapes(candidates["candidate_id"].tolist())
    assert found == [shapes[prompt] for prompt in candidates["prompt_id"]]
    for name in ("masks.png", "candidates.png", "align.png", "evaluate.png", "report.html"):
        assert (data / "08_reporting" / name).exists(), name
