"""Preference optimisation without sampling: Diffusion-DPO on the ratings themselves.

Wallace et al. 2024, "Diffusion Model Alignment Using Direct Preference Optimization", equation 14: of two rated fills
of one prompt the policy's denoising error should fall, against the base's, more for the better one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from torch import Tensor
from torch.nn import functional as F

from prefpaint import distributed
from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.guards import norm_excess
from prefpaint.alignment.job import Job
from prefpaint.alignment.mode import Mode
from prefpaint.alignment.order import endless_alike
from prefpaint.alignment.panels import BLUE, GREY, ORANGE
from prefpaint.alignment.policy import Policy
from prefpaint.config import derive_seed, fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder
from prefpaint.inpainting.chain import Levels, Schedule, mean_over, noised
from prefpaint.inpainting.families.family import Condition
from prefpaint.inpainting.sampling import Inpainter
from prefpaint.masks.words import text_prompts
from prefpaint.reward.training import RatedImages
from prefpaint.stats.agreement import pairs_within


@dataclass(frozen=True)
class PreferenceLoss:
    """The result of one evaluation; each (N,).

    Attributes:
        loss: to be minimised in the mean.
        margin: log odds that the policy's implied reward orders the pair as the raters did, detached.
    """

    loss: Tensor
    margin: Tensor


def diffusion_dpo_loss(
    better: Tensor, worse: Tensor, base_better: Tensor, base_worse: Tensor, beta: float, weight: Tensor
) -> PreferenceLoss:
    """−w log σ(−β/2 · [(e_b − e₀_b) − (e_w − e₀_w)]), equation 14 with a constant weight of timesteps.

    Args:
        better, worse: (N,) mean squared denoising errors of the policy on both fills of a pair, at the same timestep
            and from the same noise; gradients flow through them.
        base_better, base_worse: (N,) those of the base.
        beta: β T ω of the paper; the factor ½ comes from its code.
        weight: (N,) of the pairs.
    """
    margin = -beta / 2 * ((better - base_better) - (worse - base_worse))
    return PreferenceLoss(-weight * F.logsigmoid(margin), margin.detach())


@dataclass(frozen=True)
class _Pairs:
    """Some pairs as the network sees them, (n, …); both fills of a pair have the same condition, noise and level."""

    condition: Condition
    better: Tensor
    worse: Tensor
    noise: Tensor
    schedule: Schedule
    level: Levels
    weight: Tensor


class RatedPairs:
    """Diffusion-DPO on pairs of rated fills of one prompt.

    Args:
        inpainter: encodes pictures and predicts; guidance is not used, as a denoising error comes from one pass.
        prompts: images by prompt id.
        rated: fills with scores.
        config: how to train.
        gammas: (N,) trust weights of the rated fills; None for 1.
        texts: words by prompt id.

    Raises:
        PrefPaintError: no prompt has two fills with different scores.
    """

    keeps_old = False

    def __init__(
        self,
        inpainter: Inpainter,
        prompts: ImageFolder,
        rated: RatedImages,
        config: AlignConfig,
        gammas: np.ndarray | None = None,
        texts: Mapping[str, str] | None = None,
    ) -> None:
        self.texts = dict(texts or {})
        self.inpainter, self.prompts, self.rated, self.config = inpainter, prompts, rated, config
        numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(rated.prompt_ids))}
        first, second = pairs_within(np.array([numbers[prompt] for prompt in rated.prompt_ids]))
        known = rated.scores[first] != rated.scores[second]
        first, second = first[known], second[known]
        if len(first) == 0:
            raise PrefPaintError(
                "align.mode: dpo needs two candidates of one prompt with different scores, and there are none; set it "
                "to nft, or collect more ratings"
            )
        swap = rated.scores[first] < rated.scores[second]
        self.better, self.worse = np.where(swap, second, first), np.where(swap, first, second)
        weights = np.ones(len(first)) if gammas is None else np.sqrt(gammas[self.better] * gammas[self.worse])
        self.weights = weights.astype(np.float32)
        self.shapes = prompts.shapes([rated.prompt_ids[row] for row in self.better])

    def identity(self) -> dict[str, Any]:
        """The pairs and their weights."""
        ids = self.rated.candidate_ids
        pairs = [[ids[b], ids[w]] for b, w in zip(self.better, self.worse, strict=True)]
        return {"pairs": fingerprint(pairs, self.weights.tolist())}

    def iterate(self, policy: Policy, iteration: int) -> dict[str, float]:
        """One update on the next pairs."""
        chosen = self._choose(iteration)
        mine = distributed.share(range(len(chosen)))
        size = max(1, self.config.micro_batch // 2)
        found = [np.zeros((5, 0))]
        for start in range(0, len(mine), size):
            some = mine[start : start + size]
            loss, watched = self._loss(policy, self._load([int(chosen[n]) for n in some], [*some], iteration))
            (loss.sum() / len(chosen)).backward()
            policy.accumulate()
            found.append(watched.double().cpu().numpy())
        norm = policy.step()
        loss, margin, better, worse, excess = np.concatenate(distributed.gather(np.concatenate(found, 1)), 1)
        return {
            "images": 2.0 * len(chosen),
            "loss": float(loss.mean()),
            "implicit_accuracy": float((margin > 0).mean()),
            "margin": float(margin.mean()),
            "better_error_change": float(better.mean()),
            "worse_error_change": float(worse.mean()),
            "gradient_norm": norm,
            **({"norm_excess": float(excess.mean())} if self.config.norm_ceiling > 0 else {}),
        }

    def _choose(self, iteration: int) -> np.ndarray:
        """The next pairs of an endless sequence of seeded shuffles of all, pictures of one shape."""
        return endless_alike("pairs", self.config.seed, self.shapes, iteration, self.config.dpo.pairs)

    @torch.no_grad()
    def _load(self, pairs: Sequence[int], places: Sequence[int], iteration: int) -> _Pairs:
        """Pairs, noised.

        Args:
            pairs: numbers of the pairs.
            places: position of each in the iteration; its noise and level depend only on that.
            iteration: of training.
        """
        painter, rated = self.inpainter, self.rated
        better, masks = rated.load(self.better[list(pairs)])
        worse, _ = rated.load(self.worse[list(pairs)])
        names = [rated.prompt_ids[self.better[pair]] for pair in pairs]
        incomplete, texts = self.prompts.stack(names), [self.texts.get(name, "") for name in names]
        shape = painter.latent_shape(masks.shape[1], masks.shape[2])
        schedule = painter.schedule(*masks.shape[1:])
        noises, numbers = [], []
        for place in places:
            generator = torch.Generator().manual_seed(derive_seed("dpo", self.config.seed, iteration, place))
            # Of the condition, of both fills' encodings, and of the chain.
            noises.append(torch.randn(4, *shape, generator=generator))
            numbers.append(torch.randint(len(schedule.trained), (), generator=generator))
        noise = torch.stack(noises, 1).to(painter.device)
        return _Pairs(
            painter.condition(incomplete, masks, noise[0], texts),
            painter.encode(painter.pixels(better), noise[1]),
            painter.encode(painter.pixels(worse), noise[2]),
            noise[3],
            schedule,
            schedule.trained[torch.stack(numbers).to(painter.device)],
            torch.from_numpy(self.weights[list(pairs)]).to(painter.device),
        )

    def _errors(self, network: Any, pairs: _Pairs) -> tuple[Tensor, Tensor, Tensor]:
        """Mean squared denoising errors of better and worse fills, each (n,), and the predictions, (2n, C, h, w)."""
        level = pairs.level.repeat(2)
        clean = torch.cat([pairs.better, pairs.worse])
        noisy = noised(pairs.schedule, clean, pairs.noise.repeat(2, 1, 1, 1), level)
        condition = pairs.condition[torch.arange(len(pairs.level)).repeat(2)]
        predicted = self.inpainter.predict(network, noisy.latents, level, condition, guided=False)
        errors = mean_over((predicted - noisy.target).square(), condition.mask if self.config.hole_only else None)
        better, worse = errors.chunk(2)
        return better, worse, predicted

    def _loss(self, policy: Policy, pairs: _Pairs) -> tuple[Tensor, Tensor]:
        """Loss (n,), and (5, n) figures.

        These are the loss, the margin, the changes of the better and of the worse fill's error, and the mean excess of
        their predictions' sizes over the base's (0, and not computed, without a ceiling).
        """
        config = self.config
        with torch.no_grad(), policy.reference() as network:
            base_better, base_worse, base = self._errors(network, pairs)
        better, worse, predicted = self._errors(policy.network, pairs)
        result = diffusion_dpo_loss(better, worse, base_better, base_worse, config.dpo.beta, pairs.weight)
        loss, excess = result.loss, torch.zeros_like(result.margin)
        if config.norm_ceiling > 0:
            weight = pairs.condition.mask.repeat(2, 1, 1, 1) if config.hole_only else None
            first, second = norm_excess(predicted, base, weight).chunk(2)
            loss = loss + config.norm_ceiling * (first.square() + second.square()) / 2
            excess = (first + second).detach() / 2
        changes = (better - base_better).detach(), (worse - base_worse).detach()
        return loss, torch.stack([loss.detach(), result.margin, *changes, excess])


def _method(job: Job, inpainter: Inpainter) -> RatedPairs:
    rated = job.rated()
    gammas = _gammas(job, rated) if job.config.trust == "weight" else None
    return RatedPairs(inpainter, job.prompt_images, rated, job.config, gammas, text_prompts(job.prompts))


def _gammas(job: Job, rated: RatedImages) -> np.ndarray:
    """Trust weights of rated fills, (N,)."""
    _, z = rated.scored(job.reward_model, job.reward.score_batch)
    return job.weigh().gamma(job.trust.widths(z))


def _panels(free: Iterator[Axes], history: pd.DataFrame, config: AlignConfig, weight: str) -> None:
    x = history["iteration"] + 1
    shown = [
        ("loss", "Loss of pairs", "loss"),
        ("implicit_accuracy", "Pairs ordered as rated", "share"),
        ("better_error_change", "Denoising error against the base's", "mean squared error"),
    ]
    for name, title, unit in shown:
        axes = next(free)
        axes.plot(x, history[name], color=GREY, linewidth=0.5)
        axes.plot(x, history[name].rolling(20, min_periods=1).mean(), color=BLUE, label="better fill, mean of 20")
        axes.set(title=title, ylabel=unit)
    # The errors come last in the list: the worse fill's go into the same panel.
    axes.plot(x, history["worse_error_change"].rolling(20, min_periods=1).mean(), color=ORANGE, label="worse fill")
    axes.legend(fontsize=7, frameon=False)


DPO = Mode(
    method=_method,
    objective="loss",
    objective_words="mean loss of the rated pairs",
    raises_reward=False,
    metrics=lambda history: {"norm_excess": float(history["norm_excess"].iloc[-1])} if "norm_excess" in history else {},
    panels=_panels,
)
