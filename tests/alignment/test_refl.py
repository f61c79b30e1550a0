"""The reward's own gradient: the loss by hand, the gradient by finite differences, and the loop on a tiny pipeline."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from prefpaint.alignment.loop import Aligner
from prefpaint.alignment.refl import DirectGradient, refl_loss
from prefpaint.alignment.rollouts import choose
from prefpaint.alignment.scorers import Prompts
from prefpaint.alignment.watch import Watch
from prefpaint.errors import PrefPaintError
from prefpaint.inpainting.checkpoint import module_digest
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.sampling import Inpainter, paste_known
from prefpaint.small_model.build import build_small_pipeline
from tests.alignment.test_loop import CONFIG, Brightness, with_
from tests.tiny import SIZE, TINY_MODEL, tiny_prompts


class SmoothBrightness(Brightness):
    """The same taste, with a gradient."""

    def differentiable(self, images: Tensor, holes: Tensor, texts: Sequence[str] = ()) -> tuple[Tensor, Tensor, Tensor]:
        reward = self.sign * (images * holes).sum((1, 2, 3)) / holes.sum((1, 2, 3))
        return reward, torch.ones(len(reward)), torch.ones(len(reward))


def test_the_loss_by_hand() -> None:
    reward, gamma = torch.tensor([1.0, 3.0, -2.0], requires_grad=True), torch.tensor([1.0, 2.0, 0.5])
    assert refl_loss(reward, gamma, None).tolist() == [-1.0, -6.0, 1.0]
    # A margin of 2: what is above it is not pushed.
    loss = refl_loss(reward, gamma, 2.0)
    assert loss.tolist() == [1.0, 0.0, 2.0]
    loss.sum().backward()
    assert reward.grad is not None and reward.grad.tolist() == [-1.0, 0.0, -0.5]


def make(folder: Path, watched: bool = False, scorer: Any = None, eta: float = 1.0, **knobs: Any) -> Aligner:
    config = with_(**{"mode": "refl", "candidates": 2, **knobs})
    ids, images, masks = tiny_prompts(folder / "prompts", 6)
    pipe = build_small_pipeline(TINY_MODEL, SIZE, seed=1)
    inpainter = Inpainter(pipe, SamplingConfig(steps=config.steps, batch=16, eta=eta))
    prompts = Prompts(ids, images, masks)
    method = DirectGradient(inpainter, scorer or SmoothBrightness(), prompts, config)
    judges = {"reward": Brightness().reward, "referee": Brightness().reward}
    watch = Watch(inpainter, prompts, judges, config.watch, config.seed) if watched else None
    return Aligner(inpainter, method, config, watch)


def gradient(aligner: Aligner) -> Tensor:
    """Of the first iteration, unclipped and before any update."""
    policy: Any = aligner.policy
    policy.optimizer.step = policy.optimizer.zero_grad = lambda: None
    aligner.iterate()
    return torch.cat([value.grad.flatten() for value in policy.masters])


PATHS: list[dict[str, Any]] = [
    {"path": "chain", "last_steps": 1},
    {"path": "chain", "last_steps": 4},
    {"path": "jump", "last_steps": 3},
]


@pytest.mark.parametrize("refl", PATHS)
def test_the_gradient_is_that_of_finite_differences(tmp_path: Path, refl: dict[str, Any]) -> None:
    """Along the gradient itself, where a step of ε changes the loss by ε ‖g‖."""
    knobs: dict[str, Any] = {"refl": {**refl, "pull": 0.0}, "gradient_norm": None}
    found = gradient(make(tmp_path / "gradient", **knobs))
    losses, step = [], 1e-3
    for sign in (1, -1):
        aligner = make(tmp_path / str(sign), **knobs)
        with torch.no_grad():
            parts = found.split([value.numel() for value in aligner.policy.masters])
            for value, part in zip(aligner.policy.masters, parts, strict=True):
                value += sign * step * part.reshape(value.shape) / found.norm()
        losses.append(aligner.iterate()["loss"])
    slope = (losses[0] - losses[1]) / (2 * step)
    if refl["last_steps"] == CONFIG.steps:
        # float32 losses that differ by about 1e-3.
        assert slope == pytest.approx(float(found.norm()), rel=0.02)
    else:
        # The weights act in the steps before too, through which no gradient flows: only its sign is known.
        assert slope > 0


def test_a_jump_from_the_last_step_is_the_last_step(tmp_path: Path) -> None:
    """Without noise the last step of a chain that ends at the clean picture is its estimate of that picture."""
    jump, chain = (
        make(tmp_path / path, eta=0.0, refl={"path": path, "last_steps": 1}).iterate() for path in ("jump", "chain")
    )
    assert jump["reward"] == pytest.approx(chain["reward"], abs=0.02)


def test_it_scores_what_sampling_paints(tmp_path: Path) -> None:
    aligner = make(tmp_path, scorer=SmoothBrightness())
    method: Any = aligner.method
    chosen = choose(method.prompts, aligner.config, 0)
    chain = aligner.inpainter.rollout(chosen.images, chosen.masks, chosen.seeds)
    with torch.no_grad():
        pixels, _ = method._paint(aligner.policy, chosen, 2)
    painted = (pixels.permute(0, 2, 3, 1) * 255).round().byte().numpy()
    difference = paste_known(painted, chosen.images, chosen.masks).astype(int) - chain.images
    # One is sampled in the working copy of the weights, the other in the policy's: rounding may differ by a grey level.
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("refl", PATHS)
def test_micro_batches_do_not_change_the_gradient(tmp_path: Path, refl: dict[str, Any]) -> None:
    found = [gradient(make(tmp_path / str(size), refl=refl, micro_batch=size)) for size in (16, 3)]
    # float32 sums in another order, on gradients clipped to norm 1.
    torch.testing.assert_close(found[0], found[1], atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize("tune", ["full", "lora"])
def test_opposite_tastes_move_the_model_apart(tmp_path: Path, tune: str) -> None:
    knobs: dict[str, Any] = {"iterations": 6, "tune": tune, "lora": {"rank": 4, "alpha": 8}}
    knobs |= {"lr": 3e-3 if tune == "full" else 1e-2}
    bright, dark = (
        [
            sign * row["reward"]
            for row in make(tmp_path / str(sign), scorer=SmoothBrightness(sign), **knobs)
            .run(tmp_path / f"{sign}/workspace")
            .history
        ]
        for sign in (1.0, -1.0)
    )
    assert bright[0] == pytest.approx(dark[0], abs=1e-6)
    assert np.mean(bright[-2:]) > np.mean(dark[-2:]) + 0.001


def test_the_pull_holds_the_policy_at_the_base(tmp_path: Path) -> None:
    free, held = (
        make(tmp_path / str(pull), iterations=6, lr=3e-3, refl={"pull": pull}).run(tmp_path / f"{pull}/workspace")
        for pull in (1e-6, 100.0)
    )
    assert held.history[-1]["drift_from_base"] < free.history[-1]["drift_from_base"] / 2


def test_a_run_is_watched_and_resumes_to_the_same_weights(tmp_path: Path) -> None:
    knobs: dict[str, Any] = {"watched": True, "refl": {"path": "jump", "last_steps": 3}}
    whole = make(tmp_path / "whole", **knobs).run(tmp_path / "whole/workspace")
    make(tmp_path / "parts", **knobs, iterations=1).run(tmp_path / "parts/workspace")
    parts = make(tmp_path / "parts", **knobs).run(tmp_path / "parts/workspace")
    assert module_digest(parts.network) == module_digest(whole.network)
    assert parts.history == whole.history


def test_a_reward_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    class Broken(SmoothBrightness):
        def differentiable(
            self, images: Tensor, holes: Tensor, texts: Sequence[str] = ()
        ) -> tuple[Tensor, Tensor, Tensor]:
            reward, width, gamma = super().differentiable(images, holes, texts)
            return reward / 0, width, gamma

    with pytest.raises(PrefPaintError, match="not finite"):
        make(tmp_path, scorer=Broken()).iterate()


def test_more_steps_than_the_chain_has_are_refused() -> None:
    with pytest.raises(ValueError, match=r"refl\.last_steps cannot exceed steps"):
        with_(mode="refl", refl={"last_steps": 9})
