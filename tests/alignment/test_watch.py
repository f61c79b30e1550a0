"""Watching held-out prompts: appearance by hand, the rules by hand, looks on a real tiny model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.policy import Policy
from prefpaint.alignment.scorers import Prompts
from prefpaint.alignment.watch import LOOKS, Watch, appearance_of_holes, best, hacked, stop, undecided
from prefpaint.alignment.watch_config import WatchConfig
from prefpaint.errors import PrefPaintError
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.sampling import Inpainter
from prefpaint.small_model.build import build_small_pipeline
from tests.tiny import SIZE, TINY_MODEL, tiny_prompts


def test_appearance_by_hand() -> None:
    image = np.zeros((1, 2, 4, 3), np.uint8)
    image[0, :, 2:] = 255
    image[0, 0, 0] = (255, 0, 0)
    mask = np.ones((1, 2, 4), np.uint8)
    mask[0, 0, 0] = 0
    found = appearance_of_holes(image, mask)
    # Four of seven pixels are white; the red one is known and does not count.
    assert found["brightness"].tolist() == pytest.approx([4 / 7])
    assert found["saturation"].tolist() == [0]
    # Neighbours inside the hole: 3 one above the other, all equal; 2 + 3 side by side, of which 2 differ by 1.
    assert found["sharpness"].tolist() == pytest.approx([2 / 8])
    red = appearance_of_holes(image, 1 - mask)
    # The luma of red (Rec. 709); one pixel has no neighbour.
    assert [red[name][0] for name in LOOKS] == pytest.approx([0.2125, 1.0, 0.0])


def looks(referee: list[float], reward: list[float], error: float = 0.1) -> list[dict[str, float]]:
    return [
        {
            "referee": value,
            "referee_gain": value,
            "referee_gain_error": error,
            "reward": other,
            "reward_gain": other,
            "reward_gain_error": error,
        }
        for value, other in zip(referee, reward, strict=True)
    ]


def test_rules_by_hand() -> None:
    seen = looks([0.1, 0.5, 0.5, 0.4, 0.2], [0.1, 0.5, 0.6, 0.8, 0.9])
    # The last of two that are equal, or nearly so.
    assert best(seen) == 2 and best(looks([0.5, 0.495, 0.48], [0.1, 0.2, 0.3])) == 1
    assert [stop(seen[:count], WatchConfig(patience=2)) for count in range(6)] == [False] * 5 + [True]
    assert not stop(seen, WatchConfig(patience=None))
    # 0.2 is more than two standard errors below 0.5, while the reward went on to rise; 0.4 is not.
    assert hacked(seen) and not hacked(seen[:4])
    assert not hacked(looks([0.5, 0.2], [0.5, 0.4])), "both fell: that is not hacking"
    other = [{**look, "noiseless": 1.0, "noiseless_gain": 0.2, "noiseless_gain_error": 0.1} for look in seen]
    assert not hacked(other, "noiseless"), "another judge may see it otherwise"
    assert hacked(looks([-0.3], [0.3])), "raised against the referee from the beginning"


def test_a_referee_without_an_opinion_neither_chooses_nor_accuses() -> None:
    blind = looks([-0.00001, -0.00003, -0.00004], [0.5, 1.0, 1.4])
    for look in blind:
        look["referee_gain_error"] = 1e-6
    assert undecided(blind) and best(blind) == 2 and not hacked(blind)
    assert not undecided(looks([0.0, 0.02], [0.5, 1.0]))


@pytest.fixture
def painter() -> Inpainter:
    return Inpainter(build_small_pipeline(TINY_MODEL, SIZE, 1), SamplingConfig(steps=3, batch=4))


def bright(images: np.ndarray, masks: np.ndarray, texts: Sequence[str] = ()) -> np.ndarray:
    return appearance_of_holes(images, masks)["brightness"]


def watch(painter: Inpainter, folder: Path, **settings: Any) -> Watch:
    prompts = Prompts(*tiny_prompts(folder, 6))
    return Watch(painter, prompts, {"reward": bright, "referee": bright}, WatchConfig(**settings), seed=0)


def test_the_reward_may_be_a_weighted_sum_with_gaps(painter: Inpainter, tmp_path: Path) -> None:
    def other(images: np.ndarray, masks: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """Says nothing of the first picture."""
        return np.where(np.arange(len(images)) > 0, 2 * bright(images, masks), np.nan)

    prompts, policy = Prompts(*tiny_prompts(tmp_path, 3)), Policy(painter, AlignConfig())
    judges = {"referee": bright, "bright": bright, "other": other}
    looking = Watch(painter, prompts, judges, WatchConfig(), 0, {"bright": 3.0, "other": -1.0})
    policy.averages[0].mul_(3)
    row = looking.look(policy)
    assert row["reward"] == pytest.approx(row["other"] / 2) and row["reward_gain"] == pytest.approx(
        row["other_gain"] / 2
    )
    assert row["other_gain"] != 0 and row["bright"] == row["referee"] != pytest.approx(row["other"] / 2)
    with pytest.raises(PrefPaintError, match=r"^align: other gave finite numbers for the fills of 1 validation prompt"):
        Watch(painter, prompts, judges, WatchConfig(prompts=2), 0, {"other": 1.0}).look(policy)


@pytest.mark.parametrize("tune", ["full", "lora"])
def test_an_untrained_policy_gains_nothing_and_a_changed_one_is_seen(
    painter: Inpainter, tmp_path: Path, tune: str
) -> None:
    policy = Policy(painter, AlignConfig.model_validate({"tune": tune}))
    looking = watch(painter, tmp_path, prompts=5)
    row = looking.look(policy)
    assert [row[name] for name in ("reward_gain", "referee_gain_error", "brightness", "kl")] == [0, 0, 0, 0]
    # Whatever has been learned so far lies in the averages; the policy's own weights are not looked at.
    with torch.no_grad():
        for value in policy.averages:
            value += 0.05
    changed = looking.look(policy)
    assert changed["kl"] > 0 and changed["reward"] == pytest.approx(row["reward"] + changed["reward_gain"])
    assert changed["brightness"] == changed["reward_gain"] != 0
    assert changed == looking.look(policy), "the same noise every time"


def test_batches_do_not_matter(painter: Inpainter, tmp_path: Path) -> None:
    policy = Policy(painter, AlignConfig())
    rows = []
    for batch in (4, 2):
        painter.config = painter.config.model_copy(update={"batch": batch})
        rows.append(watch(painter, tmp_path, prompts=6).look(policy))
    # float32 in other batch shapes may move a pixel by one grey level of 255.
    assert rows[0] == pytest.approx(rows[1], abs=1e-4)


def test_too_few_prompts_are_refused(painter: Inpainter, tmp_path: Path) -> None:
    with pytest.raises(PrefPaintError, match=r"1 validation prompt\(s\) are too few .* masks\.prompts\.validation"):
        Watch(painter, Prompts(*tiny_prompts(tmp_path, 1)), {"referee": bright}, WatchConfig(), 0)
