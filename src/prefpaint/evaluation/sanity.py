"""Is the simulated taste sane? How often the raters order pairs of pictures as any person would."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from prefpaint.config import derive_seed
from prefpaint.fills import spoiled
from prefpaint.images import ImageFolder
from prefpaint.inpainting.classical import classical_fill
from prefpaint.preferences.simulated import NoiselessRater
from prefpaint.stats.bootstrap import bootstrap_mean, share_won

DIGITS = 6
COLUMNS = ("holes", "better", "worse", "goal", "prompts", "share", "low", "high", "key")
# Every fill of an original and a mask, by name; "base" is painted by the caller.
Maker = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
FILLS: dict[str, Maker] = {
    "telea": lambda image, mask, rng: classical_fill("telea", image, mask),
    "navier_stokes": lambda image, mask, rng: classical_fill("navier_stokes", image, mask),
    "biharmonic": lambda image, mask, rng: classical_fill("biharmonic", image, mask),
    "mirrored": lambda image, mask, rng: spoiled.mirrored(image, mask),
    "shuffled": spoiled.shuffled,
    "one_colour": lambda image, mask, rng: spoiled.one_colour(image, mask),
    "noise": spoiled.noise,
    "blurred": lambda image, mask, rng: spoiled.blurred(image, mask, 2.0),
    "darkened": lambda image, mask, rng: spoiled.scaled(image, mask, 0.8),
    "hue_turned": lambda image, mask, rng: spoiled.hue_turned(image, mask, 20.0),
    "shifted": lambda image, mask, rng: spoiled.shifted(image, mask, *_six_pixels(rng)),
}
# (better, worse): the least share of prompts in which a sane taste orders them so.
PAIRS: dict[tuple[str, str], float] = {
    ("original", "telea"): 0.97,
    ("original", "navier_stokes"): 0.97,
    ("original", "biharmonic"): 0.97,
    ("original", "mirrored"): 0.95,
    ("original", "shuffled"): 0.95,
    ("original", "one_colour"): 0.95,
    ("original", "noise"): 0.95,
    ("original", "base"): 0.90,
    ("mirrored", "telea"): 0.75,
    ("original", "blurred"): 0.90,
    ("original", "darkened"): 0.90,
    ("original", "hue_turned"): 0.90,
    ("original", "shifted"): 0.80,
}


def _six_pixels(rng: np.random.Generator) -> tuple[int, int]:
    """A shift by 6 px up, down, left or right."""
    return ((6, 0), (-6, 0), (0, 6), (0, -6))[rng.integers(4)]


@dataclass(frozen=True)
class Trial:
    """Originals with holes, and the base's fills of them.

    Attributes:
        names: N prompts.
        originals: (N, H, W, 3) uint8.
        masks: (N, H, W) uint8, 1 in the hole.
        base: (N, H, W, 3) uint8, painted by the base.
    """

    names: list[str]
    originals: np.ndarray
    masks: np.ndarray
    base: np.ndarray


def trials(
    prompts: pd.DataFrame, images: ImageFolder, masks: ImageFolder, paint: Callable[..., np.ndarray], seed: int
) -> dict[str, Trial]:
    """What raters are tried on: prompts kept for evaluation, whose photographs no judge was fitted to.

    The prompts of a changed view have no original in their holes, so their holes are laid over the pictures of
    outpainting prompts.

    Args:
        prompts: prompt_id, split, pattern.
        images, masks: of the prompts.
        paint: (images, masks, seeds) → fills, by the base.
        seed: of the base's noise.

    Returns:
        "outpainting" and "warp", as far as such prompts exist; of prompts of the most frequent shape.
    """
    kept = prompts[prompts["split"].isin(["seen", "unseen"])].sort_values("prompt_id")
    # Holes are laid over other pictures, which must have their shape.
    shapes = images.shapes(kept["prompt_id"].tolist())
    frequent = Counter(shapes).most_common(1)[0][0] if shapes else None
    kept = kept.loc[[shape == frequent for shape in shapes]]
    whole = kept.loc[kept["pattern"] != "warp", "prompt_id"].tolist()
    warped = kept.loc[kept["pattern"] == "warp", "prompt_id"].tolist()
    result = {}
    for holes, names in (("outpainting", whole), ("warp", warped[: len(whole)])):
        if not names:
            continue
        originals, shown = images.stack(whole[: len(names)]), masks.stack(names)
        seeds = [derive_seed("sanity", seed, holes, name) for name in names]
        result[holes] = Trial(names, originals, shown, paint(originals, shown, seeds))
    return result


def sanity_table(rater: NoiselessRater | None, tried: Mapping[str, Trial], resamples: int, seed: int) -> pd.DataFrame:
    """How often the raters order pairs as any person would.

    Args:
        rater: the simulated raters without their noise; None where people rated; nothing is tried then.
        tried: by kind of hole.
        resamples: bootstrap draws.
        seed: of the bootstrap and of the random fills.

    Returns:
        holes, better, worse, goal (least share), prompts, share with its 95 % interval low, high, and key, its name
        among the metrics; one row per pair and kind of hole. A tie counts half.
    """
    rows: list[dict[str, Any]] = []
    if rater is None:
        return pd.DataFrame(rows, columns=list(COLUMNS))
    for holes, trial in tried.items():
        scores = {"original": rater.score(trial.originals, trial.masks), "base": rater.score(trial.base, trial.masks)}
        for name, make in FILLS.items():
            rngs = [np.random.default_rng(derive_seed("sanity", seed, name, prompt)) for prompt in trial.names]
            fills = [make(*one) for one in zip(trial.originals, trial.masks, rngs, strict=True)]
            scores[name] = rater.score(np.stack(fills), trial.masks)
        for (better, worse), goal in PAIRS.items():
            ordered = share_won(scores[better][:, None], scores[worse][:, None])
            estimate = bootstrap_mean(ordered, resamples, derive_seed("bootstrap", seed))
            rows.append(
                {
                    "holes": holes,
                    "better": better,
                    "worse": worse,
                    "goal": goal,
                    "prompts": estimate.prompts,
                    "share": estimate.value,
                    "low": estimate.low,
                    "high": estimate.high,
                    "key": f"sanity_{holes}_{better}_over_{worse}",
                }
            )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def sanity_metrics(table: pd.DataFrame) -> dict[str, float | int]:
    """The table as flat metrics, e.g. sanity_warp_original_over_telea, ..._low, ..._high, and how many miss a goal."""
    metrics: dict[str, float | int] = {"sanity_missed": int((table["share"] < table["goal"]).sum())}
    for row in table.itertuples():
        values = {"": row.share, "_low": row.low, "_high": row.high}
        metrics |= {f"{row.key}{end}": round(float(value), DIGITS) for end, value in values.items()}
    return metrics
