"""Several rewards: how they are combined by hand, what may be named, and alignment to them on a real tiny pipeline."""

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from prefpaint.alignment import watch
from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.objectives import group_advantages
from prefpaint.alignment.rewards import (
    WeightedRewards,
    combine,
    digests,
    make_rewards,
    mean_of_ranks,
    sum_of_spreads,
    weighted_sum,
)
from prefpaint.alignment.rewards_config import RESERVED
from prefpaint.alignment.scorers import TrustedReward
from prefpaint.errors import PrefPaintError
from tests.judges.outside_models import pictures, write_models

NAN = float("nan")


def tensor(*values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def config(**rewards: Any) -> AlignConfig:
    return AlignConfig.model_validate({"rewards": rewards})


def load(**rewards: Any) -> WeightedRewards:
    """Rewards without a learned one."""

    def learned() -> TrustedReward:
        pytest.fail("the learned reward is not asked for")

    return make_rewards(config(**rewards), learned)


def python(function: str, **knobs: Any) -> dict[str, Any]:
    return {"kind": "python", "function": function, **knobs}


def test_a_single_reward_keeps_its_units() -> None:
    rewards = tensor([[1.0, 3.0], [10.0, NAN]])
    found = sum_of_spreads(rewards, tensor(-2.0), True)
    np.testing.assert_array_equal(found, [[-2.0, -6.0], [-20.0, NAN]])


def test_the_sum_by_hand() -> None:
    """Spreads 1 and 10 within prompts; the second counts half as much and is lowered."""
    first, second = [[1.0, 3.0], [8.0, 6.0]], [[20.0, 40.0], [0.0, 20.0]]
    found = sum_of_spreads(tensor(first, second), tensor(1.0, -0.5), True)
    np.testing.assert_allclose(found, [[-1 + 0.5, 1 - 0.5], [1 + 0.5, -1 - 0.5]])
    # About the mean of all, 4.5 and 20, the spreads are √7.25 and √200.
    found = sum_of_spreads(tensor(first, second), tensor(1.0, -0.5), False)
    expected = (np.array(first) - 4.5) / math.sqrt(7.25) - 0.5 * (np.array(second) - 20) / math.sqrt(200)
    np.testing.assert_allclose(found, expected)


def test_a_reward_that_does_not_differ_says_nothing() -> None:
    rewards = tensor([[1.0, 3.0], [8.0, 6.0]], [[0.1 + 0.2, 0.3], [0.3, 0.3]])
    np.testing.assert_allclose(sum_of_spreads(rewards, tensor(1.0, 1.0), True), [[-1, 1], [1, -1]], atol=1e-9)


def test_ranks_by_hand() -> None:
    # Ranks 0, ½, 1; with a tie ¼, ¼, 1; the second reward is lowered and counts three times.
    rewards = tensor([[5.0, 6.0, 100.0]], [[1.0, 1.0, 2.0]])
    np.testing.assert_allclose(mean_of_ranks(rewards, tensor(1.0, -3.0)), [[-0.75 / 4, (0.5 - 0.75) / 4, -0.5]])
    # A skipped sample leaves two to be ranked, or one that is neither better nor worse.
    rewards = tensor([[5.0, NAN, 4.0], [NAN, NAN, 7.0]])
    np.testing.assert_allclose(mean_of_ranks(rewards, tensor(2.0)), [[1.0, NAN, 0.0], [NAN, NAN, 0.5]])


@pytest.mark.parametrize("how", ["sum", "rank"])
def test_a_sample_without_one_of_its_rewards_is_skipped_by_all(how: str) -> None:
    made = AlignConfig.model_validate(
        {"rewards": {"a": python("a:b"), "b": python("a:b", weight=2)}, "combine": how, "candidates": 3}
    )
    first, second = tensor([1.0, 2.0, 3.0]), tensor([1.0, math.inf, 3.0])
    found = combine({"a": first, "b": second}, made)
    assert found.isnan().tolist() == [[False, True, False]]
    assert found[0, 2] > found[0, 0]
    np.testing.assert_array_equal(combine({"a": first[:, ::2], "b": second[:, ::2]}, made), found[:, ::2])


VALUES = arrays(np.float64, (2, 3, 4), elements=st.integers(-9, 9).map(float))


@given(VALUES, st.sampled_from([0.5, 3.0, 1000.0]), st.integers(-50, 50), st.booleans())
def test_units_of_a_reward_do_not_matter(values: np.ndarray, scale: float, offset: int, within: bool) -> None:
    other = values * np.array([1.0, scale])[:, None, None] + np.array([0, offset])[:, None, None]
    weights = tensor(1.0, 0.7)
    before, after = (sum_of_spreads(torch.from_numpy(each), weights, within) for each in (values, other))
    np.testing.assert_allclose(after, before, atol=1e-8)


@given(VALUES)
def test_only_the_order_matters_to_ranks(values: np.ndarray) -> None:
    weights = tensor(1.0, -0.7)
    found = mean_of_ranks(torch.from_numpy(values), weights)
    np.testing.assert_array_equal(mean_of_ranks(torch.from_numpy(np.exp(values)), weights), found)
    assert found.abs().max() <= 1
    # Ranks of a prompt always have the same mean.
    np.testing.assert_allclose(found.mean(1), 0.5 * (1 - 0.7) / 1.7)


@given(VALUES)
def test_ranks_and_sums_of_one_reward_order_alike(values: np.ndarray) -> None:
    one = torch.from_numpy(values[:1])
    ranks, sums = mean_of_ranks(one, tensor(2.0)), sum_of_spreads(one, tensor(2.0), True)
    for left in range(4):
        assert torch.equal(ranks[:, left] > ranks[:, 0], sums[:, left] > sums[:, 0])


def test_a_scaled_sum_has_the_same_advantages_as_the_reward_alone() -> None:
    rewards = tensor([1.0, 3.0, NAN], [8.0, 6.0, 1.0])
    np.testing.assert_allclose(
        group_advantages(sum_of_spreads(rewards[None], tensor(4.0), True), 5.0), group_advantages(rewards, 5.0)
    )


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"rewards": {}}, "name at least one"),
        ({"rewards": {"Bad": python("a:b")}}, "'Bad' is not a valid name"),
        ({"rewards": {"referee": python("a:b")}}, "'referee' is not a valid name"),
        ({"rewards": {"x_gain": python("a:b")}}, "reads like a part of a metric's name"),
        ({"rewards": {"a": {"kind": "learned"}, "b": {"kind": "learned", "weight": 2}}}, "one learned reward"),
        ({"rewards": {"a": {"kind": "learned", "weight": 0}}}, "cannot be 0"),
        ({"rewards": {"a": {"kind": "learned", "weight": NAN}}}, "finite"),
        ({"rewards": {"a": python("nothing")}}, "must be module:function"),
        ({"rewards": {"a": {"kind": "clip"}}}, "checkpoint"),
        ({"rewards": {"a": {"kind": "clip", "checkpoint": "/no/such/folder"}}}, "does not exist"),
        ({"rewards": {"a": {"kind": "http", "url": "file:///etc/hosts"}}}, "begins with http"),
        ({"rewards": {"a": {"kind": "http", "url": "http://me:secret@host/"}}}, "user name or a password"),
        ({"rewards": {"a": {"kind": "http", "url": "http://host/a b"}}}, "without spaces"),
        ({"rewards": {"a": {"kind": "http", "url": "http://host:many/"}}}, "[Pp]ort"),
        ({"rewards": {"a": {"kind": "wish"}}}, "learned"),
        ({"rewards": {"a": {"kind": "boundary", "seam": 0, "colour_step": 0}}}, "cannot both be 0"),
        ({"rewards": {"a": {"kind": "boundary", "seam": -1}}}, "greater than or equal to 0"),
        ({"mode": "dpo", "rewards": {"a": python("a:b")}}, "mode dpo raises no rewards of your choice"),
        ({"mode": "dpo", "combine": "rank"}, "mode dpo raises no rewards of your choice"),
        ({"combine": "rank", "advantage": "batch"}, "needs advantage: group"),
    ],
    ids=str,
)
def test_what_cannot_be_raised_is_refused(knobs: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        AlignConfig.model_validate(knobs)


def test_null_takes_a_reward_out() -> None:
    given = {"learned": {"kind": "learned"}, "mine": python("a:b")}
    assert AlignConfig.model_validate({"rewards": given | {"mine": None}}).learned_alone
    without = AlignConfig.model_validate({"rewards": given | {"learned": None}})
    assert list(without.rewards) == ["mine"] and not without.raises_learned
    assert AlignConfig.model_validate({"mode": "dpo", "rewards": {"learned": {"kind": "learned"}}}).learned_alone


def test_names_of_other_columns_are_reserved() -> None:
    assert {*watch.LOOKS, watch.REFEREE, "reward", "noiseless", "kl", "iteration"} <= set(RESERVED)


def test_what_identifies_a_run() -> None:
    def identity(**knobs: Any) -> Any:
        return config(a={"kind": "http", "url": "http://host/", **knobs}).identity()

    assert identity(batch=1, timeout=1, retries=1) == identity()
    assert identity(weight=2) != identity() != AlignConfig().identity()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of the user's."""
    file = tmp_path / "my_scores.py"
    file.write_text(
        "import numpy as np\n"
        "def bright(images, masks):\n"
        "    bright.seen.append(len(images))\n"
        "    found = [image[mask > 0].mean() for image, mask in zip(images, masks)]\n"
        "    images[:] = 0\n"
        "    return found\n"
        "bright.seen = []\n"
        "def one(images, masks): return 1.0\n"
        "def infinite(images, masks): return np.full(len(images), np.inf)\n"
        "def words(images, masks): return ['good'] * len(images)\n"
        "def silent(images, masks): return np.full(len(images), np.nan)\n"
        "number = 3\n"
        "def long(images, masks, texts): return [len(text) for text in texts]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_scores", raising=False)
    return file


MASKS = np.ones((4, 32, 32), np.uint8)


def test_a_function_scores_copies_in_batches(module: Path) -> None:
    made = load(mine=python("my_scores:bright", batch=3, weight=-2.0))
    images = pictures()
    scores = made(images, MASKS)
    expected = pictures().mean((1, 2, 3))
    np.testing.assert_allclose(scores.parts["mine"], expected)
    np.testing.assert_allclose(scores.reward, -2 * expected)
    np.testing.assert_array_equal(images, pictures())
    assert sys.modules["my_scores"].bright.seen == [3, 1]
    assert np.isnan(scores.width).all() and (scores.gamma == 1).all()


def test_a_function_may_read_the_words(module: Path) -> None:
    texts = ["", "a cat", "a very long cat", "cats"]
    scores = load(mine=python("my_scores:long", batch=3))(pictures(), MASKS, texts)
    assert scores.reward.tolist() == [0, 5, 15, 4]
    assert load(mine=python("my_scores:long"))(pictures(), MASKS).reward.tolist() == [0] * 4


def test_a_function_may_skip_pictures(module: Path) -> None:
    assert np.isnan(load(mine=python("my_scores:silent"))(pictures(), MASKS).reward).all()


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("no_such_module:f", "module no_such_module cannot be imported"),
        ("my_scores:dark", "module my_scores has no function dark"),
        ("my_scores:number", "module my_scores has no function number"),
    ],
)
def test_a_function_that_is_not_there_is_found_when_it_is_loaded(module: Path, function: str, said: str) -> None:
    with pytest.raises(PrefPaintError, match=rf"^align\.rewards\.mine: {said}"):
        load(mine=python(function))


@pytest.mark.parametrize(
    ("function", "said"),
    [("one", r"gave shape \(\) for 4 picture"), ("infinite", "gave an infinite number"), ("words", "gave list")],
)
def test_what_a_function_gives_is_checked(module: Path, function: str, said: str) -> None:
    with pytest.raises(PrefPaintError, match=rf"^align\.rewards\.mine: {said}") as caught:
        load(mine=python(f"my_scores:{function}"))(pictures(), MASKS)
    assert "\n" not in str(caught.value)


def test_what_is_behind_a_name_is_known(module: Path, tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip/model.safetensors").write_bytes(b"1")
    rewards = config(
        **{"mine": python("my_scores:bright"), "clip": {"kind": "clip", "checkpoint": str(tmp_path / "clip")}},
        **{"far": {"kind": "http", "url": "http://host/"}, "hub": {"kind": "clip", "checkpoint": "owner/name"}},
    )
    before = digests(rewards)
    assert set(before) == {"mine", "clip"} and digests(rewards) == before
    (tmp_path / "clip/model.safetensors").write_bytes(b"2")
    module.write_text(module.read_text() + "# changed\n")
    after = digests(rewards)
    assert after["clip"] != before["clip"] and after["mine"] != before["mine"]
    with pytest.raises(PrefPaintError, match=r"^align\.rewards\.mine: module no_such_module cannot be imported"):
        digests(config(mine=python("no_such_module:f")))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    return write_models(tmp_path_factory.mktemp("models"), tiny_base / "tokenizer")


def test_other_peoples_models_score_in_any_batches(models: Path) -> None:
    def scores(batch: int) -> dict[str, np.ndarray]:
        named = {"clip": "clip", "hps": "clip", "aesthetic": "regression", "imagereward": "imagereward"}
        given = {kind: {"kind": kind, "checkpoint": str(models / at), "batch": batch} for kind, at in named.items()}
        found = load(**given)(pictures(), MASKS)
        np.testing.assert_allclose(found.reward, sum(found.parts.values()))
        return dict(found.parts)

    whole, parts = scores(32), scores(3)
    assert set(whole) == {"clip", "hps", "aesthetic", "imagereward"}
    for name, values in whole.items():
        np.testing.assert_allclose(parts[name], values, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(whole["clip"], whole["hps"])


@pytest.mark.parametrize("kind", ["clip", "imagereward"])
def test_a_picture_is_compared_with_its_own_words(models: Path, kind: str) -> None:
    given = {"kind": kind, "checkpoint": str(models / kind), "batch": 3, "text": "a photograph"}
    own = load(mine=given)(pictures(), MASKS, ["", "a cat a", "", "a a a cat"]).reward
    plain = load(mine=given)(pictures(), MASKS).reward
    assert list(np.isclose(own, plain)) == [True, False, True, False]


def test_what_shows_at_the_edge_is_taken_off() -> None:
    """Flat pictures with a step of 60 grey levels or none, and one whose edge is the only calm place."""
    masks = np.zeros((4, 32, 32), np.uint8)
    masks[:3, :, 16:] = 1
    images = np.full((4, 32, 32, 3), 100, np.uint8)
    images[0, :, 16:] = 160
    images[2] = np.random.default_rng(0).integers(80, 120, (32, 32, 3))
    images[2, :, 15:17] = 100
    # The floor of a step is 1.5 grey levels.
    seam = math.log(math.sqrt((60**2 + 1.5**2) / 1.5**2))
    whole = load(edge={"kind": "boundary", "weight": 2.0})(images, masks)
    np.testing.assert_allclose(whole.parts["edge"][:2], [-(seam + 0.05 * 60), 0], atol=1e-4)
    np.testing.assert_allclose(whole.reward, 2 * whole.parts["edge"])
    # What is smoother than its surroundings gains nothing; without an edge there is nothing to take off.
    calm, nothing = load(edge={"kind": "boundary", "colour_step": 0})(images, masks).reward[2:]
    assert calm == nothing == whole.reward[3] == 0
    apart = load(a={"kind": "boundary", "seam": 0, "batch": 3}, b={"kind": "boundary", "colour_step": 0, "batch": 1})
    np.testing.assert_allclose(apart(images, masks).reward, whole.parts["edge"], atol=1e-5)
    assert digests(config(edge={"kind": "boundary"})) == {}


def test_errors_of_a_checkpoint_name_the_reward(models: Path) -> None:
    for kind in ("clip", "hps", "aesthetic", "imagereward"):
        wrong = {"kind": kind, "checkpoint": str(models / ("blip" if kind != "aesthetic" else "classifier"))}
        with pytest.raises(PrefPaintError, match=r"^align\.rewards\.mine: "):
            load(mine=wrong)


def test_the_weighted_sum_leaves_units_alone() -> None:
    rewards = WeightedRewards(
        {"a": lambda *given: np.arange(4.0), "b": lambda *given: np.array([1, NAN, 3, 4.0])},
        {"a": 2.0, "b": -1.0},
    )
    np.testing.assert_array_equal(rewards(pictures(), MASKS).reward, [-1.0, NAN, 1.0, 2.0])
    np.testing.assert_array_equal(weighted_sum({"b": np.ones(2), "c": np.zeros(2)}, {"b": 3.0}), [3.0, 3.0])
