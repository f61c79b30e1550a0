"""The order in which prompts are handed out: drawn from the seed, or by the trust width."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefpaint.images import ImageFolder
from prefpaint.reward.config import ContrastBackboneConfig, KernelHeadConfig, RewardConfig
from prefpaint.reward.model import RewardModel
from prefpaint.reward.training import RatedImages, train_reward
from prefpaint.studio.order import by_width, rearranged, seeded
from prefpaint.studio.studio import Studio
from prefpaint.trust.config import BoundConfig
from prefpaint.trust.fit import Embedded, Trust, fit_trust
from tests.studio.project import make_pictures, open_studio
from tests.studio.test_studio import PLAIN, enter, prompt, rate, undo

RATED = 4
KNOWN = {f"train_{number:05d}" for number in range(RATED)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RewardModel, Trust]:
    """Twelve training prompts, of which the first four are rated, and the reward and trust of those."""
    folder = tmp_path_factory.mktemp("order")
    make_pictures(folder, prompts=12)
    candidates = pd.read_parquet(folder / "candidates.parquet")
    scores = candidates.assign(score=np.random.default_rng(0).normal(size=len(candidates))).head(3 * RATED)
    rated = RatedImages.of(ImageFolder(folder / "fills"), ImageFolder(folder / "masks", masks=True), scores, {})
    backbone, head = ContrastBackboneConfig(input_size=64, taps=(0, 1)), KernelHeadConfig(embedding=12, components=8)
    model, _ = train_reward(rated, rated, RewardConfig(backbone=backbone, head=head))
    reward, z = model.score(*rated.load(np.arange(len(scores))))
    data = Embedded(z, reward, rated.scores, rated.prompt_ids)
    return folder, model, fit_trust(data, data, BoundConfig(ridge=0.1), whole_norm=model.whole_norm)


def ordered(folder: Path, model: RewardModel, trust: Trust, seed: int = 0, **changed: int) -> list[str]:
    tables = (pd.read_parquet(folder / f"{name}.parquet") for name in ("prompts", "candidates"))
    pictures = (ImageFolder(folder / "fills"), ImageFolder(folder / "masks", masks=True))
    return by_width(model, trust, *tables, *pictures, KNOWN, seed, **changed)


def answered(studio: Studio, name: str) -> list[str]:
    """Prompts as a rater is given them."""
    rater = enter(studio, name)
    page, found = studio.page(rater), []
    while page["page"]:
        found.append(prompt(studio, page))
        page = rate(studio, rater, page)
    return found


def test_what_is_rated_already_comes_last_and_the_order_is_the_same_again(
    trained: tuple[Path, RewardModel, Trust],
) -> None:
    order = ordered(*trained)
    assert sorted(order) == [f"train_{number:05d}" for number in range(12)]
    assert order[-RATED:] == seeded(KNOWN, 0)
    assert ordered(*trained) == order


def test_with_more_rated_candidates_than_landmarks_a_twin_of_a_rated_prompt_comes_last_but_for_it(
    tmp_path: Path,
) -> None:
    make_pictures(tmp_path, prompts=12)
    prompts, candidates = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("prompts", "candidates"))
    fills, masks = ImageFolder(tmp_path / "fills"), ImageFolder(tmp_path / "masks", masks=True)
    for index in range(3):
        shutil.copy(fills.file(f"train_00001_{index}"), fills.file(f"train_00011_{index}"))
    scores = candidates.assign(score=np.random.default_rng(0).normal(size=len(candidates))).head(3 * RATED)
    rated = RatedImages.of(fills, masks, scores, {})
    backbone, head = ContrastBackboneConfig(input_size=64, taps=(0, 1)), KernelHeadConfig(embedding=2, components=8)
    model, _ = train_reward(rated, rated, RewardConfig(backbone=backbone, head=head))
    reward, z = model.score(*rated.load(np.arange(len(scores))))
    data = Embedded(z, reward, rated.scores, rated.prompt_ids)
    trust = fit_trust(data, data, BoundConfig(ridge=0.1), whole_norm=model.whole_norm)
    order = by_width(model, trust, prompts, candidates, fills, masks, KNOWN, 0)
    assert order[-RATED - 1 :] == ["train_00011", *seeded(KNOWN, 0)]
    blind = by_width(model, trust, prompts, candidates, fills, masks, set(), 0)
    assert set(blind[-RATED:]) != KNOWN, "their widths alone do not say that they are rated"


def test_of_many_candidates_the_first_in_the_seeded_order_are_compared(
    trained: tuple[Path, RewardModel, Trust],
) -> None:
    first = seeded([f"train_{number:05d}" for number in range(12)], 3)[:5]
    order = ordered(*trained, seed=3, most=17)
    assert len(order) == len(set(order)) and set(order) == set(first) | KNOWN
    assert set(order[-RATED:]) == set(ordered(*trained, most=2)) == KNOWN


def test_validation_and_test_prompts_are_not_chosen_by_width(trained: tuple[Path, RewardModel, Trust]) -> None:
    folder, model, trust = trained
    prompts = pd.read_parquet(folder / "prompts.parquet")
    prompts.loc[prompts["prompt_id"] == "train_00011", "split"] = "validation"
    pictures = (ImageFolder(folder / "fills"), ImageFolder(folder / "masks", masks=True))
    order = by_width(model, trust, prompts, pd.read_parquet(folder / "candidates.parquet"), *pictures, KNOWN, 0)
    assert len(order) == 11 and "train_00011" not in order


@given(count=st.integers(0, 8), data=st.data())
def test_rearranging_keeps_the_places_of_the_others(count: int, data: st.DataObject) -> None:
    names = [str(number) for number in range(count)]
    order = data.draw(st.lists(st.sampled_from([*names, "gone"]), unique=True))
    found = rearranged(names, order)
    assert sorted(found) == names and [name for name in found if name in order] == [n for n in order if n in names]
    assert all(new == old for new, old in zip(found, names, strict=True) if old not in order)
    assert rearranged(names, []) == names


def test_the_studio_hands_out_what_it_is_told_and_resumes_there(pictures: Path, tmp_path: Path) -> None:
    wanted = [f"train_{number:05d}" for number in (3, 0, 5, 1)]
    usual = open_studio(pictures, tmp_path / "usual", **PLAIN)
    studio = open_studio(pictures, tmp_path / "mine", order=wanted, overlap=1, **PLAIN)
    expected = rearranged([one.prompt_id for one in usual.work.values()], wanted)
    ann = enter(studio, "ann")
    page, found = studio.page(ann), []
    for _ in range(3):
        found.append(prompt(studio, page))
        page = rate(studio, ann, page)
    assert prompt(studio, undo(studio, ann)) == found[-1]
    rate(studio, ann, studio.page(ann))
    again = open_studio(pictures, tmp_path / "mine", order=wanted, overlap=1, **PLAIN)
    assert found + answered(again, "ann") == expected != list(usual.work)
    for one in (usual, studio, again):
        one.store.close()
