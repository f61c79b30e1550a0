"""Ridge regression on embeddings: the readout that the error bound is about."""

import numpy as np

from prefpaint.errors import PrefPaintError

RIDGES = tuple(10.0 ** (exponent / 2) for exponent in range(-6, 9))


def ridge(z: np.ndarray, y: np.ndarray, lam: float) -> np.ndarray:
    """ψ̂ = (ZᵀZ + λI)⁻¹ Zᵀy in float64.

    Args:
        z: (N, d) embeddings.
        y: (N,) scores.
        lam: λ, positive.

    Returns:
        (d,).
    """
    return ridge_path(z, y, (lam,))[0]


def ridge_path(z: np.ndarray, y: np.ndarray, lams: tuple[float, ...]) -> np.ndarray:
    """`ridge` for several λ from one eigendecomposition; (len(lams), d).

    Raises:
        PrefPaintError: fewer than two embeddings, NaN among them, or a λ that is not positive.
    """
    if len(z) < 2:
        raise PrefPaintError(f"{len(z)} training embedding(s): ridge regression needs at least 2; rate more candidates")
    finite = np.isfinite(z).all(1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise PrefPaintError(f"training embedding {row} holds NaN or infinity; run `kedro run --pipeline=reward` again")
    if min(lams) <= 0:
        raise PrefPaintError(f"ridge: {min(lams):g} is not positive")
    wide = z.astype(np.float64)
    values, vectors = np.linalg.eigh(wide.T @ wide)
    target = vectors.T @ (wide.T @ y.astype(np.float64))
    # Rounding leaves eigenvalues of a singular ZᵀZ a little below 0.
    return np.stack([vectors @ (target / (np.maximum(values, 0) + lam)) for lam in lams])


def choose_ridge(
    z: np.ndarray, y: np.ndarray, z_validation: np.ndarray, y_validation: np.ndarray, grid: tuple[float, ...] = RIDGES
) -> float:
    """The λ whose ridge estimate has the least mean squared error on validation candidates.

    Args:
        z, y: (N, d) and (N,), training.
        z_validation, y_validation: (M, d) and (M,).
        grid: values of λ to choose from.
    """
    errors = np.square(z_validation.astype(np.float64) @ ridge_path(z, y, grid).T - y_validation[:, None]).mean(0)
    return grid[int(errors.argmin())]
