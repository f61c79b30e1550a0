"""The alignment loop on a real tiny pipeline."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.trainer import Aligner, Prompts, Scores
from prefpaint.errors import PrefPaintError
from prefpaint.inpainting.checkpoint import module_digest
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.sampling import Inpainter
from prefpaint.inpainting.small_model import build_small_pipeline
from tests.tiny import SIZE, TINY_MODEL, tiny_prompts

CONFIG = AlignConfig(iterations=3, prompts=4, candidates=4, steps=4, trained_steps=2, lr=1e-3, micro_batch=16)


class Brightness:
    """Likes bright fills: easy to learn, easy to check."""

    def __init__(self, sign: float = 1.0) -> None:
        self.sign = sign

    def __call__(self, images: np.ndarray, masks: np.ndarray) -> Scores:
        hole = masks[..., None] > 0
        reward = self.sign * (images * hole).sum((1, 2, 3)) / hole.sum((1, 2, 3)) / 255
        return Scores(reward, np.ones(len(reward)), np.ones(len(reward)))


def aligner(folder: Path, config: AlignConfig = CONFIG, scorer: Any = None, count: int = 6) -> Aligner:
    ids, images, masks = tiny_prompts(folder / "prompts", count)
    pipe = build_small_pipeline(TINY_MODEL, SIZE, seed=1)
    inpainter = Inpainter(pipe, SamplingConfig(steps=config.steps, batch=16))
    return Aligner(inpainter, scorer or Brightness(), Prompts(ids, images, masks), config)


def run(folder: Path, config: AlignConfig = CONFIG, scorer: Any = None) -> Aligner:
    made = aligner(folder, config, scorer)
    workspace = folder / "workspace"
    workspace.mkdir(exist_ok=True)
    made.run(workspace, "test")
    return made


def test_ratio_is_one_before_the_first_step(tmp_path: Path) -> None:
    row = aligner(tmp_path).iterate(0)
    # float32: the log-probability's error is about 1e-6.
    assert row["ratio_least"] == pytest.approx(1, abs=1e-5)
    assert row["ratio_most"] == pytest.approx(1, abs=1e-5)
    assert row["clipped"] == 0


def test_later_inner_steps_leave_one_and_are_clipped(tmp_path: Path) -> None:
    made = aligner(tmp_path, CONFIG.model_copy(update={"inner_updates": 4, "clip": 1e-4, "lr": 1e-2}))
    row = made.iterate(0)
    assert row["ratio_least"] < 0.9999 or row["ratio_most"] > 1.0001
    assert row["clipped"] > 0


def test_opposite_tastes_move_the_model_apart(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"iterations": 8, "candidates": 8, "lr": 1e-2, "clip": 0.1})
    bright = [row["reward"] for row in run(tmp_path / "up", config, Brightness(1.0)).history]
    dark = [-row["reward"] for row in run(tmp_path / "down", config, Brightness(-1.0)).history]
    # The same seeds and prompts: before the first update both models paint the same.
    assert bright[0] == pytest.approx(dark[0], abs=1e-9)
    assert np.mean(bright[-3:]) > np.mean(dark[-3:]) + 0.005


def test_micro_batches_do_not_change_the_gradient(tmp_path: Path) -> None:
    digests = []
    for size in (16, 5):
        made = aligner(tmp_path, CONFIG.model_copy(update={"micro_batch": size}))
        batch, _ = made._collect(0)
        made.optimizer.step = lambda: None  # type: ignore[method-assign, assignment]
        made.optimizer.zero_grad = lambda: None  # type: ignore[method-assign, assignment]
        made._update(batch, 0)
        digests.append(torch.cat([p.grad.flatten() for p in made.policy.parameters()]))
    # float32 sums in another order, on gradients clipped to norm 1.
    torch.testing.assert_close(digests[0], digests[1], atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("after", [1, 2])
def test_a_killed_run_ends_in_the_same_weights(tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(tmp_path)
    (tmp_path / "again").mkdir()
    killed = aligner(tmp_path)
    iterate = killed.iterate

    def dies(iteration: int) -> dict[str, float]:
        if iteration == after:
            raise KeyboardInterrupt
        return iterate(iteration)

    monkeypatch.setattr(killed, "iterate", dies)
    with pytest.raises(KeyboardInterrupt):
        killed.run(tmp_path / "again", "test")
    resumed = aligner(tmp_path)
    resumed.run(tmp_path / "again", "test")
    assert module_digest(resumed.policy) == module_digest(whole.policy)
    assert module_digest(resumed.averaged) == module_digest(whole.averaged)
    assert str(resumed.history) == str(whole.history)


def test_another_configuration_starts_afresh(tmp_path: Path) -> None:
    first = run(tmp_path)
    second = run(tmp_path, CONFIG.model_copy(update={"seed": 1}))
    assert module_digest(first.policy) != module_digest(second.policy)
    assert len(list((tmp_path / "workspace").iterdir())) == 1


def test_the_average_by_hand(tmp_path: Path) -> None:
    made = aligner(tmp_path, CONFIG.model_copy(update={"average": 0.75}))
    base = [value.clone() for value in made.base.parameters()]
    made.iterate(0)
    first = [value.detach().clone() for value in made.policy.parameters()]
    made.iterate(1)
    for mean, a, b, c in zip(made.averaged.parameters(), base, first, made.policy.parameters(), strict=True):
        torch.testing.assert_close(mean, 0.75 * (0.75 * a + 0.25 * b) + 0.25 * c.detach())


def test_the_base_is_left_alone(tmp_path: Path) -> None:
    made = aligner(tmp_path)
    before = module_digest(made.base)
    made.iterate(0)
    assert module_digest(made.base) == before != module_digest(made.policy)


def test_kl_holds_the_policy_back(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"iterations": 6, "kl": 1e-9})
    free = run(tmp_path / "free", config).history
    held = run(tmp_path / "held", config.model_copy(update={"kl": 100.0})).history
    assert free[0]["kl"] == pytest.approx(0, abs=1e-9)
    assert held[-1]["kl"] < free[-1]["kl"]


def test_one_lost_reward_is_dropped_and_counted(tmp_path: Path) -> None:
    class Broken(Brightness):
        def __call__(self, images: np.ndarray, masks: np.ndarray) -> Scores:
            scores = super().__call__(images, masks)
            scores.reward[3] = np.nan
            return scores

    made = aligner(tmp_path, scorer=Broken())
    row = made.iterate(0)
    assert row["rewards_dropped"] == 1
    assert np.isfinite(row["gradient_norm"])
    assert all(torch.isfinite(p).all() for p in made.policy.parameters())


def test_a_chain_without_noise_is_refused(tmp_path: Path) -> None:
    ids, images, masks = tiny_prompts(tmp_path, 2)
    inpainter = Inpainter(build_small_pipeline(TINY_MODEL, SIZE, 1), SamplingConfig(steps=4, eta=0.0))
    with pytest.raises(PrefPaintError, match="only 0 of the chain are random enough"):
        Aligner(inpainter, Brightness(), Prompts(ids, images, masks), CONFIG)
