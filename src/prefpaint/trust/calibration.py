"""Whether widths rank the reward's errors, and whether intervals keep their promise: measured on ratings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from prefpaint.config import derive_seed
from prefpaint.trust.config import BoundConfig, GammaConfig
from prefpaint.trust.fit import WIDTHS, Embedded, Trust
from prefpaint.trust.gamma import Amplification, amplification

RESAMPLES = 1000
# Fewer validation prompts give an interval that hardly spreads, and any width would pass.
LEAST_PROMPTS = 10


@dataclass(frozen=True)
class Correlation:
    """Spearman's ρ with its 95 % interval; NaN where one side is constant."""

    value: float
    low: float
    high: float


def _weighted_ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean ranks of values, each of which is present as often as its weight says.

    Args:
        values: (N,).
        weights: (R, N) whole numbers, R samples of the values.

    Returns:
        (R, N) float64.
    """
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=np.nan) != 0)
    tied = np.add.reduceat(weights[:, order], starts, axis=1)
    ranks = np.cumsum(tied, axis=1) - (tied - 1) / 2
    sizes = np.diff(np.append(starts, len(values)))
    found = np.empty(weights.shape)
    found[:, order] = np.repeat(ranks, sizes, axis=1)
    return found


def spearman(predicted: np.ndarray, truth: np.ndarray, prompt_ids: Sequence[str], seed: int) -> Correlation:
    """Spearman's ρ and its percentile-bootstrap interval; prompts are resampled as wholes.

    Args:
        predicted, truth: (N,).
        prompt_ids: N ids.
        seed: of the resamples.
    """
    prompt = np.unique(np.asarray(prompt_ids), return_inverse=True)[1]
    count = int(prompt.max()) + 1
    drawn = np.random.default_rng(seed).integers(0, count, (RESAMPLES, count))
    times = np.zeros((RESAMPLES, count))
    np.add.at(times, (np.arange(RESAMPLES)[:, None], drawn), 1)
    # The first row is the sample itself.
    weights = np.concatenate([np.ones((1, len(prompt))), times[:, prompt]])
    ranks = [_weighted_ranks(values, weights) for values in (predicted, truth)]
    total = weights.sum(1, keepdims=True)
    first, second = (values - (weights * values).sum(1, keepdims=True) / total for values in ranks)
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = (weights * first * second).sum(1) / np.sqrt((weights * first**2).sum(1) * (weights * second**2).sum(1))
    drawn_rho = rho[1:][np.isfinite(rho[1:])]
    if not math.isfinite(rho[0]) or not len(drawn_rho):
        return Correlation(math.nan, math.nan, math.nan)
    low, high = np.percentile(drawn_rho, [2.5, 97.5])
    return Correlation(float(rho[0]), float(low), float(high))


def conformal_half_width(residuals: np.ndarray, level: float) -> float:
    """Half-width that a new residual stays below with probability `level`: split conformal prediction.

    The ⌈(n + 1) · level⌉-th smallest of n residuals of data not trained on (Lei et al. 2018, Distribution-free
    predictive inference for regression, section 2.2); new and old must be exchangeable.

    Args:
        residuals: (n,), at least 0.
        level: in (0, 1).

    Returns:
        Infinity when n is too small for the level.
    """
    rank = math.ceil((len(residuals) + 1) * level)
    return float(np.sort(residuals)[rank - 1]) if rank <= len(residuals) else math.inf


def judge(trust: Trust, validation: Embedded, gamma: GammaConfig, config: BoundConfig) -> Trust:
    """Trust with the reasons, if any, why its width carries no information.

    Args:
        trust: of `fit_trust`.
        validation: rated candidates that nothing was fitted to.
        gamma: how alignment would use the width.
        config: the least variation of γ; the seed of the interval.
    """
    reasons = []
    prompts = len(set(validation.prompt_ids))
    if prompts < LEAST_PROMPTS:
        reasons.append(f"{prompts} rated validation prompts are too few to tell; {LEAST_PROMPTS} are needed")
    error = np.abs(validation.reward - validation.score)
    found = spearman(trust.widths(validation.z), error, validation.prompt_ids, derive_seed("gate", config.seed))
    if not math.isfinite(found.value):
        reasons.append("width or error is the same for every validation candidate")
    elif found.low <= 0:
        reasons.append(
            f"on validation its Spearman correlation with the reward's error is {found.value:.2f}, 95 % interval "
            f"{found.low:.2f} to {found.high:.2f}"
        )
    if gamma.kind in ("exponential", "linear"):
        values = amplification(trust, gamma).gamma(trust.widths(validation.z))
        variation = float(values.std() / values.mean())
        if variation < config.least_variation:
            reasons.append(
                f"γ varies by {variation:.2%} over the validation candidates, less than bound.least_variation "
                f"({config.least_variation:.2%})"
            )
    return replace(trust, reasons=tuple(reasons))


def trust_table(
    embeddings: pd.DataFrame, scores: pd.DataFrame, noiseless: pd.DataFrame, trust: Trust, weigh: Amplification
) -> pd.DataFrame:
    """Every rated candidate with its widths and its bound.

    Args:
        embeddings: candidate_id, prompt_id, split, reward, z.
        scores: candidate_id, score.
        noiseless: candidate_id, noiseless_score; empty when people rated.
        trust: of `judge`.
        weigh: how alignment uses the width.

    Returns:
        candidate_id, prompt_id, split, reward, the three widths by name, width (the one that is used), gamma, ridge
        (⟨z, ψ̂⟩), low, high, score, noiseless_score (NaN when people rated).
    """
    z = np.stack(embeddings["z"].tolist())
    low, high = trust.bound(z)
    table = embeddings[["candidate_id", "prompt_id", "split", "reward"]].assign(
        **{kind: trust.widths(z, kind) for kind in WIDTHS},
        width=trust.widths(z),
        gamma=weigh.gamma(trust.widths(z)),
        ridge=trust.predict(z),
        low=low,
        high=high,
    )
    table = table.merge(scores[["candidate_id", "score"]], on="candidate_id")
    return table.merge(noiseless[["candidate_id", "noiseless_score"]], on="candidate_id", how="left")


def truths(table: pd.DataFrame) -> dict[str, np.ndarray]:
    """What rewards can be compared with: the ratings and, with simulated raters, their noiseless score; (N,) each."""
    found = {"ratings": table["score"].to_numpy(np.float64)}
    noiseless = table["noiseless_score"].to_numpy(np.float64)
    if len(table) and np.isfinite(noiseless).all():
        found["noiseless"] = noiseless
    return found


def _share_inside(table: pd.DataFrame, truth: np.ndarray) -> float:
    return float(((table["low"] <= truth) & (truth <= table["high"])).mean())


def conformal_coverage(
    calibration: pd.DataFrame, test: pd.DataFrame, level: float, scaled: bool
) -> tuple[dict[str, float], float]:
    """Intervals reward ± q, or reward ± q · width, with q from the ratings of the calibration rows.

    Args:
        calibration, test: of `trust_table`.
        level: nominal coverage, in (0, 1).
        scaled: by the width that is used.

    Returns:
        Share of test rows inside, per truth, and the mean length of their intervals; empty and infinite when there
        are too few calibration rows for the level.
    """
    before, after = (
        np.maximum(rows["width"].to_numpy(), 1e-12) if scaled else np.ones(len(rows)) for rows in (calibration, test)
    )
    half = conformal_half_width((calibration["reward"] - calibration["score"]).abs().to_numpy() / before, level)
    if not math.isfinite(half):
        return {}, math.inf
    reward = test["reward"].to_numpy()
    inside = {name: float((np.abs(reward - truth) <= half * after).mean()) for name, truth in truths(test).items()}
    return inside, float(2 * half * after.mean())


def _finite(metrics: dict[str, float]) -> dict[str, Any]:
    """Rounded for JSON, which knows neither NaN nor infinity."""
    return {
        name: value if isinstance(value, int) else round(value, 6)
        for name, value in metrics.items()
        if math.isfinite(value)
    }


def _correlations(name: str, found: Correlation) -> dict[str, float]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def trust_metrics(
    table: pd.DataFrame, trust: Trust, weigh: Amplification, config: BoundConfig, effective_rank: float
) -> dict[str, Any]:
    """Everything that is measured about trust, flat; what does not exist is omitted.

    Args:
        table: of `trust_table`.
        trust: of `judge`.
        weigh: how alignment uses the width. γ is described over candidates that were not trained on, like
            the pictures that alignment will make.
        config: for the seed.
        effective_rank: participation ratio of the training embeddings.
    """
    unseen = table[table["split"] != "train"]
    splits = {split: table[table["split"] == split] for split in ("validation", "test")}
    metrics: dict[str, float] = {
        "participation_ratio": effective_rank,
        "embedding_size": len(trust.psi),
        "ridge": trust.ridge,
        "log_det": trust.log_det,
        "noise_scale": trust.noise,
        **({} if trust.noise_raters is None else {"noise_scale_raters": trust.noise_raters}),
        "noise_scale_validation": trust.noise_validation,
        "psi_norm": trust.psi_norm,
        "delta": trust.delta,
        "bound_factor": trust.bound_factor,
        "trust_informative": int(trust.informative),
        "gamma_mean": float(unseen["gamma"].mean()),
        "gamma_least": float(unseen["gamma"].min()),
        "gamma_most": float(unseen["gamma"].max()),
        "gamma_coefficient_of_variation": float(unseen["gamma"].std(ddof=0) / unseen["gamma"].mean()),
        "gamma_share_at_limit": weigh.share_at_limit(unseen["width"].to_numpy()),
        "train_width_median": float(np.median(trust.train_widths)),
    }
    for split, rows in splits.items():
        if rows.empty:
            continue
        ids, seed = rows["prompt_id"].tolist(), derive_seed("gate", config.seed)
        metrics[f"{split}_width_median"] = float(rows["width"].median())
        metrics[f"{split}_reward_ridge_difference"] = float(np.sqrt(np.square(rows["reward"] - rows["ridge"]).mean()))
        metrics[f"{split}_bound_half_width"] = float((rows["high"] - rows["low"]).mean() / 2)
        for name, truth in truths(rows).items():
            error = np.abs(rows["reward"].to_numpy() - truth)
            metrics[f"{split}_bound_coverage_{name}"] = _share_inside(rows, truth)
            distance = np.maximum(np.abs(rows["ridge"].to_numpy() - truth), 1e-12)
            metrics[f"{split}_bound_tightness_{name}"] = float(
                np.median((rows["high"] - rows["low"]).to_numpy() / 2 / distance)
            )
            for kind in WIDTHS:
                found = spearman(rows[kind].to_numpy(), error, ids, seed)
                metrics |= _correlations(f"{split}_spearman_{kind}_error_{name}", found)
        chosen = {end: f"{split}_spearman_{trust.width}_error_ratings{end}" for end in ("", "_low", "_high")}
        metrics |= {f"{split}_spearman_width_error{end}": metrics[key] for end, key in chosen.items()}
    for scaled, name in ((False, "conformal"), (True, "conformal_scaled")):
        if splits["validation"].empty or splits["test"].empty:
            continue
        inside, length = conformal_coverage(splits["validation"], splits["test"], 1 - trust.delta, scaled)
        metrics |= {f"test_{name}_coverage_{truth}": share for truth, share in inside.items()}
        metrics[f"test_{name}_length"] = length
    return _finite(metrics)
