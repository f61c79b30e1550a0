"""From "A is better than B" to scores: the Bradley-Terry model with a prior."""

import numpy as np
import pandas as pd

from prefpaint.preferences.schema import COMPARISON_COLUMNS, HIGHEST

# Variance of the prior of a strength, in logits². With it an unbeaten candidate stays finite, and three raters who
# agree that A beats B say less than thirty.
PRIOR_VARIANCE = 1.0


def no_comparisons() -> pd.DataFrame:
    """An empty table of comparisons."""
    columns = {name: pd.Series(dtype="str") for name in COMPARISON_COLUMNS}
    return pd.DataFrame(columns | {"rated_at": pd.Series(dtype="datetime64[us, UTC]")})


def strengths(comparisons: pd.DataFrame) -> pd.Series:
    """How strong each candidate is against an average one, from which was preferred to which.

    P(a beats b) = σ(θ_a − θ_b) (R. A. Bradley and M. E. Terry, Biometrika 39, 1952); θ has an independent
    normal prior of mean 0 and variance `PRIOR_VARIANCE`, and the mode of the posterior is found. A tie counts as half a
    win for each. Only candidates of one prompt are compared, so strengths of different prompts are not: the prior
    puts the mean of every prompt at 0.

    Args:
        comparisons: candidate_a, candidate_b, preferred (a, b, tie).

    Returns:
        θ in logits by candidate_id, sorted.
    """
    from scipy.sparse import csr_array, vstack
    from sklearn.linear_model import LogisticRegression

    names, codes = np.unique(comparisons[["candidate_a", "candidate_b"]].to_numpy(str), return_inverse=True)
    a, b = codes.reshape(-1, 2).T
    rows = np.arange(len(a))
    signs = np.r_[np.ones(len(a)), -np.ones(len(a))]
    design = csr_array((signs, (np.r_[rows, rows], np.r_[a, b])), shape=(len(a), len(names)))
    # Every comparison both as won and as lost, weighted by how much of a win it was.
    won = comparisons["preferred"].map({"a": 1.0, "tie": 0.5, "b": 0.0}).to_numpy(np.float64)
    model = LogisticRegression(C=PRIOR_VARIANCE, fit_intercept=False, solver="newton-cg", tol=1e-8, max_iter=200)
    model.fit(vstack([design, design]), np.r_[np.ones(len(a)), np.zeros(len(a))], np.r_[won, 1 - won])
    return pd.Series(model.coef_[0], index=pd.Index(names, name="candidate_id"), name="strength")


def comparison_scores(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Scores on the raters' scale: 7 · σ(θ), seven times the chance of beating an average fill of the same hole.

    That is 3.5 for a fill as often preferred as not, whatever the prompt: comparisons do not say which prompts came
    out well.

    Args:
        comparisons: COMPARISON_COLUMNS.

    Returns:
        candidate_id, raters (how many compared it), raw (0-7), sorted by candidate_id.
    """
    if comparisons.empty:
        return pd.DataFrame({"candidate_id": pd.Series(dtype="str"), "raters": [], "raw": []}).astype(
            {"raters": "int64"}
        )
    # Sorted, so that the same comparisons in another order give the same bytes.
    ordered = comparisons.sort_values(["candidate_a", "candidate_b", "rater"])
    theta = strengths(ordered)
    sides = pd.concat(
        [
            ordered[["candidate_a", "rater"]].set_axis(["candidate_id", "rater"], axis=1),
            ordered[["candidate_b", "rater"]].set_axis(["candidate_id", "rater"], axis=1),
        ]
    )
    raters = sides.groupby("candidate_id")["rater"].nunique()
    return pd.DataFrame(
        {
            "candidate_id": theta.index.astype("str"),
            "raters": raters[theta.index].to_numpy(),
            "raw": HIGHEST / (1 + np.exp(-theta.to_numpy())),
        }
    )
