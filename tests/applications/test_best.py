"""Best of several fills: the fill with the highest reward is kept, and its interval says whether to believe it."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import prefpaint
from prefpaint.applications.best import Best, Chooser, paint_best
from prefpaint.errors import PrefPaintError
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.sampling import Inpainter
from prefpaint.reward.model import RewardModel
from prefpaint.small_model.build import build_small_pipeline
from prefpaint.trust.choice import ChoiceErrors
from tests.tiny import SIZE, TINY_MODEL, tiny_reward

FAST = SamplingConfig(steps=2, batch=4)
# At 90 % the 9th smallest of nine: 2 for the reward, 0.5 for the gain; at 95 % there is none.
ERRORS = ChoiceErrors(level=0.9, reward=((2.0,) * 9,) * 2, gain=((0.0,) * 9, (*(0.1,) * 8, 0.5)))


class Brightness:
    """A reward that is known by hand: the first pixel's red."""

    def score(self, images: np.ndarray, masks: np.ndarray, batch: int = 64, texts: Any = ()) -> tuple[Any, None]:
        assert len(images) == len(masks) == len(texts)
        return images[:, 0, 0, 0].astype(np.float32), None


def fills_of(rewards: list[int]) -> np.ndarray:
    return np.array(rewards, np.uint8)[:, None, None, None].repeat(3, 3)


BRIGHT, HOLE = Chooser(Brightness(), ERRORS), np.ones((1, 1), np.uint8)


@pytest.fixture(scope="module")
def pipe() -> Any:
    return build_small_pipeline(TINY_MODEL, SIZE, seed=1)


@pytest.fixture(scope="module")
def reward() -> RewardModel:
    return tiny_reward()


@pytest.fixture(scope="module")
def chooser(reward: RewardModel) -> Chooser:
    return Chooser(reward, ERRORS)


def picture(*holes: tuple[slice, slice]) -> tuple[Image.Image, Image.Image]:
    image = np.random.default_rng(0).integers(0, 256, (90, 150, 3)).astype(np.uint8)
    mask = np.zeros((90, 150), np.uint8)
    for hole in holes or ((slice(20, 60), slice(20, 70)),):
        mask[hole] = 255
    return Image.fromarray(image), Image.fromarray(mask)


@given(rewards=st.lists(st.integers(0, 255), min_size=1, max_size=12), seed=st.integers(0, 99))
def test_the_highest_reward_is_chosen_whatever_the_order(rewards: list[int], seed: int) -> None:
    fills = fills_of(rewards)
    assert rewards[BRIGHT(fills, HOLE)] == max(rewards)
    assert BRIGHT(fills, HOLE) == rewards.index(max(rewards)), "the first of equals"
    order = np.random.default_rng(seed).permutation(len(rewards))
    np.testing.assert_array_equal(fills[order][BRIGHT(fills[order], HOLE)], fills[BRIGHT(fills, HOLE)])
    said = [BRIGHT.verdict([BRIGHT.rewards(each, HOLE)], [1]) for each in (fills, fills[order])]
    assert said[0].reward == said[1].reward and said[0].gain.value == pytest.approx(said[1].gain.value)


def test_a_verdict_by_hand() -> None:
    said = BRIGHT.verdict([np.array([1.0, 3.0, 2.0])], [7])
    assert (said.reward.value, said.reward.low, said.reward.high) == (3, 1, 5)
    assert (said.gain.value, said.gain.low, said.gain.high) == (1, 0.5, 1.5)
    assert said.sure
    assert said.sentence == ("Chosen with 90 % confidence: better than an average one of the 3 fills by 0.50 to 1.50.")
    close = BRIGHT.verdict([np.array([0.0, 0.5])], [7])
    assert not close.sure and close.gain.low == -0.25
    assert close.sentence == (
        "Too close to choose with 90 % confidence: this fill may be 0.25 worse to 0.75 better than an average one "
        "of the 2."
    )
    alone = BRIGHT.verdict([np.array([4.0])], [7])
    assert alone.sentence == "" and not alone.sure and alone.gain.value == 0
    assert "the same for all 2 fills" in BRIGHT.verdict([np.array([4.0, 4.0])], [7]).sentence


def test_several_holes_need_a_higher_level_each() -> None:
    rewards = [np.array([1.0, 3.0]), np.array([0.0, 8.0])]
    # Nine prompts have no 95 % interval.
    said = BRIGHT.verdict(rewards, [3, 1])
    assert said.reward.value == 4.25 and said.gain.value == 1.75 and said.gain.low == -math.inf and not said.sure
    assert "Too few validation prompts" in said.sentence
    many = ChoiceErrors(level=0.9, reward=((2.0,) * 19,) * 2, gain=((0.0,) * 19, (*(0.1,) * 18, 0.5)))
    said = Chooser(Brightness(), many).verdict(rewards, [3, 1])
    assert (said.gain.low, said.gain.high) == (1.25, 2.25) and said.level == 0.9 and said.sure


def test_a_reward_that_is_not_a_number_is_one_sentence() -> None:
    class Damaged(Brightness):
        def score(self, *given: Any, **more: Any) -> tuple[Any, None]:
            return np.array([0.0, np.nan]), None

    with pytest.raises(PrefPaintError, match="the reward of fill 1 is not a number; run `kedro run --pipeline=reward`"):
        Chooser(Damaged(), ERRORS)(fills_of([1, 2]), HOLE)
    with pytest.raises(PrefPaintError, match="there is no fill to choose from"):
        BRIGHT(fills_of([]), HOLE)


def test_each_crop_gets_the_fill_that_the_reward_prefers(pipe: Any, chooser: Chooser) -> None:
    image, mask = picture((slice(20, 60), slice(20, 70)), (slice(5, 12), slice(130, 140)))
    pixels, hole = np.asarray(image), (np.asarray(mask) > 0).astype(np.uint8)
    inpainter = Inpainter(pipe, FAST, "cpu")
    patches, verdict = paint_best(inpainter, pixels, hole, 3, "", 4, chooser)
    assert len(patches) == 2
    kept = [float(chooser.rewards(one.painted[None], one.hole)[0]) for one in patches]
    # Scored alone and in a batch of four: the same but for the last bits of float32.
    assert verdict.reward.value == pytest.approx(np.average(kept, weights=[2000, 70]), abs=1e-4)
    assert verdict.gain.value > 0
    one, alone = paint_best(inpainter, pixels, hole, 3, "", 1, chooser)
    assert alone.gain.value == 0 and len(one) == 2


def test_inpaint_keeps_the_rest_of_the_picture_and_says_how_sure_it_is(pipe: Any, chooser: Chooser) -> None:
    image, mask = picture()
    best = prefpaint.inpaint(pipe, image, mask, samples=4, chooser=chooser, seed=1, sampling=FAST)
    assert isinstance(best, Best) and best.image.size == image.size and best.verdict.samples == 4
    assert best.verdict.reward.low == pytest.approx(best.verdict.reward.value - 2)
    changed = (np.asarray(best.image) != np.asarray(image)).any(2)
    assert changed[20:60, 20:70].mean() > 0.9 and not changed[:18].any() and not changed[:, 72:].any()
    plain = prefpaint.inpaint(pipe, image, mask, seed=1, sampling=FAST)
    assert isinstance(plain, Image.Image)


def test_samples_and_chooser_belong_together(pipe: Any, chooser: Chooser) -> None:
    image, mask = picture()
    with pytest.raises(PrefPaintError, match="samples: is 8, and nothing chooses among that many fills"):
        prefpaint.inpaint(pipe, image, mask, samples=8, sampling=FAST)  # type: ignore[call-overload]
    with pytest.raises(PrefPaintError, match="chooser: has nothing to choose from, because samples is 1"):
        prefpaint.inpaint(pipe, image, mask, samples=1, chooser=chooser, sampling=FAST)
    with pytest.raises(PrefPaintError, match="samples: is 0"):
        prefpaint.inpaint(pipe, image, mask, samples=0, chooser=chooser, sampling=FAST)


def test_a_chooser_is_loaded_from_a_runs_models(reward: RewardModel, tmp_path: Path) -> None:
    reward.save_pretrained(tmp_path / "reward")
    with pytest.raises(PrefPaintError, match=r"choice_errors.json: is missing or damaged.*run `kedro run"):
        prefpaint.Chooser.load(tmp_path)
    (tmp_path / "choice_errors.json").write_text(json.dumps(ERRORS.model_dump(mode="json")))
    loaded = prefpaint.Chooser.load(str(tmp_path))
    assert loaded.errors == ERRORS
    fills = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3)).astype(np.uint8)
    hole = np.ones((SIZE, SIZE), np.uint8)
    hole[:, : SIZE // 2] = 0
    assert loaded(fills, hole) == Chooser(reward, ERRORS)(fills, hole)
