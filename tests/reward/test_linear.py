"""Ridge regression against hand-worked numbers and the normal equations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefpaint.errors import PrefPaintError
from prefpaint.reward.linear import choose_ridge, ridge, ridge_path


def test_ridge_by_hand() -> None:
    # One dimension: ψ = Σzy / (Σz² + λ) = (1·2 + 2·3) / (5 + 3).
    assert ridge(np.array([[1.0], [2.0]]), np.array([2.0, 3.0]), 3.0) == pytest.approx([1.0])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-2, 1e3), st.integers(2, 30))
def test_normal_equations(seed: int, lam: float, count: int) -> None:
    rng = np.random.default_rng(seed)
    z, y = rng.normal(size=(count, 6)), rng.normal(size=count)
    psi = ridge(z, y, lam)
    np.testing.assert_allclose((z.T @ z + lam * np.eye(6)) @ psi, z.T @ y, atol=1e-9)


def test_lambda_is_large_where_there_is_only_noise() -> None:
    rng = np.random.default_rng(0)
    z, z_new, psi = rng.normal(size=(60, 40)), rng.normal(size=(500, 40)), rng.normal(size=40)
    noise, noise_new = rng.normal(size=60), rng.normal(size=500)
    grid = (0.01, 1.0, 100.0, 10_000.0)
    assert choose_ridge(z, noise, z_new, noise_new, grid) == 10_000.0
    assert choose_ridge(z, z @ psi + 0.01 * noise, z_new, z_new @ psi, grid) == 0.01


@pytest.mark.parametrize(
    ("z", "lam", "message"),
    [
        (np.ones((1, 2)), 1.0, "at least 2"),
        (np.array([[1.0], [np.nan]]), 1.0, "embedding 1 holds NaN"),
        (np.ones((3, 2)), 0.0, "0 is not positive"),
    ],
)
def test_bad_input(z: np.ndarray, lam: float, message: str) -> None:
    with pytest.raises(PrefPaintError, match=message):
        ridge_path(z, np.ones(len(z)), (lam,))
