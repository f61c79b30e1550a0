"""The order in which training goes through its data."""

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
