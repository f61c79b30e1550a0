"""Alignment on the forward process: the losses by hand, and the loop on a real tiny pipeline."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prefpaint.alignment.awm import _AWM, awm_loss, matching_likelihood
from prefpaint.alignment.loop import Aligner
from prefpaint.alignment.matching import ForwardProcess
from prefpaint.alignment.nft import _NFT, nft_loss, preference
from prefpaint.alignment.scorers import Prompts, Scores
from prefpaint.alignment.watch import Watch
from prefpaint.inpainting.chain import mean_over
from prefpaint.inpainting.checkpoint import module_digest
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.sampling import Inpainter
from prefpaint.small_model.build import build_small_pipeline
from tests.alignment.test_loop import GATE, MOVING, Brightness, Doubted, perturb, with_
from tests.tiny import SIZE, TINY_MODEL, tiny_prompts

OBJECTIVES: dict[str, Any] = {"nft": _NFT, "awm": _AWM}
BOTH = pytest.mark.parametrize("mode", OBJECTIVES)


def tensors(count: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(3, 2, 4, 4, generator=generator) for _ in range(count)]


def test_the_nft_loss_by_hand() -> None:
    """One latent element: target 0, v_old = 1, v = 3, β = ½ → v⁺ = 2, v⁻ = 0; ‖e‖² / |e| = |e|."""
    one = torch.ones(1, 1, 1, 1)
    loss = nft_loss(3 * one, one, 0 * one, torch.tensor([0.8]), torch.tensor([0.75]), 0.5, None)
    # Where the error is exactly 0, 0 / 1e-5 counts.
    assert loss.item() == pytest.approx(0.8 / 0.5 * (0.75 * 2 + 0.25 * 0))
    assert preference(torch.tensor([-9.0, -2.5, 0.0, 5.0]), 5.0).tolist() == [0.0, 0.25, 0.5, 1.0]


def test_the_nft_gradient_at_the_old_policy_has_a_closed_form() -> None:
    old, target, weights = tensors(3)
    weight = (weights[:, :1] > 0).float()
    now, good, spread = old.clone().requires_grad_(), torch.tensor([0.9, 0.5, 0.1]), torch.tensor([0.2, 0.6, 1.0])
    nft_loss(now, old, target, spread, good, 0.3, weight).sum().backward()
    error = old - target
    size = mean_over(error.abs(), weight)
    count = weight.sum((1, 2, 3)) * old.shape[1]
    factor = spread * (2 * good - 1) * 2 / (size * count)
    torch.testing.assert_close(now.grad, factor[:, None, None, None] * error * weight)


@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_under_equal_rewards_the_old_policy_is_where_nft_rests(beta: float) -> None:
    old, target = tensors(2)
    spread, good = torch.ones(3), torch.full((3,), 0.5)
    now = old.clone().requires_grad_()
    at_rest = nft_loss(now, old, target, spread, good, beta, None)
    at_rest.sum().backward()
    # Two equal and opposite gradients, in float32.
    torch.testing.assert_close(now.grad, torch.zeros_like(old), atol=1e-7, rtol=0)


def test_the_awm_loss_by_hand() -> None:
    log_p = matching_likelihood(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5]))
    # −0.5 / 0.25 · (1 − 0.003162…), with δ^¼ = 10^−2.5.
    assert log_p.tolist() == pytest.approx([-2 * (1 - 10**-2.5), 0.0], abs=1e-6)
    before = torch.zeros(4)
    ratio = torch.tensor([1.5, 4.0, 0.5, 4.0])
    loss, given = awm_loss(ratio.log(), before, torch.tensor([1.0, 1.0, -1.0, -1.0]), 2.0)
    assert given.tolist() == pytest.approx(ratio.tolist())
    # A ratio counts up to 2 where it is praised; where it is blamed, in full.
    assert loss.tolist() == pytest.approx([-1.5, -2.0, 0.5, 4.0])


def make(
    folder: Path,
    mode: str,
    watched: bool = False,
    sampling: dict[str, Any] | None = None,
    scorer: Brightness | None = None,
    **knobs: Any,
) -> Aligner:
    config = with_(**{"mode": mode, "trained_steps": 3, **knobs})
    ids, images, masks = tiny_prompts(folder / "prompts", 6)
    inpainter = Inpainter(
        build_small_pipeline(TINY_MODEL, SIZE, seed=1), SamplingConfig(steps=config.steps, batch=16, **(sampling or {}))
    )
    prompts = Prompts(ids, images, masks)
    method = ForwardProcess(inpainter, scorer or Brightness(), prompts, config, OBJECTIVES[mode](config))
    judges = {"reward": Brightness().reward, "referee": Brightness().reward}
    watch = Watch(inpainter, prompts, judges, config.watch, config.seed) if watched else None
    return Aligner(inpainter, method, config, watch)


def weights(aligner: Aligner) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in aligner.policy.masters])


@BOTH
def test_micro_batches_do_not_change_the_gradient(tmp_path: Path, mode: str) -> None:
    found = []
    for size in (16, 5):
        aligner = make(tmp_path / str(size), mode, micro_batch=size)
        policy: Any = aligner.policy
        policy.optimizer.step = policy.optimizer.zero_grad = lambda: None
        aligner.iterate()
        found.append(torch.cat([value.grad.flatten() for value in policy.masters]))
    # float32 sums in another order, on gradients clipped to norm 1.
    torch.testing.assert_close(found[0], found[1], atol=1e-6, rtol=1e-3)


def gradient(folder: Path, mode: str, perturbed: float = 1e-2, **knobs: Any) -> torch.Tensor:
    """That of the first iteration of a policy that has left the base."""
    aligner = make(folder, mode, scorer=Doubted(), **knobs)
    policy: Any = aligner.policy
    perturb(policy, perturbed)
    policy.optimizer.step = policy.optimizer.zero_grad = lambda: None
    aligner.iterate()
    return torch.cat([value.grad.flatten() for value in policy.masters])


@BOTH
@pytest.mark.parametrize("knobs", [GATE, {"trust": "none", "norm_ceiling": 10.0}], ids=["gate", "ceiling"])
def test_micro_batches_do_not_change_what_guards_do(tmp_path: Path, mode: str, knobs: dict[str, Any]) -> None:
    found = [gradient(tmp_path, mode, **knobs, micro_batch=size) for size in (16, 5)]
    torch.testing.assert_close(found[0], found[1], atol=1e-6, rtol=1e-3)
    assert (gradient(tmp_path, mode, trust="none") - found[0]).norm() > 0.01, "they do something"


@BOTH
def test_a_gate_open_for_all_is_the_pull_to_the_base(tmp_path: Path, mode: str) -> None:
    everyone = {"trust": "gate", "gate": {"share": 1.0, "weight": 3.0}, mode: {"pull": 0.0}}
    torch.testing.assert_close(
        gradient(tmp_path, mode, **everyone),
        gradient(tmp_path, mode, trust="none", **{mode: {"pull": 3.0}}),
        atol=1e-6,
        rtol=1e-3,
    )


@BOTH
def test_the_gate_and_the_ceiling_are_recorded_and_resume(tmp_path: Path, mode: str) -> None:
    knobs: dict[str, Any] = {**MOVING, "norm_ceiling": 1.0, "iterations": 4, "inner_updates": 2}
    whole = make(tmp_path / "whole", mode, scorer=Doubted(), **knobs).run(tmp_path / "whole/workspace")
    assert [row["anchor_refreshed"] for row in whole.history[:2]] != [0, 0]
    assert all(row["gated"] == 0.25 and row["norm_excess"] >= 0 for row in whole.history)
    for iterations in (2, 4):
        parts = make(tmp_path / "parts", mode, scorer=Doubted(), **{**knobs, "iterations": iterations})
        resumed = parts.run(tmp_path / "parts/workspace")
    assert module_digest(resumed.network) == module_digest(whole.network) and resumed.history == whole.history


@BOTH
def test_the_ceiling_keeps_predictions_small(tmp_path: Path, mode: str) -> None:
    def size(ceiling: float) -> float:
        aligner = make(tmp_path, mode, iterations=6, lr=1e-2, trust="none", norm_ceiling=ceiling)
        for _ in range(6):
            row = aligner.iterate()
        return row["norm_excess"]

    assert size(100.0) < size(1e-9)


@pytest.mark.parametrize(
    ("mode", "tune", "eta"), [("nft", "full", 0.0), ("nft", "lora", 1.0), ("awm", "full", 1.0), ("awm", "lora", 0.0)]
)
def test_opposite_tastes_move_the_model_apart_with_any_sampler(
    tmp_path: Path, mode: str, tune: str, eta: float
) -> None:
    knobs: dict[str, Any] = {"iterations": 8, "candidates": 8, "tune": tune, "lora": {"rank": 4, "alpha": 8}}
    knobs |= {"lr": 1e-2 if tune == "full" else 5e-2, "awm": {"old_pull": 0.1}}
    rewards = []
    for sign in (1.0, -1.0):
        aligner = make(tmp_path / str(sign), mode, sampling={"eta": eta}, scorer=Brightness(sign), **knobs)
        rewards.append([sign * row["reward"] for row in aligner.run(tmp_path / f"{sign}/workspace").history])
    bright, dark = rewards
    # The same seeds and prompts: before the first update both models paint the same.
    assert bright[0] == pytest.approx(dark[0], abs=1e-9)
    assert np.mean(bright[-3:]) > np.mean(dark[-3:]) + 0.001


@BOTH
def test_a_run_is_watched_and_resumes_to_the_same_weights(tmp_path: Path, mode: str) -> None:
    whole = make(tmp_path / "whole", mode, watched=True, inner_updates=2).run(tmp_path / "whole/workspace")
    make(tmp_path / "parts", mode, watched=True, inner_updates=2, iterations=1).run(tmp_path / "parts/workspace")
    parts = make(tmp_path / "parts", mode, watched=True, inner_updates=2).run(tmp_path / "parts/workspace")
    assert module_digest(parts.network) == module_digest(whole.network)
    assert parts.history == whole.history


def test_the_old_policy_samples_nft_and_follows_slowly(tmp_path: Path) -> None:
    aligner = make(tmp_path, "nft", nft={"old_decay_rate": 0.25, "old_decay_most": 0.5})
    base = weights(aligner).clone()
    expected = base
    for decay in (0.0, 0.25, 0.5, 0.5):
        aligner.iterate()
        expected = decay * expected + (1 - decay) * weights(aligner)
        old = torch.cat([value.flatten() for value in aligner.policy.old])
        torch.testing.assert_close(old, expected)
    assert aligner.history[0]["drift_from_old"] == 0


def test_noise_is_shared_by_the_samples_of_a_prompt(tmp_path: Path) -> None:
    aligner = make(tmp_path, "nft")
    method: Any = aligner.method
    rollout, _ = method.sampler.collect(aligner.policy.network, 0)
    items = method._items(rollout, 0, torch.tensor([1, 1, 1, 2]), torch.tensor([0, 1, 4, 0]))
    latents = rollout.chain.latents[-1][[0, 1, 4, 0]]
    noise = [
        (noised - signal * clean) / spread
        for noised, clean, signal, spread in zip(
            items.noised.latents, latents, (1 - items.noised.spread**2).sqrt(), items.noised.spread, strict=True
        )
    ]
    # Recovered by subtraction, in float32.
    torch.testing.assert_close(noise[0], noise[1], atol=1e-5, rtol=0)
    assert not torch.allclose(noise[0], noise[2], atol=0.1) and not torch.allclose(noise[0], noise[3], atol=0.1)


def test_ratios_of_awm_are_one_until_something_is_updated(tmp_path: Path) -> None:
    assert make(tmp_path / "one", "awm").iterate()["ratio"] == 1
    assert make(tmp_path / "two", "awm", inner_updates=2, lr=1e-2).iterate()["ratio"] != 1


def test_an_advantage_without_trust_does_nothing(tmp_path: Path) -> None:
    """γ = 0 for all samples: nft rests at the old policy, whatever the rewards."""

    class Distrusted(Brightness):
        def __call__(self, images: np.ndarray, masks: np.ndarray, texts: Sequence[str] = ()) -> Scores:
            scores = super().__call__(images, masks)
            return Scores(scores.reward, scores.width, np.zeros(len(images)))

    aligner = make(tmp_path, "nft", scorer=Distrusted())
    # What is left is rounding.
    assert aligner.iterate()["gradient_norm"] < 1e-5
