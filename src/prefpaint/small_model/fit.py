"""One network's training: Muon and AdamW, weight averaging, checkpoints that a killed run resumes from."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prefpaint.files import load_state, save_state
from prefpaint.progress import Progress
from prefpaint.small_model.config import FitConfig
from prefpaint.small_model.muon import Muon

# Weights are averaged over this many steps in the end.
EMA_STEPS = 1000


@contextmanager
def _without_denormals() -> Iterator[None]:
    """Treat numbers next to 0 as 0: arithmetic with them is many times slower. Holds for the whole process."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _learning_rate(step: int, config: FitConfig) -> float:
    """1, after a linear rise and before a linear fall to 0."""
    fall = (config.steps - step) / max(1.0, config.steps * config.cool_down)
    return min(1.0, (step + 1) / config.warm_up, fall)


def _update_ema(ema: nn.Module, model: nn.Module, step: int) -> None:
    """Exponential moving average of weights whose memory grows to `EMA_STEPS`."""
    decay = min(1 - 1 / EMA_STEPS, (1 + step) / (10 + step))
    with torch.no_grad():
        for mean, value in zip(ema.parameters(), model.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)


def fit(
    name: str,
    model: nn.Module,
    loss_of: Callable[[int], Tensor],
    config: FitConfig,
    checkpoint_every: int,
    state_file: Path,
) -> nn.Module:
    """Train a network; a killed run that is started again ends in the same weights.

    Args:
        name: for the progress bar.
        model: trained in place.
        loss_of: the loss of a step, a scalar; its random draws depend on the step's number alone.
        config: steps and learning rates.
        checkpoint_every: steps between checkpoints.
        state_file: of the checkpoints.

    Returns:
        The exponential moving average of the model.
    """
    ema = copy.deepcopy(model).requires_grad_(False)
    matrices = [weight for weight in model.parameters() if weight.ndim > 1]
    others = [weight for weight in model.parameters() if weight.ndim <= 1]
    optimizers: dict[str, torch.optim.Optimizer] = {
        "muon": Muon(matrices, lr=config.muon_lr),
        "adamw": torch.optim.AdamW(others, lr=config.adam_lr, weight_decay=0.0, betas=(0.9, 0.99)),
    }
    rates = {"muon": config.muon_lr, "adamw": config.adam_lr}
    start = 0
    saved = load_state(state_file)
    if saved is not None:
        model.load_state_dict(saved["model"])
        ema.load_state_dict(saved["ema"])
        for key, optimizer in optimizers.items():
            optimizer.load_state_dict(saved[key])
        start = int(saved["step"])
    with _without_denormals(), Progress(name, config.steps, start) as progress:
        for step in range(start, config.steps):
            loss = loss_of(step)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for key, optimizer in optimizers.items():
                for group in optimizer.param_groups:
                    group["lr"] = rates[key] * _learning_rate(step, config)
                optimizer.step()
                optimizer.zero_grad()
            _update_ema(ema, model, step)
            progress.step(loss=float(loss.detach()))
            if (step + 1) % checkpoint_every == 0 or step + 1 == config.steps:
                state: dict[str, Any] = {"model": model.state_dict(), "ema": ema.state_dict(), "step": step + 1}
                save_state(state | {key: one.state_dict() for key, one in optimizers.items()}, state_file)
    return ema
