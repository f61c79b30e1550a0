"""V, widths and γ against hand-worked numbers and against a direct inverse."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefpaint.errors import PrefPaintError
from prefpaint.reward.config import BoundConfig, GammaConfig
from prefpaint.reward.trust import Trust, fit_trust, participation_ratio


def test_width_and_gamma_by_hand() -> None:
    # V = diag(2² + 1, 1): z = (2, 0) has width √(4/5), z = (0, 3) has width 3.
    z = np.array([[2.0, 0.0], [0.0, 0.0]])
    trust = fit_trust(z, BoundConfig(ridge=1.0, gamma=GammaConfig(k=0.05, b=0.7, unit="raw"), least_variation=0))
    widths = trust.widths(np.array([[2.0, 0.0], [0.0, 3.0]]))
    np.testing.assert_allclose(widths, [math.sqrt(0.8), 3.0], rtol=1e-12)
    np.testing.assert_allclose(trust.gamma(widths), [math.exp(0.7 - 0.05 * math.sqrt(0.8)), math.exp(0.55)])


def test_median_unit_gives_the_typical_sample_weight_one() -> None:
    z = np.random.default_rng(0).normal(size=(301, 5))
    trust = fit_trust(z, BoundConfig(gamma=GammaConfig(k=0.8, b=0.8)))
    assert np.median(trust.gamma(trust.widths(z))) == pytest.approx(1.0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(1e-3, 1e3), st.integers(2, 30))
def test_widths_are_those_of_the_inverse_and_shrink_with_data(seed: int, ridge: float, count: int) -> None:
    rng = np.random.default_rng(seed)
    z, new = rng.normal(size=(count, 6)), rng.normal(size=(4, 6))
    config = BoundConfig(ridge=ridge, least_variation=0)
    widths = fit_trust(z, config).widths(new)
    inverse = np.linalg.inv(z.T @ z + ridge * np.eye(6))
    # The inverse itself loses digits with V's condition number, at most about 1e5 here.
    np.testing.assert_allclose(widths, np.sqrt(np.einsum("ni,ij,nj->n", new, inverse, new)), rtol=1e-8)
    more = fit_trust(np.concatenate([z, new]), config).widths(new)
    assert (more <= widths * (1 + 1e-12)).all()


def test_participation_ratio_by_hand() -> None:
    assert participation_ratio(np.eye(4)) == pytest.approx(4.0)
    assert participation_ratio(np.array([[1.0, 2.0], [2.0, 4.0]])) == pytest.approx(1.0)
    # Eigenvalues 1 and 4: (1 + 4)² / (1 + 16).
    assert participation_ratio(np.diag([1.0, 2.0])) == pytest.approx(25 / 17)


def test_constant_gamma_is_told_apart(tmp_path: Path) -> None:
    """The published head: λI plus rank one, all widths alike."""
    z = np.outer(np.full(50, 3.0), np.ones(8))
    trust = fit_trust(z, BoundConfig())
    assert not trust.informative
    np.testing.assert_array_equal(trust.gamma(trust.widths(z)), np.ones(50))
    with pytest.raises(PrefPaintError, match="carries no information"):
        fit_trust(z, BoundConfig(uninformative="stop"))


def test_saved_and_loaded(tmp_path: Path) -> None:
    z = np.random.default_rng(0).normal(size=(40, 5))
    trust = fit_trust(z, BoundConfig())
    trust.save_pretrained(tmp_path)
    loaded = Trust.from_pretrained(tmp_path)
    assert loaded.digest() == trust.digest()
    np.testing.assert_array_equal(loaded.widths(z), trust.widths(z))
    (tmp_path / "trust.json").unlink()
    with pytest.raises(PrefPaintError, match="pipeline=bound"):
        Trust.from_pretrained(tmp_path)


def test_bad_embeddings_are_refused() -> None:
    with pytest.raises(PrefPaintError, match="at least 2"):
        fit_trust(np.ones((1, 3)), BoundConfig())
    with pytest.raises(PrefPaintError, match="embedding 1 holds NaN"):
        fit_trust(np.array([[1.0, 2.0], [np.nan, 1.0]]), BoundConfig())
    trust = fit_trust(np.random.default_rng(0).normal(size=(9, 3)), BoundConfig())
    with pytest.raises(PrefPaintError, match="4 numbers but V was made for 3"):
        trust.widths(np.ones((1, 4)))
