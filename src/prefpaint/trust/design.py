"""Which prompts to rate next: a greedy D-optimal design over the trust widths."""

import heapq

import numpy as np
from scipy.linalg import solve_triangular

from prefpaint.trust.fit import Trust


def joint_widths(
    trust: Trust, z: np.ndarray, whole: np.ndarray | None = None, rated: np.ndarray | None = None
) -> np.ndarray:
    """Squared elliptical widths of N candidates, and what any two of them share.

    Entry (i, j) is z_iᵀ V⁻¹ z_j, and on top of it (⟨φ_i, φ_j⟩ − ⟨z_i, z_j⟩) / λ where z is only part of a feature φ:
    what the head cannot express is not in V, but two candidates may share it. The diagonal holds the squares of
    `Trust.widths(z, "elliptical")`.

    V has been updated by what the head expresses of the rated candidates alone. Once there are more of them than
    landmarks, the rest R of a rated candidate is not 0, and its near-duplicates have been seen although V does not
    tell: where `rated` says which rows those are, R becomes R − R_·r (I + R_rr)⁻¹ R_r·, as `greedy_order` does.

    Args:
        trust: of the reward model that gave the embeddings.
        z: (N, d) embeddings.
        whole: (N, N), ⟨φ_i, φ_j⟩ of `RewardModel.gram`; None where z is everything.
        rated: (N,) bool, the candidates among them that V was fitted to; None for none.

    Returns:
        (N, N) float64, symmetric, positive semi-definite up to rounding.

    Raises:
        PrefPaintError: embeddings of another size than V's.
    """
    trust.check(z)
    wide = z.astype(np.float64)
    solved = solve_triangular(trust.factor, wide.T, lower=True, check_finite=False)
    joint = solved.T @ solved
    if whole is not None:
        # In place: with thousands of candidates each of these is 100 MB.
        rest = wide @ wide.T
        np.subtract(whole, rest, out=rest)
        rest /= trust.ridge
        if rated is not None and rated.any():
            root = np.linalg.cholesky(np.eye(int(rated.sum())) + rest[np.ix_(rated, rated)])
            taken = solve_triangular(root, rest[rated], lower=True, check_finite=False)
            rest -= taken.T @ taken
        joint += rest
    return np.asarray(joint, np.float64)


def greedy_order(joint: np.ndarray, groups: np.ndarray, most: int | None = None) -> np.ndarray:
    """Groups of candidates in the order in which rating them teaches most.

    Always the group that raises log det V most comes next: the largest log det(I + S_gg), S_gg being the block of
    its candidates in S = Z V⁻¹ Zᵀ. For a single candidate that is the one with the largest width (H. P. Wynn, The
    sequential generation of D-optimum experimental designs, Annals of Mathematical Statistics 41, 1970); several
    alike candidates count little more than one. Then V grows by the group as if it had been rated,
    V ← V + Z_gᵀ Z_g, which by the matrix inversion lemma is S ← S − S_·g (I + S_gg)⁻¹ S_g·: near-duplicates of it
    shrink, and come late. No rating is looked at, for widths do not depend on them. log det V is submodular, so the
    first n groups have at least 1 − 1/e of what the best n could have (Nemhauser, Wolsey and Fisher 1978).

    Args:
        joint: (N, N) of `joint_widths`.
        groups: (N,) int, 0 to G − 1, the group of each candidate; every group has one.
        most: how many groups are wanted; None for all.

    Returns:
        (G,) int, a permutation of the groups, or the beginning of one. Of equals the one with the smaller number comes
        first.
    """
    count = int(groups.max()) + 1 if len(groups) else 0
    members = [np.flatnonzero(groups == group) for group in range(count)]
    blocks = [joint[np.ix_(rows, rows)] for rows in members]
    # What the rated candidates have taken from the widths of all, one row each; the first `used` are filled.
    taken, used = np.empty((len(groups), len(groups))), 0
    # Rows of `taken` that each block has been reduced by. Gains only shrink, so an old one is an upper bound, and only
    # blocks that come to the top need to be brought up to date (M. Minoux 1978).
    seen = [0] * count
    waiting = [(-_gain(block), group) for group, block in enumerate(blocks)]
    heapq.heapify(waiting)
    order: list[int] = []
    while waiting and (most is None or len(order) < most):
        _, group = heapq.heappop(waiting)
        rows = members[group]
        if seen[group] < used:
            part = taken[seen[group] : used, rows]
            blocks[group], seen[group] = blocks[group] - part.T @ part, used
            heapq.heappush(waiting, (-_gain(blocks[group]), group))
            continue
        order.append(group)
        column = joint[rows] - taken[:used, rows].T @ taken[:used]
        root = np.linalg.cholesky(np.eye(len(rows)) + blocks[group])
        taken[used : used + len(rows)] = solve_triangular(root, column, lower=True)
        used += len(rows)
    return np.array(order, int)


def _gain(block: np.ndarray) -> float:
    """log det(I + S_gg); gains that differ by rounding alone are made equal, so that rounding decides no order."""
    return round(float(np.linalg.slogdet(np.eye(len(block)) + block)[1]), 9)
