"""The γ family against hand-worked numbers, and the laws that hold for all of it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefpaint.errors import PrefPaintError
from prefpaint.trust.config import BoundConfig, GammaConfig
from prefpaint.trust.fit import Embedded, Trust, fit_trust
from prefpaint.trust.gamma import amplification, amplification_to_align


def trust(widths: list[float]) -> Trust:
    """Of training candidates with these widths."""
    z = np.random.default_rng(0).normal(size=(6, 2))
    data = Embedded(z, np.zeros(6), np.zeros(6), list("aabbcc"))
    return replace(fit_trust(data, data, BoundConfig(ridge=1.0)), train_widths=np.sort(widths))


WIDTHS = [1.0, 2.0, 6.0]
KINDS = ["exponential", "linear", "static"]


def test_published_formula_by_hand() -> None:
    made = amplification(trust(WIDTHS), GammaConfig(k=0.05, b=0.7, unit="raw"))
    np.testing.assert_allclose(made.gamma(np.array([0.0, 10.0])), [math.exp(0.7), math.exp(0.2)])


def test_linear_by_hand() -> None:
    made = amplification(trust(WIDTHS), GammaConfig(kind="linear", k=0.5, b=0.5))
    # The median 2 is the unit: 1.5 − 0.5 · width / 2, and 0 at width 6 is cut to the lower limit.
    np.testing.assert_allclose(made.gamma(np.array([0.0, 2.0, 6.0])), [1.5, 1.0, 0.05])


def test_static_by_hand() -> None:
    widths = np.array(WIDTHS)
    np.testing.assert_array_equal(amplification(trust(WIDTHS), GammaConfig(kind="static")).gamma(widths), 1.0)
    fixed = amplification(trust(WIDTHS), GammaConfig(kind="static", average=1.7))
    np.testing.assert_allclose(fixed.gamma(widths), 1.7)


@pytest.mark.parametrize("kind", ["exponential", "linear"])
def test_the_typical_sample_has_weight_one(kind: str) -> None:
    made = amplification(trust(WIDTHS), GammaConfig(kind=kind, k=0.8, b=0.8))  # type: ignore[arg-type]
    assert made.gamma(np.array([2.0]))[0] == pytest.approx(1.0)


@given(
    st.sampled_from(KINDS),
    st.floats(0, 3),
    st.floats(-1, 3),
    st.sampled_from(["median", "raw"]),
    st.lists(st.floats(0.01, 50), min_size=2, max_size=20),
)
def test_never_outside_the_limits_and_never_more_for_more_doubt(
    kind: str, k: float, b: float, unit: str, widths: list[float]
) -> None:
    made = amplification(trust(widths), GammaConfig(kind=kind, k=k, b=b, unit=unit))  # type: ignore[arg-type]
    ordered = np.sort(np.array(widths))
    gamma = made.gamma(ordered)
    assert ((gamma >= 0.05) & (gamma <= 20.0)).all()
    assert (np.diff(gamma) <= 0).all()
    at_limit = made.share_at_limit(ordered)
    assert at_limit == pytest.approx(np.isin(gamma, (0.05, 20.0)).mean())


@given(
    st.sampled_from(["exponential", "linear", "static"]),
    st.floats(0, 1),
    st.floats(0.3, 3),
    st.lists(st.floats(0.5, 2), min_size=2, max_size=20),
)
def test_kinds_can_be_held_to_one_mean(kind: str, k: float, average: float, widths: list[float]) -> None:
    known = trust(widths)
    config = GammaConfig(kind=kind, k=k, b=1.0, average=average, limits=(1e-9, 1e9))  # type: ignore[arg-type]
    assert amplification(known, config).gamma(known.train_widths).mean() == pytest.approx(average)


def test_a_weight_that_is_zero_for_all_has_no_mean() -> None:
    with pytest.raises(PrefPaintError, match=r"^gamma: the weight is 0 for every training candidate"):
        amplification(trust(WIDTHS), GammaConfig(kind="linear", k=50.0, b=0.0, average=1.0))


@pytest.mark.parametrize("kind", KINDS)
def test_without_information_samples_are_left_alone_or_alignment_refuses(kind: str) -> None:
    known = replace(trust(WIDTHS), reasons=("γ varies by 0.01%",))
    widths = np.array([0.5, 5.0])
    made = amplification_to_align(known, GammaConfig(kind=kind))  # type: ignore[arg-type]
    np.testing.assert_array_equal(made.gamma(widths), 1.0)
    assert made.fell_back == (kind != "static")
    refusing = GammaConfig(kind=kind, uninformative="refuse")  # type: ignore[arg-type]
    if kind == "static":
        amplification_to_align(known, refusing)
        return
    with pytest.raises(
        PrefPaintError, match=r"γ varies by 0.01%.*set align.trust to none or gamma.uninformative"
    ) as caught:
        amplification_to_align(known, refusing)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_width_without_information_is_used_where_that_is_wanted(kind: str) -> None:
    known, config = trust(WIDTHS), GammaConfig(kind=kind, uninformative="use")  # type: ignore[arg-type]
    made = amplification_to_align(replace(known, reasons=("nothing",)), config)
    widths = np.array([0.5, 5.0])
    np.testing.assert_array_equal(made.gamma(widths), amplification(known, config).gamma(widths))
    assert not made.fell_back


def test_a_constant_is_kept_without_information() -> None:
    known = replace(trust(WIDTHS), reasons=("nothing",))
    made = amplification_to_align(known, GammaConfig(kind="static", average=2.0))
    np.testing.assert_allclose(made.gamma(np.array([1.0])), 2.0)
