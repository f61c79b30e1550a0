"""The order of training data."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from prefpaint.alignment.order import endless, endless_alike

KINDS = st.lists(st.sampled_from("abc"), min_size=1, max_size=12)


@given(KINDS, st.integers(0, 30), st.integers(1, 9), st.integers(0, 5))
def test_an_iteration_has_one_kind(kinds: list[str], iteration: int, count: int, seed: int) -> None:
    rows = endless_alike("test", seed, kinds, iteration, count)
    assert len(rows) == count and len({kinds[row] for row in rows}) == 1


def test_of_one_kind_it_is_the_plain_order() -> None:
    for iteration in range(5):
        plain = endless("test", 3, 7, iteration, 4)
        np.testing.assert_array_equal(endless_alike("test", 3, ["a"] * 7, iteration, 4), plain)


@given(KINDS, st.integers(0, 5))
def test_every_row_of_a_kind_comes_before_any_comes_again(kinds: list[str], seed: int) -> None:
    taken: dict[str, list[int]] = {}
    for iteration in range(3 * len(kinds)):
        (row,) = endless_alike("test", seed, kinds, iteration, 1)
        taken.setdefault(kinds[row], []).append(int(row))
    for kind, rows in taken.items():
        # Kinds come as often as they have rows, so three rounds of all are three rounds of each.
        assert sorted(rows) == sorted(3 * [row for row, each in enumerate(kinds) if each == kind])
