"""Watching for reward hacking: held-out prompts, judged by more than the reward that is being raised.

A policy that learns the reward model's mistakes raises its reward while other judges of the same pictures stop
agreeing (Gao, Schulman, Hilton 2023). The referee, a second reward model fitted to ratings of other prompts, decides
which weights are kept and when to stop; the other judges are only recorded.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from skimage.color import rgb2gray, rgb2hsv
from torch import Tensor

from prefpaint import distributed
from prefpaint.alignment.objectives import gaussian_kl
from prefpaint.alignment.policy import Policy
from prefpaint.alignment.rewards import weighted_sum
from prefpaint.alignment.scorers import Prompts
from prefpaint.alignment.watch_config import LEAST_CHANGE, WatchConfig
from prefpaint.config import derive_seed
from prefpaint.errors import PrefPaintError, within_memory
from prefpaint.images import in_order
from prefpaint.inpainting.chain import per_image, step_mean
from prefpaint.inpainting.sampling import Inpainter, Trajectory

Judge = Callable[[np.ndarray, np.ndarray, Sequence[str]], np.ndarray]
REFEREE = "referee"
LOOKS = ("brightness", "saturation", "sharpness")


@dataclass(frozen=True)
class _Alike:
    """Prompts of one shape, n of them.

    Attributes:
        places: (n,) int64, among this process's prompts.
        images, masks: (n, H, W, 3) and (n, H, W) uint8.
        seeds, texts: of their noise, and words.
    """

    places: np.ndarray
    images: np.ndarray
    masks: np.ndarray
    seeds: list[int]
    texts: list[str]


class Watch:
    """Looks at the averaged policy on held-out prompts, from the same noise every time.

    Args:
        inpainter: samples; its chain is that of alignment.
        prompts: held-out ones; the first `config.prompts` of them are looked at.
        judges: by name, each giving (N,) values of uint8 images (N, H, W, 3), masks (N, H, W) and N words. One is
            `referee`.
        config: how often, how many.
        seed: of the noise.
        weights: of those judges whose weighted sum is `reward`; empty where `reward` is a judge itself.

    Raises:
        PrefPaintError: there are no held-out prompts, or fewer than processes.
    """

    def __init__(
        self,
        inpainter: Inpainter,
        prompts: Prompts,
        judges: Mapping[str, Judge],
        config: WatchConfig,
        seed: int,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        self.inpainter, self.judges, self.config = inpainter, dict(judges), config
        self.weights = dict(weights or {})
        self.ids = list(prompts.ids[: config.prompts])
        if len(self.ids) < max(2, distributed.processes()):
            raise PrefPaintError(
                f"align: {len(self.ids)} validation prompt(s) are too few to watch alignment on; raise "
                "masks.prompts.validation"
            )
        mine = distributed.share(range(len(self.ids)))
        own = [self.ids[number] for number in mine]
        seeds = [derive_seed("watch", seed, name) for name in own]
        texts = prompts.texts_of(own)
        self.groups = [
            _Alike(
                places,
                prompts.images.stack(own[place] for place in places),
                prompts.masks.stack(own[place] for place in places),
                [seeds[place] for place in places],
                [texts[place] for place in places],
            )
            for places in prompts.images.batches(own, len(own))
        ]
        self.of_base: dict[str, np.ndarray] | None = None

    def identity(self) -> dict[str, Any]:
        """The prompts looked at."""
        return {"watched": self.ids}

    def look(self, policy: Policy) -> dict[str, float]:
        """Judge one fill of every held-out prompt.

        Raises:
            PrefPaintError: memory is too small, or a judge has a number for fewer than two fills.

        Returns:
            For every judge NAME its mean, NAME_gain, the mean difference from the base's fills of the same noise, and
            NAME_gain_error, the standard error of that over prompts; brightness, saturation and sharpness, mean
            differences of `appearance_of_holes`; and, where the chain has random steps, kl to the base, the mean over
            steps and images of the chains that were sampled. The same on every process.
        """
        with within_memory(f"lower sampling.batch (now {self.inpainter.config.batch})"):
            return self._look(policy)

    def _look(self, policy: Policy) -> dict[str, float]:
        if self.of_base is None:
            with policy.reference() as network:
                self.of_base = self._measure(self._paint(network))
        with policy.holding(policy.averages) as network:
            painted = self._paint(network)
            chain = [one for of_group in painted for one in of_group]
            own_means = self._means(network, chain)
        kl: dict[str, float] = {}
        # A chain without random steps has no density.
        if chain[0].schedule.stochastic:
            with policy.reference() as network:
                divergence = gather_rows(self._divergence(chain, own_means, self._means(network, chain)))
            kl["kl"] = float(divergence.mean())
        found, base = self._measure(painted), self.of_base
        row = {}
        for name in [*self.judges, *(["reward"] if self.weights else [])]:
            # A judge may have nothing to say of a fill.
            said = np.isfinite(found[name]) & np.isfinite(base[name])
            if said.sum() < 2:
                raise PrefPaintError(
                    f"align: {name} gave finite numbers for the fills of {said.sum()} validation prompt(s), and the "
                    "watch needs two; correct that reward"
                )
            gain = (found[name] - base[name])[said]
            row[name] = float(found[name][said].mean())
            row[f"{name}_gain"] = float(gain.mean())
            row[f"{name}_gain_error"] = float(gain.std(ddof=1) / len(gain) ** 0.5)
        return row | {name: float((found[name] - base[name]).mean()) for name in LOOKS} | kl

    def _paint(self, network: Any) -> list[list[Trajectory]]:
        """The chains of each group."""
        size = self.inpainter.config.batch
        return [
            [
                self.inpainter.rollout(
                    group.images[rows], group.masks[rows], group.seeds[rows], network, texts=group.texts[rows]
                )
                for rows in (slice(start, start + size) for start in range(0, len(group.seeds), size))
            ]
            for group in self.groups
        ]

    def _measure(self, chains: Sequence[Sequence[Trajectory]]) -> dict[str, np.ndarray]:
        """Everything that is measured about the fills, from all processes."""
        parts = [self._judge(group, of_group) for group, of_group in zip(self.groups, chains, strict=True)]
        places = [group.places for group in self.groups]
        found = {name: in_order(places, [part[name] for part in parts]) for name in parts[0]}
        if self.weights:
            found["reward"] = weighted_sum(found, self.weights)
        return {name: gather_rows(values) for name, values in found.items()}

    def _judge(self, group: _Alike, chains: Sequence[Trajectory]) -> dict[str, np.ndarray]:
        images = np.concatenate([chain.images for chain in chains])
        found = {
            name: np.asarray(judge(images, group.masks, group.texts), np.float64) for name, judge in self.judges.items()
        }
        return found | appearance_of_holes(images, group.masks)

    @torch.no_grad()
    def _means(self, network: Any, chains: Sequence[Trajectory]) -> list[list[Tensor]]:
        """Means of the random steps of chains, as a network has them."""
        painter = self.inpainter
        return [
            [
                step_mean(
                    chain.schedule,
                    index,
                    chain.latents[index],
                    painter.predict(network, chain.latents[index], chain.schedule.levels[index], chain.condition),
                )
                for index in chain.schedule.stochastic
            ]
            for chain in chains
        ]

    def _divergence(
        self, chains: Sequence[Trajectory], own: Sequence[Sequence[Tensor]], base: Sequence[Sequence[Tensor]]
    ) -> np.ndarray:
        """KL to the base over the hole, mean over steps; (n,)."""
        found = []
        for chain, means, others in zip(chains, own, base, strict=True):
            schedule = chain.schedule
            steps = [
                gaussian_kl(mean, other, per_image(schedule.sigma[index], mean), chain.condition.mask)
                for index, mean, other in zip(schedule.stochastic, means, others, strict=True)
            ]
            found.append(torch.stack(steps).mean(0))
        return torch.cat(found).double().cpu().numpy()


def gather_rows(values: np.ndarray) -> np.ndarray:
    """Values of all processes one after another; (n,) in, (N,) out."""
    return np.concatenate(distributed.gather(values))


def appearance_of_holes(images: np.ndarray, masks: np.ndarray) -> dict[str, np.ndarray]:
    """Three things that a hacked reward tends to push: how bright, how colourful, how sharp the fills are.

    Args:
        images: (N, H, W, 3) uint8.
        masks: (N, H, W), 1 in the hole.

    Returns:
        Each (N,), means over the hole: brightness, the luma in [0, 1] (Rec. 709); saturation, of HSV in [0, 1];
        sharpness, the mean absolute difference of the luma of neighbouring pixels that both lie in the hole.
    """
    found: dict[str, list[float]] = {name: [] for name in LOOKS}
    for image, mask in zip(images, masks, strict=True):
        hole = mask > 0
        luma = rgb2gray(image)
        found["brightness"].append(float(luma[hole].mean()))
        found["saturation"].append(float(rgb2hsv(image)[..., 1][hole].mean()))
        steps = [np.abs(np.diff(luma, axis=axis)) for axis in (0, 1)]
        inside = [hole[1:] & hole[:-1], hole[:, 1:] & hole[:, :-1]]
        values = np.concatenate([step[both] for step, both in zip(steps, inside, strict=True)])
        found["sharpness"].append(float(values.mean()) if len(values) else 0.0)
    return {name: np.array(values) for name, values in found.items()}


def best(looks: Sequence[Mapping[str, float]]) -> int:
    """Number of the look that the referee likes most: the last of those within `LEAST_CHANGE` of the greatest."""
    liked = np.array([look[REFEREE] for look in looks])
    return int(np.flatnonzero(liked >= liked.max() - LEAST_CHANGE)[-1])


def undecided(looks: Sequence[Mapping[str, float]]) -> bool:
    """Whether the referee cannot tell any look's fills from the base's."""
    return all(abs(look[f"{REFEREE}_gain"]) < LEAST_CHANGE for look in looks)


def stop(looks: Sequence[Mapping[str, float]], config: WatchConfig) -> bool:
    """Whether `config.patience` looks have gone by since the best."""
    return config.patience is not None and bool(looks) and len(looks) - 1 - best(looks) >= config.patience


def hacked(looks: Sequence[Mapping[str, float]], judge: str = REFEREE) -> bool:
    """Whether the reward was raised against another judge.

    True when, from that judge's best look to the last, the mean reward rose while the judge's gain fell by more than
    twice the standard error of the last look's gain; or when at the end the reward's gain exceeds twice its standard
    error and the judge's lies below minus twice its own. Changes below `LEAST_CHANGE` never count.
    """
    top, last = looks[int(np.argmax([look[judge] for look in looks]))], looks[-1]
    enough = max(2 * last[f"{judge}_gain_error"], LEAST_CHANGE)
    fell = last[f"{judge}_gain"] < top[f"{judge}_gain"] - enough
    up = last["reward_gain"] > 2 * last["reward_gain_error"]
    down = last[f"{judge}_gain"] < -enough
    return (fell and last["reward"] > top["reward"]) or (up and down)
