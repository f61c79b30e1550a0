"""The order in which training goes through its data."""

from collections.abc import Hashable, Sequence

import numpy as np

from prefpaint.config import derive_seed


def endless(purpose: str, seed: int, total: int, iteration: int, count: int) -> np.ndarray:
    """The next rows of an endless sequence of seeded shuffles of all.

    Args:
        purpose: names the sequence.
        seed: of it.
        total: rows there are.
        iteration: how many times `count` rows were taken before.
        count: rows to take; may exceed `total`.

    Returns:
        (count,) int64 in [0, total).
    """
    positions = np.arange(iteration * count, (iteration + 1) * count)
    rounds = {
        turn: np.random.default_rng(derive_seed(purpose, seed, int(turn))).permutation(total)
        for turn in np.unique(positions // total)
    }
    return np.array([rounds[position // total][position % total] for position in positions])


def endless_alike(purpose: str, seed: int, kinds: Sequence[Hashable], iteration: int, count: int) -> np.ndarray:
    """The next rows of one kind, such as pictures of one shape, which can be batched.

    Every iteration has the kind of the next row of an endless sequence of seeded shuffles of all, so kinds come as
    often as they have rows. Rows of a kind come in an endless sequence of their own; rows of a rare kind may come
    several times in one iteration.

    Args:
        purpose: names the sequence.
        seed: of it.
        kinds: of all rows.
        iteration: how many times rows were taken before.
        count: rows to take; may exceed the number of rows.

    Returns:
        (count,) int64, places in `kinds`; those of `endless` where all are of one kind.
    """
    if len(set(kinds)) == 1:
        return endless(purpose, seed, len(kinds), iteration, count)
    turns = [kinds[row] for row in endless(f"{purpose}: kind", seed, len(kinds), 0, iteration + 1)]
    rows = np.array([row for row, kind in enumerate(kinds) if kind == turns[-1]])
    return rows[endless(purpose, seed, len(rows), turns[:-1].count(turns[-1]), count)]
