"""Agreement between raters, by hand and against published numbers."""

import math
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefpaint.stats.agreement import (
    krippendorff_alpha,
    pair_accuracy,
    rank_agreement,
    spearman,
    spearman_brown,
    split_half,
    spread,
)

# K. Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C: four observers, twelve units.
OBSERVERS = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]


def labels(*rows: tuple[str, str, float]) -> pd.DataFrame:
    found = pd.DataFrame(rows, columns=["candidate_id", "rater", "value"])
    return found.assign(prompt_id=found["candidate_id"].str[0])


def test_krippendorffs_own_example() -> None:
    rated = [(unit, int(v)) for row in OBSERVERS for unit, v in enumerate(row) if v != "."]
    assert len(rated) == 41
    units, values = zip(*rated, strict=True)
    assert krippendorff_alpha(values, units) == pytest.approx(0.849, abs=5e-4)


def test_alpha_by_hand() -> None:
    # Units (1, 2) and (4, 4). D_o = (2 · 1 + 0) / 4 = 1/2. Ordered pairs of all four values: squared differences
    # 1 + 9 + 9 + 4 + 4 + 0, each twice, / (4 · 3) = 54/12 = 9/2. α = 1 − 1/9.
    assert krippendorff_alpha([1, 2, 4, 4], ["a", "a", "b", "b"]) == pytest.approx(8 / 9)
    assert krippendorff_alpha([1, 1, 4, 4, 6], ["a", "a", "b", "b", "alone"]) == 1
    assert math.isnan(krippendorff_alpha([1, 2], ["a", "b"]))
    assert math.isnan(krippendorff_alpha([3, 3], ["a", "a"]))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), min_size=2, max_size=40))
def test_alpha_without_pairs_equals_alpha_over_pairs(rated: list[tuple[int, int]]) -> None:
    units = np.array([unit for unit, _ in rated])
    values = np.array([value for _, value in rated], float)
    kept = np.array([(units == unit).sum() > 1 for unit in units])
    units, values, n = units[kept], values[kept], int(kept.sum())
    expected = sum(2 * (a - b) ** 2 for a, b in combinations(values, 2)) / max(n * (n - 1), 1)
    got = krippendorff_alpha(values, units)
    if expected == 0:
        assert math.isnan(got)
        return
    observed = sum(
        sum(2 * (a - b) ** 2 for a, b in combinations(values[units == unit], 2)) / ((units == unit).sum() - 1)
        for unit in np.unique(units)
    )
    assert got == pytest.approx(1 - observed / n / expected)


def test_pair_accuracy_by_hand() -> None:
    # Prompt a: pairs (0, 1) right, (0, 2) tied in prediction, (1, 2) wrong. Prompt b: equal in truth, left out.
    prompts = ["a", "b", "a", "a", "b"]
    assert pair_accuracy([1, 5, 2, 1, 9], [0, 3, 1, 2, 3], prompts) == pytest.approx((1 + 0.5 + 0) / 3)
    assert pair_accuracy([3, 2, 1], [3, 2, 1], ["a", "a", "a"]) == 1
    assert math.isnan(pair_accuracy([1, 2], [1, 2], ["a", "b"]))


def test_rank_agreement_by_hand() -> None:
    def two(second: tuple[float, float, float]) -> pd.DataFrame:
        first = [(f"a{i}", "x", float(i)) for i in range(3)]
        return labels(*first, *[(f"a{i}", "y", value) for i, value in enumerate(second)])

    assert rank_agreement(two((0, 1, 2))) == 1
    assert rank_agreement(two((2, 1, 0))) == 0
    assert rank_agreement(two((0, 2, 1))) == pytest.approx(2 / 3)
    # A tie counts half: (a0, a1) and (a0, a2) alike, (a1, a2) not ordered by y.
    assert rank_agreement(two((0, 1, 1))) == pytest.approx(2.5 / 3)
    # A third rater who agrees with x: pairs xy 2/3, xz 1, yz 2/3.
    third = pd.concat([two((0, 2, 1)), labels(*[(f"a{i}", "z", float(i)) for i in range(3)])])
    assert rank_agreement(third) == pytest.approx((2 / 3 + 1 + 2 / 3) / 3)
    # Who rated what differs: y and x share one pair only.
    assert rank_agreement(two((0, 1, 2)).iloc[:5]) == 1
    assert math.isnan(rank_agreement(labels(("a0", "x", 1), ("b0", "x", 2), ("a0", "y", 2))))


def test_spearman_brown_by_hand() -> None:
    assert spearman_brown(0.5, 2) == pytest.approx(2 / 3)
    assert spearman_brown(0.5, 3) == pytest.approx(0.75)
    assert spearman_brown(0.8, 1) == pytest.approx(0.8)


def test_spearman_is_undefined_for_constants() -> None:
    assert spearman([1, 2, 3], [1, 4, 9]) == pytest.approx(1)
    assert math.isnan(spearman([1, 1], [1, 2]))
    assert math.isnan(spearman([1], [1]))


def test_halves_of_raters_that_agree() -> None:
    rows = [(f"{prompt}{i}", rater, 3.0 * k + i) for k, prompt in enumerate("abc") for i in range(3) for rater in "xyz"]
    found = split_half(labels(*rows), seed=0)
    assert (found.correlation, found.reliability, found.ceiling, found.pair_accuracy) == pytest.approx((1, 1, 1, 1))


def test_one_rater_has_no_halves() -> None:
    assert math.isnan(split_half(labels(("a0", "x", 1), ("a1", "x", 2)), seed=0).ceiling)


@pytest.mark.parametrize("raters", [2, 3, 4])
def test_the_ceiling_is_what_the_mean_label_reaches(raters: int) -> None:
    # Truth and noise of one variance, many candidates: the ceiling from the raters alone must tell how the mean
    # label correlates with the truth, which it never sees.
    rng = np.random.default_rng(0)
    truth = rng.standard_normal(6000)
    values = truth[:, None] + rng.standard_normal((6000, raters))
    rows = pd.DataFrame(
        {
            "candidate_id": np.repeat([f"{i:05d}" for i in range(6000)], raters),
            "prompt_id": np.repeat(np.arange(6000) // 3, raters),
            "rater": np.tile([f"r{k}" for k in range(raters)], 6000),
            "value": values.ravel(),
        }
    )
    found = split_half(rows, seed=0)
    assert found.ceiling == pytest.approx(spearman(values.mean(1), truth), abs=0.015)
    assert split_half(rows.sample(frac=1, random_state=1), seed=0) == found
    # Within prompts of three independent candidates: P(two halves agree) = 1/2 + arcsin(r) / π.
    half = raters // 2
    assert found.pair_accuracy == pytest.approx(0.5 + math.asin(half / (half + 1)) / math.pi, abs=0.015)


def test_spread_by_hand() -> None:
    # Prompt means 2 and 6: deviation √8. Residuals ±1, ±1 with 4 − 2 degrees of freedom: √(4 / 2).
    found = spread([1, 3, 5, 7], ["a", "a", "b", "b"])
    assert (found.between, found.within) == pytest.approx((math.sqrt(8), math.sqrt(2)))
