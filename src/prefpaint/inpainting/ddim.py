"""One stochastic DDIM step and its log-probability (Song et al. 2021, equations 12 and 16; DDPO, equation 4)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Schedule:
    """The numbers of a DDIM chain, taken from a diffusers scheduler.

    Attributes:
        timesteps: (T,) int64, descending.
        alpha: (T,) float64, ᾱ at each timestep.
        alpha_previous: (T,) float64, ᾱ at the timestep after it in the chain.
        sigma: (T,) float64, standard deviation of each step; 0 where the step is deterministic.
        prediction: what the network predicts, `epsilon`, `v_prediction` or `sample`.
        trained: (M,) float64, ᾱ at every timestep that the network was trained at.
    """

    timesteps: Tensor
    alpha: Tensor
    alpha_previous: Tensor
    sigma: Tensor
    prediction: str
    trained: Tensor

    def to(self, device: torch.device) -> "Schedule":
        """The same numbers on a device."""
        timesteps, alpha, alpha_previous, sigma, trained = (
            values.to(device) for values in (self.timesteps, self.alpha, self.alpha_previous, self.sigma, self.trained)
        )
        return Schedule(timesteps, alpha, alpha_previous, sigma, self.prediction, trained)

    @property
    def stochastic(self) -> list[int]:
        """Indices of the steps that have a density, those with σ > 0."""
        return [index for index, sigma in enumerate(self.sigma.tolist()) if sigma > 0]


def make_schedule(scheduler: object, steps: int, eta: float) -> Schedule:
    """The DDIM chain of `steps` steps over a diffusers scheduler's noise schedule.

    Args:
        scheduler: any diffusers scheduler; its configuration is read as DDIM's, as
            `DDIMScheduler.from_config` does, and it is left untouched.
        steps: length of the chain.
        eta: 0 deterministic, 1 the variance of DDPM.
    """
    from diffusers import DDIMScheduler

    ddim = DDIMScheduler.from_config(scheduler.config)  # type: ignore[attr-defined]
    ddim.set_timesteps(steps)
    timesteps = ddim.timesteps.cpu().long()
    previous = timesteps - ddim.config.num_train_timesteps // steps
    table = ddim.alphas_cumprod.double().cpu()
    final = float(ddim.final_alpha_cumprod)
    alpha = table[timesteps]
    alpha_previous = torch.tensor(
        [float(table[p]) if p >= 0 else final for p in previous.tolist()], dtype=torch.float64
    )
    variance = (1 - alpha_previous) / (1 - alpha) * (1 - alpha / alpha_previous)
    sigma = eta * variance.clamp(min=0).sqrt()
    return Schedule(timesteps, alpha, alpha_previous, sigma, str(ddim.config.prediction_type), table)


def per_image(values: Tensor, index: int | Tensor, like: Tensor) -> Tensor:
    """Numbers of a schedule for every image of a batch.

    Args:
        values: (T,).
        index: one step for all, or (N,) int64, a step for each image.
        like: (N, C, h, w), gives type and device.

    Returns:
        (1, 1, 1, 1) or (N, 1, 1, 1).
    """
    return values[index].to(like.device, like.dtype).reshape(-1, 1, 1, 1)


def ddim_mean(schedule: Schedule, index: int | Tensor, sample: Tensor, predicted: Tensor) -> Tensor:
    """Mean of x_{t-1} given x_t and the network's prediction; all (N, C, h, w).

    x̂₀ and ε̂ follow from the prediction type; mean = √ᾱ' x̂₀ + √(1 − ᾱ' − σ²) ε̂ (DDIM, equation 12).

    Args:
        schedule: of the chain.
        index: one step for all images, or (N,) int64, a step for each.
        sample: x_t.
        predicted: the network's output.
    """
    alpha, previous, sigma = schedule.alpha, schedule.alpha_previous, schedule.sigma

    def take(values: Tensor) -> Tensor:
        return per_image(values, index, sample)

    clean, epsilon = denoised(schedule.prediction, sample, predicted, take(alpha.sqrt()), take((1 - alpha).sqrt()))
    return take(previous.sqrt()) * clean + take((1 - previous - sigma**2).clamp(min=0).sqrt()) * epsilon


def denoised(
    prediction: str, sample: Tensor, predicted: Tensor, signal: Tensor, spread: Tensor
) -> tuple[Tensor, Tensor]:
    """x̂₀ and ε̂ that a network's output stands for, where x_t = signal x₀ + spread ε.

    Args:
        prediction: what the network predicts, `epsilon`, `v_prediction` or `sample`.
        sample: x_t, (N, C, h, w).
        predicted: the network's output, (N, C, h, w).
        signal, spread: √ᾱ and √(1 − ᾱ), (1, 1, 1, 1) or (N, 1, 1, 1).
    """
    if prediction == "epsilon":
        return (sample - spread * predicted) / signal, predicted
    if prediction == "v_prediction":
        return signal * sample - spread * predicted, signal * predicted + spread * sample
    return predicted, (sample - signal * predicted) / spread


def target(prediction: str, clean: Tensor, noise: Tensor, signal: Tensor, spread: Tensor) -> Tensor:
    """What the network should predict at signal · clean + spread · noise; arguments as in `denoised`."""
    if prediction == "epsilon":
        return noise
    if prediction == "v_prediction":
        return signal * noise - spread * clean
    return clean


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
