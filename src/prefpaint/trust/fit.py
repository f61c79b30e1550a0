"""How far to believe the reward: V, trust widths and the two-sided bound (paper, 3.3; Abbasi-Yadkori et al. 2011).

All linear algebra is float64 through a Cholesky factor; V is never inverted.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
from scipy.linalg import cho_solve, solve_triangular

from prefpaint.config import derive_seed
from prefpaint.errors import PrefPaintError
from prefpaint.preferences.scoring import Factors, apply_normalisation, weighted_score
from prefpaint.reward.linear import choose_ridge
from prefpaint.trust.config import BoundConfig, WidthKind

WIDTHS: tuple[WidthKind, ...] = get_args(WidthKind)
# Embeddings in float64 at a time: 36,000 of them are never in memory twice.
ROWS = 4096
ARRAYS = ("factor", "psi", "members", "train_widths")


def gram(z: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Σ w_i z_i z_iᵀ in float64.

    Args:
        z: (N, d) embeddings.
        weights: (N,), at least 0; none: all 1.

    Returns:
        (d, d).
    """
    total = np.zeros((z.shape[1], z.shape[1]))
    for start in range(0, len(z), ROWS):
        rows = slice(start, start + ROWS)
        wide = z[rows].astype(np.float64)
        total += wide.T @ (wide if weights is None else wide * weights[rows, None])
    return total


def participation_ratio(z: np.ndarray) -> float:
    """Effective rank of ZᵀZ: (Σλ)² / Σλ² over its eigenvalues λ; 1 when one direction carries everything.

    Args:
        z: (N, d) embeddings.
    """
    product = gram(z)
    return float(np.trace(product) ** 2 / np.square(product).sum())


def bound_factor(log_det: Any, size: int, ridge: float, noise: float, psi_norm: float, delta: float) -> Any:
    """C = B √(2 log(det(V)^½ det(λI)^−½ / δ)) + √λ ‖ψ*‖ (Abbasi-Yadkori, Pál, Szepesvári 2011, Theorem 2).

    Args:
        log_det: log det V, one or an array of them.
        size: d.
        ridge: λ.
        noise: B.
        psi_norm: ‖ψ*‖, or more.
        delta: δ in (0, 1).

    Returns:
        As `log_det`.
    """
    inside = 0.5 * (log_det - size * math.log(ridge)) - math.log(delta)
    return noise * np.sqrt(2 * inside) + math.sqrt(ridge) * psi_norm


@dataclass(frozen=True)
class Embedded:
    """Rated candidates of one split as the reward model sees them.

    Attributes:
        z: (N, d) embeddings.
        reward: (N,) of the reward model.
        score: (N,) mean normalised ratings.
        prompt_ids: N ids.
    """

    z: np.ndarray
    reward: np.ndarray
    score: np.ndarray
    prompt_ids: Sequence[str]

    @classmethod
    def of(cls, embeddings: pd.DataFrame, scores: pd.DataFrame, split: str) -> "Embedded":
        """One split of the reward pipeline's table, with the scores.

        Args:
            embeddings: candidate_id, prompt_id, split, reward, z.
            scores: candidate_id, score.
            split: its name.

        Raises:
            PrefPaintError: the split has no rated candidate, or embeddings of different lengths.
        """
        rows = embeddings[embeddings["split"] == split].merge(scores[["candidate_id", "score"]], on="candidate_id")
        if rows.empty:
            raise PrefPaintError(f"embeddings: none of split {split} is rated; rate candidates of it")
        lengths = rows["z"].map(len)
        if lengths.nunique() > 1:
            raise PrefPaintError(
                f"embeddings: candidate {rows['candidate_id'][lengths.ne(lengths[0]).idxmax()]} has another length "
                "than those before it; run `kedro run --pipeline=reward` again"
            )
        z = np.stack(rows["z"].tolist())
        return cls(z, rows["reward"].to_numpy(), rows["score"].to_numpy(), rows["prompt_id"].tolist())


@dataclass(frozen=True)
class Trust:
    """V, the ridge estimate ψ̂ that the bound is about, and what alignment needs to weigh rewards.

    The bound is Theorem 2 of Abbasi-Yadkori et al.: if a score is ⟨z, ψ*⟩ plus noise, then with probability 1 − δ
    |⟨z, ψ̂⟩ − ⟨z, ψ*⟩| ≤ C · √(zᵀV⁻¹z) for every z at once. It is about ψ̂. The reward of an mlp head is read out
    by descent and need not be ⟨z, ψ̂⟩, and no theorem says that true scores are linear in z: what the bound is worth
    for a reward model is measured, not proved.

    Attributes:
        factor: (d, d) float64 lower triangular, V = factor @ factor.T.
        psi: (d,) float64, ψ̂.
        members: (M, d) float64, readouts whose disagreement is the width `ensemble`.
        train_widths: (N,) float64, widths of the training candidates, ascending.
        width: which width weighs rewards.
        ridge: λ.
        whole_norm: ‖φ‖² of the full feature of which z is the part that the head can express; None where z is
            everything. What is missing, `whole_norm` − ‖z‖², counts as never seen (Calandriello et al. 2019,
            Gaussian process optimization with adaptive sketching). Theorem 2 proper is about z alone.
        noise: B, the sub-Gaussian scale of a score's noise.
        noise_raters: from the raters' disagreement; None where no candidate has two raters.
        noise_validation: from the residuals of ψ̂ on validation candidates.
        psi_norm: ‖ψ*‖ as estimated or given.
        delta: δ.
        reasons: why the width carries no information; empty when it does.
    """

    factor: np.ndarray
    psi: np.ndarray
    members: np.ndarray
    train_widths: np.ndarray
    width: WidthKind
    ridge: float
    whole_norm: float | None
    noise: float
    noise_raters: float | None
    noise_validation: float
    psi_norm: float
    delta: float
    reasons: tuple[str, ...] = ()

    @property
    def informative(self) -> bool:
        """Whether alignment may weigh rewards by the width."""
        return not self.reasons

    @property
    def log_det(self) -> float:
        """log det V."""
        return float(2 * np.log(np.diag(self.factor)).sum())

    @property
    def bound_factor(self) -> float:
        """C."""
        return float(bound_factor(self.log_det, len(self.factor), self.ridge, self.noise, self.psi_norm, self.delta))

    def check(self, z: np.ndarray) -> None:
        """Refuse (N, d) embeddings of another reward model.

        Raises:
            PrefPaintError: they have another size than V.
        """
        if z.shape[1] != len(self.factor):
            raise PrefPaintError(
                f"embeddings have {z.shape[1]} numbers but V was made for {len(self.factor)}; "
                "run `kedro run --pipeline=bound` for this reward model"
            )

    def widths(self, z: np.ndarray, kind: WidthKind | None = None) -> np.ndarray:
        """Trust widths, small near what was rated.

        Args:
            z: (N, d) embeddings; a NaN among them makes that row's width NaN.
            kind: elliptical √(zᵀV⁻¹z), published ‖zᵀV⁻¹‖₂, or ensemble, the standard deviation of the members'
                readouts; none: `self.width`.

        Returns:
            (N,) float64, at least 0.

        Raises:
            PrefPaintError: embeddings of another width than V's.
        """
        self.check(z)
        kind = kind or self.width
        parts = [self._widths(z[start : start + ROWS].astype(np.float64), kind) for start in range(0, len(z), ROWS)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _widths(self, z: np.ndarray, kind: WidthKind) -> np.ndarray:
        if kind == "ensemble":
            return (z @ self.members.T).std(1, ddof=1)
        solved = solve_triangular(self.factor, z.T, lower=True, check_finite=False)
        if kind == "published":
            solved = solve_triangular(self.factor, solved, lower=True, trans=1, check_finite=False)
        square = np.square(solved).sum(0)
        if self.whole_norm is not None and kind == "elliptical":
            square += np.maximum(self.whole_norm - np.square(z).sum(1), 0) / self.ridge
        return np.sqrt(square)

    def predict(self, z: np.ndarray) -> np.ndarray:
        """⟨z, ψ̂⟩ of (N, d) embeddings, (N,) float64.

        Raises:
            PrefPaintError: embeddings of another width than V's.
        """
        self.check(z)
        return np.asarray(z @ self.psi, np.float64)

    def bound(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """⟨z, ψ̂⟩ ± C · elliptical width: what ⟨z, ψ*⟩ lies between, for every z at once with probability 1 − δ.

        Args:
            z: (N, d) embeddings.

        Returns:
            Lower and upper ends, (N,) float64 each.
        """
        middle, half = self.predict(z), self.bound_factor * self.widths(z, "elliptical")
        return middle - half, middle + half

    def _plain(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name not in ARRAYS}

    def digest(self) -> str:
        """Changes whenever a width, a bound or a weight would."""
        total = sha256(json.dumps(self._plain(), sort_keys=True).encode())
        for name in ARRAYS:
            total.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        return total.hexdigest()[:16]

    def save_pretrained(self, folder: Path) -> None:
        """Write trust.safetensors and trust.json."""
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in ARRAYS}
        save_file(arrays, folder / "trust.safetensors")
        (folder / "trust.json").write_text(json.dumps(self._plain(), indent=2, sort_keys=True) + "\n")

    @classmethod
    def from_pretrained(cls, folder: Path) -> "Trust":
        """Read what `save_pretrained` wrote.

        Raises:
            PrefPaintError: a file is missing or damaged.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            plain = json.loads((folder / "trust.json").read_text())
            arrays: dict[str, Any] = load_file(folder / "trust.safetensors")
            size = len(arrays["psi"])
            if arrays["factor"].shape != (size, size) or arrays["members"].shape[1:] != (size,):
                raise ValueError(f"V is {arrays['factor'].shape}, ψ̂ has {size} numbers")
            reasons = tuple(plain.pop("reasons"))
            return cls(**{name: arrays[name] for name in ARRAYS}, **plain, reasons=reasons)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise PrefPaintError(
                f"{folder}: is not a trust folder of this program ({error}); run `kedro run --pipeline=bound`"
            ) from error


def rater_noise(ratings: pd.DataFrame, scores: pd.DataFrame, normalisation: list[Factors]) -> float | None:
    """Scale of the noise of a training candidate's score, from the disagreement of its raters.

    The variance of normalised ratings about their candidate's mean, pooled over candidates, divided by the fewest
    raters of a candidate. A rater who is always stricter counts as noise, which errs on the wide side.

    Args:
        ratings: candidate_id, rater and the criteria.
        scores: candidate_id, source, pattern, split.
        normalisation: of `preferences.scoring.fit_normalisation`.

    Returns:
        In score units; None where no candidate has two raters.
    """
    rows = ratings.merge(scores.loc[scores["split"] == "train", ["candidate_id", "source", "pattern"]])
    values = apply_normalisation(weighted_score(rows), rows, normalisation)
    groups = values.groupby(rows["candidate_id"])
    raters = groups.size()
    degrees = int((raters - 1).sum())
    if degrees == 0:
        return None
    squares = float(np.square(values - groups.transform("mean")).sum())
    return math.sqrt(squares / degrees / int(raters.min()))


def _refuse_bad(data: Embedded, split: str) -> None:
    finite = np.isfinite(data.z).all(1)
    if not finite.all():
        raise PrefPaintError(
            f"{split} embedding {int(np.argmin(finite))} holds NaN or infinity; run `kedro run --pipeline=reward` again"
        )


def _members(z: np.ndarray, score: np.ndarray, prompt_ids: Sequence[str], ridge: float, config: BoundConfig) -> Any:
    """Ridge estimates (M, d) from bootstrap draws of whole prompts."""
    prompt = np.unique(np.asarray(prompt_ids), return_inverse=True)[1]
    count = int(prompt.max()) + 1
    found = []
    for number in range(config.ensemble):
        rng = np.random.default_rng(derive_seed("members", config.seed, number))
        weights = np.bincount(rng.integers(0, count, count), minlength=count)[prompt].astype(np.float64)
        factor = np.linalg.cholesky(gram(z, weights) + ridge * np.eye(z.shape[1]))
        found.append(cho_solve((factor, True), (weights * score) @ z))
    return np.stack(found)


def fit_trust(
    train: Embedded,
    validation: Embedded,
    config: BoundConfig,
    noise_raters: float | None = None,
    whole_norm: float | None = None,
    members: np.ndarray | None = None,
) -> Trust:
    """V = ZᵀZ + λI and ψ̂ over training embeddings, with λ and B from the data unless given.

    Whether the width carries information is another question: `calibration.judge` answers it.

    Args:
        train, validation: the rated candidates of these splits.
        config: λ, B, ‖ψ*‖, δ, which width.
        noise_raters: of `rater_noise`.
        whole_norm: of the reward model.
        members: (M, d) readouts of the reward model's own heads; none: bootstrap draws of the training prompts.

    Raises:
        PrefPaintError: fewer than two training embeddings, NaN among them, embeddings of two sizes, or λ too small
            for float64.
    """
    if len(train.z) < 2:
        raise PrefPaintError(f"{len(train.z)} training embedding(s): V needs at least 2; rate more candidates")
    for data, split in ((train, "training"), (validation, "validation")):
        _refuse_bad(data, split)
    z, score = train.z, train.score.astype(np.float64)
    if validation.z.shape[1] != z.shape[1]:
        raise PrefPaintError(
            f"validation embeddings have {validation.z.shape[1]} numbers, training embeddings {z.shape[1]}; "
            "run `kedro run --pipeline=reward` again"
        )
    ridge = config.ridge or choose_ridge(z, score, validation.z, validation.score)
    try:
        factor = np.linalg.cholesky(gram(z) + ridge * np.eye(z.shape[1]))
        readouts = _members(z, score, train.prompt_ids, ridge, config) if members is None else members
    except np.linalg.LinAlgError as error:
        raise PrefPaintError(
            f"bound.ridge: {ridge:g} is too small for embeddings of this size, V cannot be factored; raise it"
        ) from error
    psi = cho_solve((factor, True), score @ z)
    residual = float(np.sqrt(np.square(validation.z @ psi - validation.score).mean()))
    if isinstance(config.noise, str):
        noise = noise_raters if config.noise == "raters" and noise_raters is not None else residual
    else:
        noise = config.noise
    trust = Trust(
        factor=factor,
        psi=psi,
        members=np.asarray(readouts, np.float64),
        train_widths=np.zeros(0),
        width=config.width,
        ridge=float(ridge),
        whole_norm=whole_norm,
        noise=float(noise),
        noise_raters=noise_raters,
        noise_validation=residual,
        psi_norm=float(config.psi_norm or np.linalg.norm(psi)),
        delta=config.delta,
    )
    return replace(trust, train_widths=np.sort(trust.widths(z)))
