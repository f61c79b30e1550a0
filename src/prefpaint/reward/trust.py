"""How far to believe the reward: V, elliptical widths, amplification γ (paper, 3.3; Abbasi-Yadkori et al. 2011).

All linear algebra is float64 through a Cholesky factor; V is never inverted.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.linalg import solve_triangular

from prefpaint.config import fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.reward.config import BoundConfig, GammaConfig


def participation_ratio(z: np.ndarray) -> float:
    """Effective rank of ZᵀZ: (Σλ)² / Σλ² over its eigenvalues λ; 1 when one direction carries everything.

    Args:
        z: (N, d) embeddings.
    """
    gram = z.astype(np.float64).T @ z.astype(np.float64)
    return float(np.trace(gram) ** 2 / np.square(gram).sum())


@dataclass(frozen=True)
class Trust:
    """V's Cholesky factor and the amplification that follows from widths.

    Attributes:
        factor: (d, d) float64 lower triangular, V = factor @ factor.T.
        unit: width that counts as 1 in γ.
        gamma_config: k, b and unit.
        informative: False when γ is to be 1 for every sample.
    """

    factor: np.ndarray
    unit: float
    gamma_config: GammaConfig
    informative: bool = True

    def widths(self, z: np.ndarray) -> np.ndarray:
        """Elliptical norms √(zᵀ V⁻¹ z).

        Args:
            z: (N, d) embeddings.

        Returns:
            (N,) float64, at least 0.

        Raises:
            PrefPaintError: embeddings of another width than V's.
        """
        if z.shape[1] != len(self.factor):
            raise PrefPaintError(
                f"embeddings have {z.shape[1]} numbers but V was made for {len(self.factor)}; "
                "run `kedro run --pipeline=bound` for this reward model"
            )
        solved = solve_triangular(self.factor, z.T.astype(np.float64), lower=True)
        return np.sqrt(np.square(solved).sum(0))

    def gamma(self, widths: np.ndarray) -> np.ndarray:
        """γ = exp(−k · width / unit + b) (paper, equation 8), or 1 where trust carries no information; (N,)."""
        if not self.informative:
            return np.ones_like(widths)
        return np.exp(-self.gamma_config.k * widths / self.unit + self.gamma_config.b)

    def digest(self) -> str:
        """Changes whenever a width or a γ would."""
        return fingerprint(self.factor.tobytes().hex(), self.unit, self.gamma_config, self.informative)

    def save_pretrained(self, folder: Path) -> None:
        """Write trust.safetensors and trust.json."""
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        save_file({"factor": self.factor}, folder / "trust.safetensors")
        plain = {"unit": self.unit, "informative": self.informative, "gamma": self.gamma_config.model_dump()}
        (folder / "trust.json").write_text(json.dumps(plain, indent=2, sort_keys=True) + "\n")

    @classmethod
    def from_pretrained(cls, folder: Path) -> "Trust":
        """Read what `save_pretrained` wrote.

        Raises:
            PrefPaintError: a file is missing or damaged.
        """
        from safetensors.numpy import load_file

        try:
            plain = json.loads((folder / "trust.json").read_text())
            factor = load_file(folder / "trust.safetensors")["factor"]
            return cls(factor, plain["unit"], GammaConfig.model_validate(plain["gamma"]), plain["informative"])
        except (OSError, ValueError, KeyError) as error:
            raise PrefPaintError(
                f"{folder}: is no trust folder of this program ({error}); run `kedro run --pipeline=bound`"
            ) from error


def fit_trust(z: np.ndarray, config: BoundConfig) -> Trust:
    """V = ZᵀZ + λI over training embeddings, and whether γ varies enough to mean anything.

    Args:
        z: (N, d) embeddings of the training candidates.
        config: λ, γ and what to do when γ is a constant.

    Raises:
        PrefPaintError: fewer than two embeddings, NaN among them, or γ constant while `uninformative` is `stop`.
    """
    if len(z) < 2:
        raise PrefPaintError(f"{len(z)} training embedding(s): V needs at least 2; rate more candidates")
    if not np.isfinite(z).all():
        row = int(np.nonzero(~np.isfinite(z).all(1))[0][0])
        raise PrefPaintError(f"training embedding {row} holds NaN or infinity; train the reward model again")
    wide = z.astype(np.float64)
    factor = np.linalg.cholesky(wide.T @ wide + config.ridge * np.eye(z.shape[1]))
    raw = Trust(factor, 1.0, config.gamma)
    widths = raw.widths(wide)
    unit = float(np.median(widths)) if config.gamma.unit == "median" else 1.0
    trust = Trust(factor, max(unit, 1e-12), config.gamma)
    gamma = trust.gamma(widths)
    variation = float(gamma.std() / gamma.mean())
    if variation >= config.least_variation:
        return trust
    if config.uninformative == "stop":
        raise PrefPaintError(
            f"γ varies by {variation:.2%} over the training candidates, less than bound.least_variation "
            f"({config.least_variation:.2%}): trust carries no information; raise bound.gamma.k, use another "
            "reward head, or set bound.uninformative to ignore"
        )
    return Trust(factor, trust.unit, config.gamma, informative=False)
