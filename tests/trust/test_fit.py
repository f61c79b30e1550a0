"""V, widths and the bound against hand-worked numbers, a direct inverse and the full kernel."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefpaint.errors import PrefPaintError
from prefpaint.reward.linear import ridge as ridge_estimate
from prefpaint.trust.config import BoundConfig
from prefpaint.trust.fit import (
    ROWS,
    WIDTHS,
    Embedded,
    Trust,
    bound_factor,
    fit_trust,
    gram,
    participation_ratio,
    rater_noise,
)


def embedded(z: np.ndarray, score: np.ndarray | None = None) -> Embedded:
    """Candidates three to a prompt, with the reward 0."""
    values = np.zeros(len(z)) if score is None else score
    return Embedded(z, np.zeros(len(z)), values, [f"p{row // 3}" for row in range(len(z))])


def fit(z: np.ndarray, score: np.ndarray | None = None, **changed: Any) -> Trust:
    whole_norm, members = changed.pop("whole_norm", None), changed.pop("members", None)
    data = embedded(z, score)
    return fit_trust(data, data, BoundConfig(**{"ridge": 1.0, **changed}), None, whole_norm, members)


def random_fit(rows: int = 40, size: int = 5, **changed: Any) -> tuple[np.ndarray, Trust]:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(rows, size))
    return z, fit(z, rng.normal(size=rows), **changed)


def test_widths_and_bound_by_hand() -> None:
    # V = diag(2² + 1, 1), Zᵀy = (2 · 5, 0), so ψ̂ = (2, 0) and log det V = log 5.
    trust = fit(np.array([[2.0, 0.0], [0.0, 0.0]]), np.array([5.0, 0.0]), noise=0.5, psi_norm=3.0, delta=0.1)
    z = np.array([[2.0, 0.0], [0.0, 3.0]])
    np.testing.assert_allclose(trust.psi, [2.0, 0.0])
    np.testing.assert_allclose(trust.widths(z), [math.sqrt(0.8), 3.0])
    np.testing.assert_allclose(trust.widths(z, "published"), [0.4, 3.0])
    assert trust.log_det == pytest.approx(math.log(5))
    factor = 0.5 * math.sqrt(2 * math.log(math.sqrt(5) / 0.1)) + 3.0
    assert trust.bound_factor == pytest.approx(factor)
    low, high = trust.bound(z)
    np.testing.assert_allclose([low[0], high[0]], [4 - factor * math.sqrt(0.8), 4 + factor * math.sqrt(0.8)])
    np.testing.assert_allclose((low + high) / 2, [4.0, 0.0], atol=1e-12)


def test_disagreement_of_members_by_hand() -> None:
    trust = fit(np.eye(3)[:, :2], members=np.array([[1.0, 0.0], [3.0, 0.0]]))
    # Readouts 1 and 3: standard deviation √2; the second direction is not read at all.
    np.testing.assert_allclose(trust.widths(np.array([[1.0, 0.0], [0.0, 9.0]]), "ensemble"), [math.sqrt(2), 0.0])


def test_bootstrap_members_are_as_many_as_asked_for_and_always_the_same() -> None:
    z, trust = random_fit(ensemble=3)
    assert trust.members.shape == (3, 5)
    np.testing.assert_array_equal(trust.members, random_fit(ensemble=3)[1].members)
    assert not np.allclose(trust.members, random_fit(ensemble=3, seed=1)[1].members)
    # Their mean is near the estimate from all prompts.
    many = random_fit(ensemble=200)[1].members
    np.testing.assert_allclose(many.mean(0), trust.psi, atol=0.1)
    assert (trust.widths(z, "ensemble") > 0).all()


@given(st.integers(0, 10_000), st.floats(1e-3, 1e3), st.integers(2, 30))
def test_widths_are_those_of_the_inverse_and_shrink_with_data(seed: int, ridge: float, count: int) -> None:
    rng = np.random.default_rng(seed)
    z, new = rng.normal(size=(count, 6)), rng.normal(size=(4, 6))
    trust = fit(z, rng.normal(size=count), ridge=ridge)
    inverse = np.linalg.inv(z.T @ z + ridge * np.eye(6))
    # The inverse itself loses digits with V's condition number, at most about 1e5 here.
    np.testing.assert_allclose(trust.widths(new), np.sqrt(np.einsum("ni,ij,nj->n", new, inverse, new)), rtol=1e-8)
    np.testing.assert_allclose(trust.widths(new, "published"), np.linalg.norm(new @ inverse, axis=1), rtol=1e-7)
    more = fit(np.concatenate([z, new]), ridge=ridge)
    assert (more.widths(new) <= trust.widths(new) * (1 + 1e-12)).all()
    sign, log_det = np.linalg.slogdet(z.T @ z + ridge * np.eye(6))
    assert sign == 1 and trust.log_det == pytest.approx(log_det, abs=1e-8)


@given(st.integers(0, 10_000), st.floats(1e-2, 1e2), st.floats(0.01, 0.9))
def test_estimate_and_bound_follow_the_theory(seed: int, ridge: float, delta: float) -> None:
    rng = np.random.default_rng(seed)
    z, score = rng.normal(size=(12, 4)), rng.normal(size=12)
    trust = fit(z, score, ridge=ridge, delta=delta)
    np.testing.assert_allclose(trust.psi, ridge_estimate(z, score, ridge), rtol=1e-6, atol=1e-9)
    low, high = trust.bound(z)
    np.testing.assert_allclose(high - low, 2 * trust.bound_factor * trust.widths(z, "elliptical"), rtol=1e-9)
    # A smaller δ, more noise and a longer ψ* each widen the bound.
    plain = (trust.log_det, 4, ridge, 1.0, 1.0, delta)
    for wider in ((*plain[:5], delta / 2), (*plain[:3], 2.0, 1.0, delta), (*plain[:4], 2.0, delta)):
        assert bound_factor(*wider) > bound_factor(*plain)


def test_what_the_landmarks_cannot_express_counts_as_unseen() -> None:
    """With a whole norm the width is that of the full feature: here z keeps 3 of its 5 numbers."""
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(30, 5))
    whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    kept = whole.copy()
    kept[:, 3:] = 0
    trust = fit(kept[:, :3], ridge=0.3, whole_norm=1.0)
    inverse = np.linalg.inv(kept.T @ kept + 0.3 * np.eye(5))
    np.testing.assert_allclose(trust.widths(kept[:, :3]) ** 2, np.einsum("ni,ij,nj->n", whole, inverse, whole))
    # The published norm stays as published: of z alone.
    alone = np.linalg.norm(kept[:, :3] @ inverse[:3, :3], axis=1)
    np.testing.assert_allclose(trust.widths(kept[:, :3], "published"), alone)
    # Rounding may put ‖z‖² a little above the whole.
    assert np.isfinite(trust.widths(np.array([[1.0 + 1e-7, 0, 0]]))).all()


def test_chunks_change_nothing_and_a_nan_stays_in_its_row() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(2 * ROWS + 7, 3)).astype(np.float32)
    weights = rng.integers(0, 3, len(z)).astype(np.float64)
    wide = z.astype(np.float64)
    np.testing.assert_allclose(gram(z, weights), (wide * weights[:, None]).T @ wide, rtol=1e-12)
    _, trust = random_fit(size=3)
    broken = z.copy()
    broken[ROWS + 1, 0] = np.nan
    for kind in WIDTHS:
        widths = trust.widths(z, kind)
        np.testing.assert_allclose(widths[-9:], trust.widths(z[-9:], kind))
        found = trust.widths(broken, kind)
        assert np.flatnonzero(np.isnan(found)).tolist() == [ROWS + 1]
        np.testing.assert_allclose(np.delete(found, ROWS + 1), np.delete(widths, ROWS + 1))
    assert trust.widths(z[:0]).shape == (0,)


def test_lambda_and_noise_come_from_the_data_unless_given() -> None:
    rng = np.random.default_rng(0)
    z, psi = rng.normal(size=(300, 4)), np.array([1.0, -1.0, 0.5, 0.0])
    score = z @ psi + 0.5 * rng.normal(size=300)
    data, held_out = embedded(z[:200], score[:200]), embedded(z[200:], score[200:])
    found = fit_trust(data, held_out, BoundConfig())
    assert found.noise == found.noise_validation == pytest.approx(0.5, rel=0.15), "no rater noise to use"
    assert found.ridge < 30 and found.psi_norm == pytest.approx(np.linalg.norm(found.psi))
    assert found.psi_norm == pytest.approx(np.linalg.norm(psi), rel=0.1)
    assert fit_trust(data, held_out, BoundConfig(), 0.3).noise == 0.3
    assert fit_trust(data, held_out, BoundConfig(noise="validation"), 0.3).noise == found.noise
    given_all = fit_trust(data, held_out, BoundConfig(noise=0.7, ridge=2.5, psi_norm=4.0), 0.3)
    assert (given_all.noise, given_all.ridge, given_all.psi_norm) == (0.7, 2.5, 4.0)


def tables(ratings: list[tuple[str, int]]) -> tuple[pd.DataFrame, pd.DataFrame, list[Any]]:
    """Ratings with three equal criteria, of train candidates a, b and test candidate t; one point is 0.5 units."""
    names = sorted({name for name, _ in ratings})
    rows = [(name, f"rater{i}", value, value, value) for i, (name, value) in enumerate(ratings)]
    scores = pd.DataFrame({"candidate_id": names, "source": "s", "pattern": "p", "split": "train"})
    scores.loc[scores["candidate_id"] == "t", "split"] = "test"
    factors = {"source": "s", "pattern": "p", "mean": 3.0, "std": 2.0, "count": 9}
    return pd.DataFrame(rows, columns=["candidate_id", "rater", "structure", "texture", "overall"]), scores, [factors]


def test_noise_of_raters_by_hand() -> None:
    # a: 2, 4 (squares 1 + 1), b: 1, 1, 4 (squares 1 + 1 + 4); 8 over 3 degrees, two raters at least, units of 2.
    given_ratings = [("a", 2), ("a", 4), ("b", 1), ("b", 1), ("b", 4), ("t", 0), ("t", 7)]
    assert rater_noise(*tables(given_ratings)) == pytest.approx(math.sqrt(8 / 3 / 2) / 2)
    assert rater_noise(*tables([("a", 2), ("b", 4)])) is None


def test_participation_ratio_by_hand() -> None:
    assert participation_ratio(np.eye(4)) == pytest.approx(4.0)
    assert participation_ratio(np.array([[1.0, 2.0], [2.0, 4.0]])) == pytest.approx(1.0)
    # Eigenvalues 1 and 4: (1 + 4)² / (1 + 16).
    assert participation_ratio(np.diag([1.0, 2.0])) == pytest.approx(25 / 17)


def test_saved_and_loaded(tmp_path: Path) -> None:
    z, trust = random_fit()
    trust.save_pretrained(tmp_path)
    loaded = Trust.from_pretrained(tmp_path)
    assert loaded.digest() == trust.digest()
    assert loaded.informative and loaded.bound_factor == trust.bound_factor
    for kind in WIDTHS:
        np.testing.assert_array_equal(loaded.widths(z, kind), trust.widths(z, kind))
    other = random_fit(delta=0.2)[1]
    assert other.digest() != trust.digest()


def test_a_damaged_folder_is_one_sentence(tmp_path: Path) -> None:
    _, trust = random_fit()
    trust.save_pretrained(tmp_path)
    random_fit(size=4)[1].save_pretrained(tmp_path / "small")
    from safetensors.numpy import load_file, save_file

    arrays = load_file(tmp_path / "trust.safetensors") | {
        "factor": load_file(tmp_path / "small/trust.safetensors")["factor"]
    }
    save_file(arrays, tmp_path / "trust.safetensors")
    with pytest.raises(PrefPaintError, match=r"V is \(4, 4\), ψ̂ has 5 numbers"):
        Trust.from_pretrained(tmp_path)
    (tmp_path / "trust.safetensors").write_bytes(b"nothing")
    with pytest.raises(PrefPaintError, match="pipeline=bound"):
        Trust.from_pretrained(tmp_path)
    (tmp_path / "trust.json").unlink()
    with pytest.raises(PrefPaintError, match="pipeline=bound"):
        Trust.from_pretrained(tmp_path)


def test_bad_embeddings_are_refused() -> None:
    with pytest.raises(PrefPaintError, match="at least 2"):
        fit(np.ones((1, 3)))
    with pytest.raises(PrefPaintError, match="embedding 1 holds NaN"):
        fit(np.array([[1.0, 2.0], [np.nan, 1.0]]))
    with pytest.raises(PrefPaintError, match="validation embeddings have 2 numbers, training embeddings 3"):
        fit_trust(embedded(np.ones((4, 3))), embedded(np.ones((4, 2))), BoundConfig())
    with pytest.raises(PrefPaintError, match=r"bound\.ridge: 1e-09 is too small"):
        fit(np.full((3, 2), 1e8), ridge=1e-9)
    _, trust = random_fit(size=3)
    for use in (trust.widths, trust.predict, trust.bound):
        with pytest.raises(PrefPaintError, match="4 numbers but V was made for 3"):
            use(np.ones((1, 4)))


def test_two_ratings_are_enough_for_a_bound() -> None:
    trust = fit(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1.0, -1.0]))
    assert np.isfinite(np.concatenate(trust.bound(np.eye(2)))).all()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"ridge": 0.0}, "greater than 0"),
        ({"ridge": -1.0}, "greater than 0"),
        ({"delta": 0.0}, "greater than 0"),
        ({"delta": 1.0}, "less than 1"),
        ({"noise": 0.0}, "greater than 0"),
    ],
)
def test_bad_parameters_are_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        BoundConfig(**wrong)  # type: ignore[arg-type]


def test_embedded_needs_the_split_and_one_length() -> None:
    table = pd.DataFrame(
        {"candidate_id": ["a", "b"], "prompt_id": "p", "split": "train", "reward": 0.0, "z": [[1.0, 2.0], [1.0]]}
    )
    scores = pd.DataFrame({"candidate_id": ["a", "b"], "score": [0.0, 1.0]})
    with pytest.raises(PrefPaintError, match="none of split validation is rated"):
        Embedded.of(table, scores, "validation")
    with pytest.raises(PrefPaintError, match="candidate b has another length"):
        Embedded.of(table, scores, "train")
