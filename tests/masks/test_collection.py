"""Prompts depend on their own seed alone, are cut from their split's region, and are recorded truly."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prefpaint.images import ImageFolder, complete_folder
from prefpaint.masks.collection import depth_work, plan_prompts, prompt_work, record_prompts
from prefpaint.masks.config import MaskConfig, MasksConfig
from prefpaint.masks.prompts import make_prompt, prompt_patterns
from prefpaint.photographs.collection import photograph_regions, photograph_work
from prefpaint.photographs.config import PhotographsConfig

SOURCE = PhotographsConfig(size=32, crop_side=(40, 120))
CONFIG = MasksConfig(prompts={"train": 8, "validation": 4, "test": 4, "seen": 4, "unseen": 4})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, pd.DataFrame, list[ImageFolder]]:
    """Regions, manifest and the folders photographs, depths, images, masks."""
    path = tmp_path_factory.mktemp("masks")
    photographs, depths, images = (ImageFolder(path / name) for name in ("photographs", "depths", "images"))
    masks = ImageFolder(path / "masks", masks=True)
    complete_folder(photographs, photograph_work(SOURCE))
    regions, _ = photograph_regions(SOURCE, photographs)
    complete_folder(depths, depth_work(regions, photographs, SOURCE, CONFIG))
    plan = plan_prompts(regions, SOURCE, CONFIG)
    for folder, work in zip(
        (images, masks), prompt_work(plan, photographs, depths, SOURCE.size, CONFIG.geometry), strict=True
    ):
        complete_folder(folder, work)
    prompts = record_prompts(plan, photographs, depths, images, masks, SOURCE.size, CONFIG.geometry)
    return regions, prompts, [photographs, depths, images, masks]


def test_crops_lie_in_their_splits_region(made: tuple) -> None:
    regions, prompts, _ = made
    place = regions.set_index(["photograph", "split"])
    home = {"seen": "train"}
    for row in prompts.itertuples():
        region = place.loc[(row.photograph, home.get(row.split, row.split))]
        assert region["left"] <= row.left < row.right <= region["right"]
        assert region["top"] <= row.top < row.bottom <= region["bottom"]
        assert row.right - row.left == row.bottom - row.top


def test_the_manifest_is_true(made: tuple) -> None:
    _, prompts, (_, _, images, masks) = made
    assert prompts["prompt_id"].is_unique and list(prompts["prompt_id"]) == [
        f"{split}_{index:05d}" for split, count in CONFIG.prompts.items() for index in range(count)
    ]
    for row in prompts.itertuples():
        mask = masks[row.prompt_id]
        assert images[row.prompt_id].shape == (32, 32, 3) and mask.shape == (32, 32)
        assert mask.mean() == row.hole_fraction
        assert images.checksum(row.prompt_id) == row.image_sha256
        assert masks.checksum(row.prompt_id) == row.mask_sha256
        drawn = json.loads(row.parameters)
        if row.pattern == "warp":
            assert abs(drawn["yaw"]) in (0, 0.3) and abs(drawn["pitch"]) in (0, 0.15)
            assert (images[row.prompt_id][mask == 1] == 0).all()
        else:
            assert not mask[drawn["top"] : drawn["bottom"], drawn["left"] : drawn["right"]].any()
            assert (mask == 0).sum() == (drawn["bottom"] - drawn["top"]) * (drawn["right"] - drawn["left"])


def test_patterns_have_their_shares(made: tuple) -> None:
    _, prompts, _ = made
    assert prompts[prompts["split"] == "train"]["pattern"].value_counts().to_dict() == {
        "warp": 4,
        "outpaint_square": 2,
        "outpaint_strip": 2,
    }


def test_odd_numbers_go_to_the_largest_remainder() -> None:
    patterns = prompt_patterns(5, {"outpaint_square": 0.25, "outpaint_strip": 0.25, "warp": 0.5}, 0)
    # Exactly 1.25, 1.25 and 2.5.
    assert sorted(patterns) == ["outpaint_square", "outpaint_strip", "warp", "warp", "warp"]


def test_a_prompt_does_not_depend_on_the_others(made: tuple, tmp_path: Path) -> None:
    regions, prompts, (photographs, depths, images, _) = made
    fewer = MasksConfig(prompts=CONFIG.prompts | {"train": 8, "seen": 1})
    plan = plan_prompts(regions, SOURCE, fewer)
    alone = ImageFolder(tmp_path)
    work, _ = prompt_work(plan, photographs, depths, SOURCE.size, fewer.geometry)
    for key, image in work.produce(["test_00002"]):
        np.testing.assert_array_equal(image, images[key])
    assert not len(alone)
    assert set(plan["prompt_id"]) < set(prompts["prompt_id"])


def test_another_seed_gives_other_prompts(made: tuple) -> None:
    regions, prompts, _ = made
    other = plan_prompts(regions, SOURCE, CONFIG.model_copy(update={"seed": 1}))
    assert not set(other["seed"]) & set(prompts["seed"])


def test_no_warp_no_depth(made: tuple) -> None:
    regions, _, (photographs, *_) = made
    flat = CONFIG.model_copy(update={"patterns": {"outpaint_square": 0.5, "outpaint_strip": 0.5}})
    assert list(depth_work(regions, photographs, SOURCE, flat).keys) == []


def test_a_flat_scene_takes_the_view_with_the_largest_hole() -> None:
    crop, depth = np.full((32, 32, 3), 9, np.uint8), np.ones((32, 32))
    config = MaskConfig(least_hole=0.9)
    drawn = {seed: make_prompt(crop, depth, "warp", config, seed).mask.mean() for seed in range(3)}
    assert len(set(drawn.values())) == 1 and min(drawn.values()) > 0
