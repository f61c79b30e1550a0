"""A denoising chain: its noise levels, one step of it, and the step's log-probability.

One chain serves networks of every kind, for they differ only in how much of a picture is left at a level and in what
the network says there: x_t = signal x₀ + spread ε, with signal² + spread² = 1 on a variance-preserving schedule (Song
et al. 2021, equations 12 and 16; DDPO, equation 4) and signal + spread = 1 on a straight flow (Lipman et al. 2023).
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prefpaint.errors import PrefPaintError


@dataclass(frozen=True)
class Levels:
    """Noise levels, one or many: x_t = signal x₀ + spread ε.

    Attributes:
        time: what the network is told, in its own units.
        signal, spread: float64, in [0, 1].
    """

    time: Tensor
    signal: Tensor
    spread: Tensor

    def __getitem__(self, index: int | Tensor) -> "Levels":
        return Levels(self.time[index], self.signal[index], self.spread[index])

    def __len__(self) -> int:
        return len(self.time)

    def to(self, device: torch.device) -> "Levels":
        """The same numbers on a device."""
        return Levels(self.time.to(device), self.signal.to(device), self.spread.to(device))

    def repeat(self, times: int) -> "Levels":
        """The same levels several times, one after another."""
        return Levels(self.time.repeat(times), self.signal.repeat(times), self.spread.repeat(times))


@dataclass(frozen=True)
class Schedule:
    """The numbers of a chain of T steps.

    Attributes:
        levels: (T,), where each step begins, from noise to picture.
        next_signal: (T,) float64, what x̂₀ is multiplied by where it ends.
        direction: (T,) float64, what ε̂ is multiplied by there.
        sigma: (T,) float64, standard deviation of each step; 0 where the step is deterministic.
        prediction: what the network predicts: `epsilon`, `v_prediction`, `sample`, or `flow`, which is ε − x₀.
        trained: (M,), every level that the network was trained at.
        stochastic: the steps that have a density, those with σ > 0.
    """

    levels: Levels
    next_signal: Tensor
    direction: Tensor
    sigma: Tensor
    prediction: str
    trained: Levels
    stochastic: tuple[int, ...]

    def to(self, device: torch.device) -> "Schedule":
        """The same numbers on a device."""
        return replace(
            self,
            levels=self.levels.to(device),
            next_signal=self.next_signal.to(device),
            direction=self.direction.to(device),
            sigma=self.sigma.to(device),
            trained=self.trained.to(device),
        )


def _schedule(
    levels: Levels, next_signal: Tensor, next_spread: Tensor, eta: float, prediction: str, trained: Levels
) -> Schedule:
    """A chain through levels with η times the noise of the forward process run backwards.

    Step variance η² · s'² (1 − (a s' / a' s)²) for signal a, spread s and those of the next level a', s'; on a
    variance-preserving schedule this is DDIM's (equation 16), on a flow its like with the same marginals.
    """
    signal, spread = levels.signal, levels.spread
    kept = (signal * next_spread / (next_signal * spread)).square()
    sigma = eta * (next_spread.square() * (1 - kept)).clamp(min=0).sqrt()
    direction = (next_spread.square() - sigma.square()).clamp(min=0).sqrt()
    stochastic = tuple(index for index, value in enumerate(sigma.tolist()) if value > 0)
    return Schedule(levels, next_signal, direction, sigma, prediction, trained, stochastic)


# diffusers' names of the formulas by which DDIM makes betas; other schedulers have more.
DDIM_BETAS = ("linear", "scaled_linear", "squaredcos_cap_v2")


def _ddim(scheduler: Any, steps: int) -> tuple[Any, Tensor]:
    """DDIM over the betas of any diffusers scheduler that has betas, and where its steps begin, (steps,) int64.

    Where a solver's own steps lie (Karras' spacing, midpoints, repeated steps) is the solver's, not the network's, and
    is left out.
    """
    from diffusers import DDIMScheduler

    config = scheduler.config
    made = config.trained_betas is None and config.beta_schedule in DDIM_BETAS
    betas = {} if made else {"trained_betas": scheduler.betas.tolist()}
    # Stable Diffusion's pipelines set an offset that its file leaves out; `from_config` would take it for a default.
    ddim = DDIMScheduler.from_config(config, steps_offset=config.get("steps_offset", 0), **betas)
    if steps > len(ddim.alphas_cumprod):
        raise PrefPaintError(
            f"steps: a chain of {steps} is longer than the {len(ddim.alphas_cumprod)} levels that the checkpoint was "
            "trained at; lower sampling.steps or align.steps"
        )
    ddim.set_timesteps(steps)
    # Trailing spacing sums floating-point steps, and for some numbers of steps has one too many, at time -1.
    times = ddim.timesteps.cpu().long()[:steps]
    # An offset would put the first of very many steps beyond what was trained.
    return ddim, times - (times.max() - len(ddim.alphas_cumprod) + 1).clamp(min=0)


def ddim_schedule(scheduler: Any, steps: int, eta: float) -> Schedule:
    """The DDIM chain of `steps` steps over a diffusers scheduler's noise schedule.

    Each step ends where the next begins, and the last at the schedule's clean end, `final_alpha_cumprod` of DDIM.

    Args:
        scheduler: any diffusers scheduler with betas; these, its prediction, spacing and offset are read as DDIM's, as
            `DDIMScheduler.from_config` does, and it is left untouched.
        steps: length of the chain.
        eta: 0 deterministic, 1 the variance of DDPM.

    Raises:
        PrefPaintError: there are more steps than trained levels.
    """
    ddim, times = _ddim(scheduler, steps)
    table = ddim.alphas_cumprod.double().cpu()
    trained = Levels(torch.arange(len(table)), table.sqrt(), (1 - table).sqrt())
    ahead = torch.cat([table[times[1:]], torch.as_tensor(ddim.final_alpha_cumprod).double().reshape(1)])
    return _schedule(trained[times], ahead.sqrt(), (1 - ahead).sqrt(), eta, str(ddim.config.prediction_type), trained)


def ddim_steps_the_same(scheduler: Any, steps: int) -> bool:
    """Whether `DDIMScheduler.from_config(scheduler.config)` goes through the chain of `ddim_schedule`.

    DDIM takes a step to be T // steps long, which is not where the next begins where T is not a multiple of the steps,
    or with linear spacing; and it can clip what is painted.
    """
    ddim, times = _ddim(scheduler, steps)
    config, length = ddim.config, len(ddim.alphas_cumprod) // steps
    its_own = ddim.timesteps.tolist() == times.tolist() and scheduler.config.get("beta_schedule") in DDIM_BETAS
    chained = bool((times[:-1] - times[1:] == length).all()) and int(times[-1]) < length
    return its_own and chained and not config.clip_sample and not config.thresholding


def flow_schedule(scheduler: Any, steps: int, eta: float, tokens: int, unit: float, from_one: bool) -> Schedule:
    """The chain of `steps` steps along a straight flow, at a diffusers flow-matching scheduler's noise levels.

    Args:
        scheduler: a `FlowMatchEulerDiscreteScheduler`, or another class with its levels; it is left untouched.
        steps: length of the chain.
        eta: 0 for Euler's steps, which are deterministic; above 0 noise is taken away and added again.
        tokens: of a picture, by which schedulers with dynamic shifting shift their levels.
        unit: what the network calls pure noise, 1 or 1000.
        from_one: levels from 1 to 1 / steps before shifting, as FLUX's pipelines choose them; else the scheduler's.
    """
    from diffusers import FlowMatchEulerDiscreteScheduler
    from diffusers.pipelines.flux.pipeline_flux import calculate_shift

    flow = FlowMatchEulerDiscreteScheduler.from_config(scheduler.config)
    config = flow.config
    ends = (config.base_image_seq_len, config.max_image_seq_len, config.base_shift, config.max_shift)
    shift = {"mu": calculate_shift(tokens, *ends)} if config.use_dynamic_shifting else {}

    def levels(count: int) -> Tensor:
        if from_one:
            flow.set_timesteps(sigmas=np.linspace(1.0, 1 / count, count), **shift)
        else:
            flow.set_timesteps(count, **shift)
        return flow.sigmas.double().cpu()

    def named(spread: Tensor) -> Levels:
        return Levels((unit * spread).float(), 1 - spread, spread)

    spread = levels(steps)
    trained = named(levels(config.num_train_timesteps)[:-1].flip(0))
    return _schedule(named(spread[:-1]), 1 - spread[1:], spread[1:], eta, "flow", trained)


def per_image(values: Tensor, like: Tensor) -> Tensor:
    """Numbers of a schedule, one for all images of a batch or one for each.

    Args:
        values: () or (N,).
        like: (N, C, h, w), gives type and device.

    Returns:
        (1, 1, 1, 1) or (N, 1, 1, 1).
    """
    return values.to(like.device, like.dtype).reshape(-1, 1, 1, 1)


def step_mean(schedule: Schedule, index: int | Tensor, sample: Tensor, predicted: Tensor) -> Tensor:
    """Mean of the next latents given x_t and the network's prediction; all (N, C, h, w).

    x̂₀ and ε̂ follow from the prediction; mean = a' x̂₀ + √(s'² − σ²) ε̂ (DDIM, equation 12).

    Args:
        schedule: of the chain.
        index: one step for all images, or (N,) int64, a step for each.
        sample: x_t.
        predicted: the network's output.
    """
    level = schedule.levels[index]
    clean, epsilon = denoised(
        schedule.prediction, sample, predicted, per_image(level.signal, sample), per_image(level.spread, sample)
    )
    ahead, direction = per_image(schedule.next_signal[index], sample), per_image(schedule.direction[index], sample)
    return ahead * clean + direction * epsilon


def denoised(
    prediction: str, sample: Tensor, predicted: Tensor, signal: Tensor, spread: Tensor
) -> tuple[Tensor, Tensor]:
    """x̂₀ and ε̂ that a network's output stands for, where x_t = signal x₀ + spread ε.

    Args:
        prediction: what the network predicts, see `Schedule`.
        sample: x_t, (N, C, h, w).
        predicted: the network's output, (N, C, h, w).
        signal, spread: (1, 1, 1, 1) or (N, 1, 1, 1).
    """
    if prediction == "flow":
        return sample - spread * predicted, sample + signal * predicted
    if prediction == "epsilon":
        return (sample - spread * predicted) / signal, predicted
    if prediction == "v_prediction":
        return signal * sample - spread * predicted, signal * predicted + spread * sample
    return predicted, (sample - signal * predicted) / spread


def target(prediction: str, clean: Tensor, noise: Tensor, signal: Tensor, spread: Tensor) -> Tensor:
    """What the network should predict at signal · clean + spread · noise; arguments as in `denoised`."""
    if prediction == "flow":
        return noise - clean
    if prediction == "epsilon":
        return noise
    if prediction == "v_prediction":
        return signal * noise - spread * clean
    return clean


@dataclass(frozen=True)
class Noised:
    """Clean latents on their way to noise, and what the network should say there.

    Attributes:
        latents: (N, C, h, w), x_t.
        target: (N, C, h, w), of the network's prediction, whatever that is.
        spread: (N,), the share of noise in x_t, in [0, 1].
    """

    latents: Tensor
    target: Tensor
    spread: Tensor


def noised(schedule: Schedule, clean: Tensor, noise: Tensor, level: Levels) -> Noised:
    """x_t = signal x₀ + spread ε.

    Args:
        schedule: whose prediction the target is for.
        clean, noise: (N, C, h, w).
        level: N of them.
    """
    signal, spread = per_image(level.signal, clean), per_image(level.spread, clean)
    return Noised(
        signal * clean + spread * noise, target(schedule.prediction, clean, noise, signal, spread), spread.flatten()
    )


def mean_over(values: Tensor, weight: Tensor | None) -> Tensor:
    """Mean over each image's latent elements.

    Args:
        values: (N, C, h, w).
        weight: (N, 1, h, w), non-negative; averages over weighted elements only (the hole). None: over all.

    Returns:
        (N,); 0 for an image without weight.
    """
    if weight is None:
        return values.mean(dim=(1, 2, 3))
    total = weight.sum(dim=(1, 2, 3)) * values.shape[1]
    return (values * weight).sum(dim=(1, 2, 3)) / total.clamp(min=1e-8)


def log_probability(value: Tensor, mean: Tensor, sigma: Tensor, weight: Tensor | None = None) -> Tensor:
    """Log-density of a diagonal Gaussian, averaged over latent elements.

    The mean and not the sum, as published: the sum over thousands of elements overflows exp() in the
    ratio.

    Args:
        value: (N, C, h, w).
        mean: (N, C, h, w); gradients flow through it.
        sigma: standard deviation, positive; (1, 1, 1, 1) or (N, 1, 1, 1).
        weight: see `mean_over`.

    Returns:
        (N,).
    """
    quadratic = mean_over((value.detach() - mean).square() / (2 * sigma.square()), weight)
    return -quadratic - sigma.flatten().log() - 0.5 * math.log(2 * math.pi)
