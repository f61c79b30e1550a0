"""Prompts depend on their own seed alone, are cut from their split's region, and are recorded truly."""

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder, complete_folder, write_image
from prefpaint.masks.collection import depth_work, plan_prompts, prompt_work, record_prompts
from prefpaint.masks.config import MaskConfig, MasksConfig, Pattern, PromptSplit
from prefpaint.masks.depth import encode_depth
from prefpaint.masks.prompts import first_draw, make_prompt, prompt_patterns
from prefpaint.photographs.collection import photograph_regions, photograph_work
from prefpaint.photographs.config import PhotographsConfig
from prefpaint.photographs.own_holes import COLUMNS

SOURCE = PhotographsConfig(size=32, crop_side=(40, 120))
NONE = pd.DataFrame(columns=COLUMNS)
NO_HOLES = ImageFolder(Path("nowhere"), masks=True)
CONFIG = MasksConfig(prompts={"train": 8, "validation": 4, "test": 4, "seen": 4, "unseen": 4})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, pd.DataFrame, list[ImageFolder]]:
    """Regions, manifest and the folders photographs, depths, images, masks."""
    path = tmp_path_factory.mktemp("masks")
    photographs, depths, images = (ImageFolder(path / name) for name in ("photographs", "depths", "images"))
    masks = ImageFolder(path / "masks", masks=True)
    complete_folder(photographs, photograph_work(SOURCE))
    regions, _ = photograph_regions(SOURCE, photographs)
    plan = plan_prompts(regions, NONE, NO_HOLES, SOURCE, CONFIG)
    complete_folder(depths, depth_work(regions, plan, photographs, SOURCE, CONFIG))
    for folder, work in zip(
        (images, masks), prompt_work(plan, photographs, depths, masks, SOURCE.shape, CONFIG.geometry), strict=True
    ):
        complete_folder(folder, work)
    prompts = record_prompts(plan, photographs, depths, masks, images, masks, SOURCE.shape, CONFIG.geometry)
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
    plan = plan_prompts(regions, NONE, NO_HOLES, SOURCE, fewer)
    alone = ImageFolder(tmp_path)
    work, _ = prompt_work(plan, photographs, depths, photographs, SOURCE.shape, fewer.geometry)
    for key, image in work.produce(["test_00002"]):
        np.testing.assert_array_equal(image, images[key])
    assert not len(alone)
    assert set(plan["prompt_id"]) < set(prompts["prompt_id"])


def test_another_seed_gives_other_prompts(made: tuple) -> None:
    regions, prompts, _ = made
    other = plan_prompts(regions, NONE, NO_HOLES, SOURCE, CONFIG.model_copy(update={"seed": 1}))
    assert not set(other["seed"]) & set(prompts["seed"])


def test_photographs_with_a_prompt_have_depth(made: tuple) -> None:
    regions, _, (photographs, *_) = made
    plan = pd.DataFrame({"key": ["coffee", "coffee", "astronaut"]})
    assert list(depth_work(regions, plan, photographs, SOURCE, CONFIG).keys) == ["astronaut", "coffee"]


def listed(count: int, side: int = 64) -> pd.DataFrame:
    """Regions of square photographs, of which two are for each split."""
    splits = ("train", "validation", "test", "unseen")
    rows = [
        {
            "photograph": f"{split} {n}.jpg",
            "key": f"{split}_{n}",
            "source": "s",
            "sha256": f"{split}{n}",
            "split": split,
        }
        for split in splits
        for n in range(count)
    ]
    return pd.DataFrame(rows).assign(left=0, top=0, right=side, bottom=side)


@given(
    st.integers(1, 3),
    st.fixed_dictionaries({split: st.integers(1, 40) for split in CONFIG.prompts}),
    st.sampled_from([(0, 0), (63, 64), (20, 60)]),
    st.integers(0, 3),
)
@settings(max_examples=15)
def test_a_plan_repeats_nothing_and_is_cut_only_where_photographs_are_used_up(
    count: int, asked: dict, crop_side: tuple[int, int], seed: int
) -> None:
    source, config = PhotographsConfig(size=32, crop_side=crop_side), MasksConfig(prompts=asked, seed=seed)
    plan = plan_prompts(listed(count), NONE, NO_HOLES, source, config)
    draws = [
        (
            row.key,
            row.left,
            row.top,
            row.right,
            row.pattern,
            first_draw((32, 32), row.pattern, config.geometry, row.seed),
        )
        for row in plan.itertuples()
    ]
    assert len(set(draws)) == len(draws)
    assert plan["prompt_id"].is_unique
    for split, number in asked.items():
        mine = plan[plan["split"] == split]
        assert 0 < len(mine) <= number
        if crop_side == (20, 60):
            assert len(mine) == number
    if crop_side == (0, 0):
        warps = plan[plan["pattern"] == "warp"].groupby("split").size()
        wanted = {split: prompt_patterns(n, config.shares(False), 0).count("warp") for split, n in asked.items()}
        assert warps.get("test", 0) == min(wanted["test"], 8 * count)
        assert warps.get("train", 0) + warps.get("seen", 0) == min(wanted["train"] + wanted["seen"], 8 * count)


def test_a_plan_that_is_cut_says_so_once_with_numbers_and_keys(caplog: pytest.LogCaptureFixture) -> None:
    source = PhotographsConfig(size=32, crop_side=(0, 0))
    config = MasksConfig(
        patterns={"warp": 1.0}, prompts={"train": 30, "validation": 4, "test": 20, "seen": 10, "unseen": 8}
    )
    plan = plan_prompts(listed(1), NONE, NO_HOLES, source, config)
    assert plan["split"].value_counts().to_dict() == {"train": 6, "validation": 4, "test": 8, "seen": 2, "unseen": 8}
    (record,) = caplog.records
    assert record.levelname == "WARNING" and record.getMessage() == (
        "masks.prompts: 4 photographs (one crop of each) do not give as many different prompts as asked for: "
        "6 of 30 for train, 8 of 20 for test, 2 of 10 for seen. For more, widen photographs.crop_side (now [0, 0]), "
        "give more photographs or masks, or lower the share of warp (a crop has 8 views) or own in masks.patterns; "
        "the plan is cut to these numbers."
    )


def test_enlarged_crops_are_told(caplog: pytest.LogCaptureFixture) -> None:
    plan_prompts(listed(2), NONE, NO_HOLES, PhotographsConfig(size=128, crop_side=(0, 0)), CONFIG)
    assert "24 of 24 crops are smaller than photographs.size (128 x 128 px) and are enlarged" in caplog.text


def blank(path: Path, count: int) -> tuple[pd.DataFrame, list[ImageFolder]]:
    """Regions of grey photographs, all the same, and folders of them and of their flat depth."""
    regions = listed(count)
    photographs, depths = ImageFolder(path / "photographs"), ImageFolder(path / "depths")
    for key in regions["key"]:
        write_image(photographs.file(key), np.full((64, 64, 3), 90, np.uint8))
        write_image(depths.file(key), encode_depth(np.ones((64, 64), np.float32)))
    return regions, [photographs, depths]


def recorded(path: Path, regions: pd.DataFrame, folders: list[ImageFolder], config: MasksConfig) -> pd.DataFrame:
    source = PhotographsConfig(size=32, crop_side=(0, 0))
    plan = plan_prompts(regions, NONE, NO_HOLES, source, config)
    images, masks = ImageFolder(path / "images"), ImageFolder(path / "masks", masks=True)
    for folder, work in zip(
        (images, masks), prompt_work(plan, *folders, masks, (32, 32), config.geometry), strict=True
    ):
        complete_folder(folder, work)
    return record_prompts(plan, *folders, masks, images, masks, (32, 32), config.geometry)


def test_prompts_that_turn_out_the_same_are_listed_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    regions, folders = blank(tmp_path, 1)
    strips = CONFIG.model_copy(update={"patterns": {"outpaint_strip": 1.0}})
    prompts = recorded(tmp_path, regions, folders, strips)
    assert not prompts.duplicated(["image_sha256", "mask_sha256"]).any() and list(prompts.index) == [
        *range(len(prompts))
    ]
    assert set(prompts["split"]) == set(CONFIG.prompts) and len(prompts) < sum(CONFIG.prompts.values())
    assert "masks.prompts: prompts repeat others, picture and hole: " in caplog.text


def test_a_split_of_which_nothing_is_left_stops(tmp_path: Path) -> None:
    regions, folders = blank(tmp_path, 1)
    # No view of a flat scene opens so much: every warp takes the one with the largest hole.
    warps = MasksConfig(
        patterns={"warp": 1.0}, geometry=MaskConfig(least_hole=0.9), prompts=dict.fromkeys(CONFIG.prompts, 1)
    )
    with pytest.raises(PrefPaintError, match=r"masks\.prompts: .* nothing else is left of .*unseen"):
        recorded(tmp_path, regions, folders, warps)


def test_a_flat_scene_takes_the_view_with_the_largest_hole() -> None:
    crop, depth = np.full((32, 32, 3), 9, np.uint8), np.ones((32, 32))
    config = MaskConfig(least_hole=0.9)
    drawn = {seed: make_prompt(crop, depth, "warp", config, seed).mask.mean() for seed in range(3)}
    assert len(set(drawn.values())) == 1 and min(drawn.values()) > 0


OWN = pd.DataFrame(
    [(f"{split}_0__{n}", f"{split}_0", f"thing {n}", *box, f"sum of {n}")
     for split in ("train", "validation", "test", "unseen")
     for n, box in enumerate([(10, 12, 22, 20), (40, 2, 64, 60)])],
    columns=COLUMNS,
)  # fmt: skip


@pytest.mark.parametrize("crop_side", [(0, 0), (16, 60)])
def test_ones_own_holes_take_turns_and_lie_in_their_crops(tmp_path: Path, crop_side: tuple[int, int]) -> None:
    regions, folders = blank(tmp_path, 2)
    holes = ImageFolder(tmp_path / "own", masks=True)
    for row in OWN.itertuples():
        mask = np.zeros((64, 64), np.uint8)
        mask[row.top : row.bottom, row.left : row.right] = 1
        write_image(holes.file(row.annotation), mask)
    asked = dict.fromkeys(CONFIG.prompts, 2)
    source, config = PhotographsConfig(size=32, crop_side=crop_side), MasksConfig(prompts=asked)
    plan = plan_prompts(regions, OWN, holes, source, config)
    assert set(plan["pattern"]) == {"own"}, "masks of one's own are what is painted, unless one says otherwise"
    if crop_side == (0, 0):
        assert plan["split"].value_counts()[["train", "seen"]].sum() == 2, "two holes, one crop each"
    else:
        assert plan["split"].value_counts().to_dict() == asked
        assert set(plan.loc[plan["split"] == "test", "text_prompt"]) == {"thing 0", "thing 1"}
    boxes = OWN.set_index("annotation")
    _, work = prompt_work(plan, *folders, holes, (32, 32), config.geometry)
    made = dict(work.produce(list(plan["prompt_id"])))
    for row in plan.itertuples():
        box = boxes.loc[row.annotation]
        assert box["key"] == row.key and box["text_prompt"] == row.text_prompt
        side = row.right - row.left
        if max(box["right"] - box["left"], box["bottom"] - box["top"]) <= side:
            assert row.left <= box["left"] and box["right"] <= row.right
            assert row.top <= box["top"] and box["bottom"] <= row.bottom
            share = (box["right"] - box["left"]) * (box["bottom"] - box["top"]) / side**2
            # Each side is rounded to a pixel of 32.
            assert made[row.prompt_id].mean() == pytest.approx(share, abs=2 * 32 / 32**2)


def test_words_of_a_photograph_go_with_its_other_holes() -> None:
    words = pd.DataFrame([("", "train_0", "a house", 0, 0, 0, 0, "")], columns=COLUMNS)
    plan = plan_prompts(listed(2), words, NO_HOLES, SOURCE, CONFIG)
    texts = plan.groupby("key")["text_prompt"].unique().map(list).to_dict()
    assert texts.pop("train_0") == ["a house"] and all(others == [""] for others in texts.values())
    assert (plan["annotation"] == "").all() and "own" not in set(plan["pattern"])


def test_ones_own_holes_that_are_missing_or_unused_are_told(caplog: pytest.LogCaptureFixture) -> None:
    own = CONFIG.model_copy(update={"patterns": {"own": 0.5, "brush": 0.5}})
    with pytest.raises(
        PrefPaintError, match=r"masks\.patterns\.own: there are no masks for it; set photographs\.masks"
    ):
        plan_prompts(listed(1), NONE, NO_HOLES, SOURCE, own)
    lacking = OWN[OWN["key"] != "test_0"]
    with pytest.raises(PrefPaintError, match=r"masks\.patterns\.own: none of the 1 photographs for test has a mask"):
        plan_prompts(listed(1), lacking, NO_HOLES, SOURCE, own)
    plan = plan_prompts(listed(1), OWN, NO_HOLES, SOURCE, CONFIG.model_copy(update={"patterns": {"brush": 1.0}}))
    assert set(plan["pattern"]) == {"brush"} and "8 masks of yours are not used" in caplog.text


TWO = np.zeros((40, 120), np.uint8)
TWO[5:35, 2:6] = TWO[5:35, 112:118] = 1
DOT = np.zeros((40, 120), np.uint8)
DOT[20, 60] = 1
WIDE = np.zeros((40, 120), np.uint8)
WIDE[:, 10:110] = 1


@pytest.mark.parametrize("mask", [TWO, DOT, WIDE], ids=["two parts far apart", "one pixel", "wide"])
def test_whatever_a_hole_looks_like_a_prompt_has_some_of_it_and_something_around(
    tmp_path: Path, mask: np.ndarray
) -> None:
    regions = listed(1).assign(right=120, bottom=40)
    photographs, depths = ImageFolder(tmp_path / "photographs"), ImageFolder(tmp_path / "depths")
    holes, rows = ImageFolder(tmp_path / "own", masks=True), []
    for key in regions["key"]:
        write_image(photographs.file(key), np.full((40, 120, 3), 90, np.uint8))
        write_image(holes.file(f"{key}__0"), mask)
        left, right = (int(np.flatnonzero(mask.any(0))[end]) for end in (0, -1))
        top, bottom = (int(np.flatnonzero(mask.any(1))[end]) for end in (0, -1))
        rows.append((f"{key}__0", key, "", left, top, right + 1, bottom + 1, ""))
    own, source = pd.DataFrame(rows, columns=COLUMNS), PhotographsConfig(size=16, crop_side=(16, 40))
    config = MasksConfig(prompts=dict.fromkeys(CONFIG.prompts, 6))
    plan = plan_prompts(regions, own, holes, source, config)
    _, work = prompt_work(plan, photographs, depths, holes, (16, 16), config.geometry)
    shares = [made.mean() for _, made in work.produce(list(plan["prompt_id"]))]
    assert len(shares) == 30 and min(shares) > 0 and max(shares) < 1


def test_another_mask_in_the_same_box_makes_other_prompts() -> None:
    before, after = (plan_prompts(listed(2), OWN.assign(sha256=sha), Filled(), SOURCE, CONFIG) for sha in ("a", "b"))
    pd.testing.assert_frame_equal(before.drop(columns="annotation_sha256"), after.drop(columns="annotation_sha256"))
    folders = [ImageFolder(Path("nowhere"))] * 3
    stamps = [prompt_work(plan, *folders, (32, 32), CONFIG.geometry)[1].fingerprint for plan in (before, after)]
    assert stamps[0] != stamps[1]


class Filled(ImageFolder):
    """The holes of `OWN`, drawn when they are asked for."""

    def __init__(self) -> None:
        super().__init__(Path("nowhere"), masks=True)

    def __getitem__(self, key: str) -> np.ndarray:
        row = OWN.set_index("annotation").loc[key]
        mask = np.zeros((64, 64), np.uint8)
        mask[row["top"] : row["bottom"], row["left"] : row["right"]] = 1
        return mask


@pytest.mark.parametrize("size", [(24, 48), "native"])
@pytest.mark.parametrize("kind", ["outpaint_square", "outpaint_strip", "warp", "box", "brush", "object"])
def test_prompts_of_any_shape(made: tuple, size: tuple[int, int] | Literal["native"], kind: Pattern) -> None:
    regions, _, (photographs, depths, _, _) = made
    source = SOURCE.model_copy(update={"size": size})
    few: dict[PromptSplit, int] = dict.fromkeys(("train", "validation", "test", "seen", "unseen"), 2)
    plan = plan_prompts(regions, NONE, NO_HOLES, source, MasksConfig(prompts=few, patterns={kind: 1.0}))
    works = prompt_work(plan, photographs, depths, NO_HOLES, source.shape, CONFIG.geometry)
    images, masks = (dict(work.produce(list(plan["prompt_id"]))) for work in works)
    for row in plan.itertuples():
        height, width = row.bottom - row.top, row.right - row.left
        shape = size if size != "native" else (height, width)
        assert images[row.prompt_id].shape == (*shape, 3) and masks[row.prompt_id].shape == shape
        assert 0 < masks[row.prompt_id].mean() < 1
        if size == "native":
            assert height % 16 == width % 16 == 0
        else:
            assert height == width // 2
