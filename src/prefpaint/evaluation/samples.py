"""The samples a comparison needs: which, with which seed, how they are made and how they are judged."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Protocol

import numpy as np
import pandas as pd

from prefpaint.config import derive_seed, fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.evaluation.config import EvaluateConfig
from prefpaint.images import ImageFolder, ImageWork
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.preferences.appearance import Appearance, appearance
from prefpaint.preferences.simulated import noiseless_score
from prefpaint.preferences.taste import Taste
from prefpaint.progress import Progress

METHODS = ("base", "aligned")
NOISE_SETS = ("A", "B")
PROMPTS_AT_A_TIME = 8
# Rounding to whole grey levels alone leaves this mean squared error; it keeps the PSNR finite.
LEAST_SQUARED_ERROR = 1 / 12
FLAWS = tuple(field.name for field in fields(Appearance))


class Scorer(Protocol):
    """Whatever rewards fills; `reward.model.RewardModel` does."""

    def score(self, images: np.ndarray, masks: np.ndarray, batch: int = 64) -> tuple[np.ndarray, np.ndarray]: ...


class Widths(Protocol):
    """Whatever turns embeddings into trust widths; `reward.trust.Trust` does."""

    def widths(self, z: np.ndarray) -> np.ndarray: ...


def plan_samples(prompts: pd.DataFrame, config: EvaluateConfig) -> pd.DataFrame:
    """One row per image to be made.

    Base and aligned get the same seeds within a noise set, so equal noise is a comparison inside a set and
    independent noise one across the two.

    Args:
        prompts: columns prompt_id, split, pattern.
        config: splits, samples, seed.

    Returns:
        Columns image_id, prompt_id, split, pattern, method, noise_set, sample, seed; by method first.

    Raises:
        PrefPaintError: a split has no prompts.
    """
    for split in config.splits:
        if not (prompts["split"] == split).any():
            raise PrefPaintError(
                f"prompts: none in split {split}; run `kedro run --pipeline=masks` with masks.prompts set"
            )
    chosen = prompts[prompts["split"].isin(config.splits)].sort_values("prompt_id")
    rows = [
        {
            "image_id": f"{method}_{noise_set}_{prompt.prompt_id}_{sample}",
            "prompt_id": prompt.prompt_id,
            "split": prompt.split,
            "pattern": prompt.pattern,
            "method": method,
            "noise_set": noise_set,
            "sample": sample,
            "seed": derive_seed("evaluate", config.seed, prompt.prompt_id, noise_set, sample),
        }
        for method in METHODS
        for prompt in chosen.itertuples()
        for noise_set in NOISE_SETS
        for sample in range(config.samples)
    ]
    return pd.DataFrame(rows)


def evaluation_work(
    pipes: Mapping[str, Any],
    prompts: pd.DataFrame,
    images: ImageFolder,
    masks: ImageFolder,
    sampling: SamplingConfig,
    config: EvaluateConfig,
    device: str = "auto",
) -> ImageWork:
    """The images to be compared.

    Args:
        pipes: a `StableDiffusionInpaintPipeline` per method, base and aligned.
        prompts: the manifest; its checksums tell whether earlier images still fit.
        images, masks: of the prompts.
        sampling: the denoising chain.
        config: which and how many.
        device: torch device.
    """
    from prefpaint.inpainting.checkpoint import weights_digest
    from prefpaint.inpainting.sampling import Inpainter

    plan = plan_samples(prompts, config).set_index("image_id")
    used = prompts[prompts["prompt_id"].isin(plan["prompt_id"])].sort_values("prompt_id")
    stamp = fingerprint(
        {method: [weights_digest(pipes[method]), dict(pipes[method].scheduler.config)] for method in METHODS},
        # They change memory and speed only, so a run killed for memory may go on with a smaller batch.
        sampling.model_dump(mode="json", exclude={"batch", "processes"}),
        plan["seed"].to_dict(),
        used[["prompt_id", "image_sha256", "mask_sha256"]].to_dict("records"),
    )

    def produce(missing: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        todo = plan.loc[list(missing)]
        with Progress("evaluate: paint", len(plan), len(plan) - len(todo)) as progress:
            for method in METHODS:
                rows = todo[todo["method"] == method]
                if rows.empty:
                    continue
                inpainter = Inpainter(pipes[method], sampling, device)
                for start in range(0, len(rows), sampling.batch):
                    part = rows.iloc[start : start + sampling.batch]
                    painted = inpainter.sample(
                        images.stack(part["prompt_id"]), masks.stack(part["prompt_id"]), part["seed"].tolist()
                    )
                    yield from zip(part.index, painted, strict=True)
                    progress.step(len(part))

    return ImageWork(stamp, list(plan.index), produce, sampling.processes)


def hole_psnr(images: np.ndarray, originals: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio over the hole, dB.

    Args:
        images: (N, H, W, 3) uint8.
        originals: (H, W, 3) uint8.
        mask: (H, W), 1 in the hole.

    Returns:
        (N,) float64.
    """
    inside = mask > 0
    error = np.square(images[:, inside].astype(np.float64) - originals[inside]).mean((1, 2))
    return 10 * np.log10(255**2 / np.maximum(error, LEAST_SQUARED_ERROR))


def hole_spread(images: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """How far each sample lies from the mean of its siblings in the hole: root mean square, grey levels.

    Args:
        images: (n, H, W, 3) uint8, samples of one prompt.
        mask: (H, W), 1 in the hole.

    Returns:
        (n,) float64; NaN for a single sample.
    """
    if len(images) < 2:
        return np.full(len(images), np.nan)
    values = images[:, mask > 0].astype(np.float64)
    others = (values.sum(0) - values) / (len(values) - 1)
    return np.sqrt(np.square(values - others).mean((1, 2)))


def judge_samples(
    plan: pd.DataFrame,
    samples: ImageFolder,
    images: ImageFolder,
    masks: ImageFolder,
    reward: Scorer,
    trust: Widths,
    taste: Taste | None,
) -> pd.DataFrame:
    """Everything that is measured on each planned image.

    Args:
        plan: of `plan_samples`.
        samples: the images made, by image id.
        images, masks: prompts by prompt id.
        reward, trust: what alignment used.
        taste: of the simulated raters; None when people rated.

    Returns:
        The plan plus float64 columns reward, width, noiseless (0-7), the flaws of
        `preferences.appearance.Appearance`, hole_psnr (dB, against the original; NaN for warps, which have
        none) and hole_spread (grey levels). noiseless and flaws are NaN without simulated raters.
    """
    measured = plan.assign(
        **dict.fromkeys(["reward", "width", "noiseless", *FLAWS, "hole_psnr", "hole_spread"], float("nan"))
    )
    prompt_ids = list(plan["prompt_id"].unique())
    with Progress("evaluate: judge", len(prompt_ids)) as progress:
        for start in range(0, len(prompt_ids), PROMPTS_AT_A_TIME):
            part = plan[plan["prompt_id"].isin(prompt_ids[start : start + PROMPTS_AT_A_TIME])]
            fills, holes = samples.stack(part["image_id"]), masks.stack(part["prompt_id"])
            rewards, embeddings = reward.score(fills, holes)
            measured.loc[part.index, "reward"] = rewards.astype(np.float64)
            measured.loc[part.index, "width"] = trust.widths(embeddings)
            if taste is not None:
                measured.loc[part.index, "noiseless"] = noiseless_score(fills, holes, taste)
                seen = appearance(fills, holes)
                for name in FLAWS:
                    measured.loc[part.index, name] = getattr(seen, name).numpy().astype(np.float64)
            position = pd.Series(range(len(part)), index=part.index)
            for _, group in part.groupby(["prompt_id", "method", "noise_set"], sort=False):
                rows = position[group.index].to_numpy()
                hole = holes[rows[0]]
                measured.loc[group.index, "hole_spread"] = hole_spread(fills[rows], hole)
                if group["pattern"].iloc[0] != "warp":
                    original = images[group["prompt_id"].iloc[0]]
                    measured.loc[group.index, "hole_psnr"] = hole_psnr(fills[rows], original, hole)
            progress.step(part["prompt_id"].nunique())
    return measured
