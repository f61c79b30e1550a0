"""Nodes of the `bound` pipeline."""

from typing import Any

import numpy as np
import pandas as pd

from prefpaint.reward.config import BoundConfig


def fit_bound(embeddings: pd.DataFrame, config: BoundConfig) -> Any:
    """V over the training candidates' embeddings."""
    from prefpaint.reward.trust import fit_trust

    return fit_trust(np.stack(embeddings.loc[embeddings["split"] == "train", "z"].tolist()), config)


def measure_trust(embeddings: pd.DataFrame, scores: pd.DataFrame, trust: Any) -> pd.DataFrame:
    """Reward, width and γ of every candidate beside its score."""
    width = trust.widths(np.stack(embeddings["z"].tolist()))
    table = embeddings[["candidate_id", "prompt_id", "split", "reward"]].assign(width=width, gamma=trust.gamma(width))
    return table.merge(scores[["candidate_id", "score"]], on="candidate_id")


def report_bound(embeddings: pd.DataFrame, trust_table: pd.DataFrame, trust: Any) -> tuple[dict[str, Any], Any]:
    """Effective rank, spread of γ, and whether width ranks error."""
    from prefpaint.reward.figures import bound_figure
    from prefpaint.reward.metrics import rank_correlation
    from prefpaint.reward.trust import participation_ratio

    z = np.stack(embeddings.loc[embeddings["split"] == "train", "z"].tolist())
    gamma, test = trust_table["gamma"], trust_table[trust_table["split"] == "test"]
    metrics = {
        "participation_ratio": participation_ratio(z),
        "embedding_size": z.shape[1],
        "trust_informative": int(trust.informative),
        "gamma_mean": float(gamma.mean()),
        "gamma_least": float(gamma.min()),
        "gamma_most": float(gamma.max()),
        "gamma_coefficient_of_variation": float(gamma.std(ddof=0) / gamma.mean()),
        "width_median_train": float(trust_table.loc[trust_table["split"] == "train", "width"].median()),
        "width_median_test": float(test["width"].median()),
        "test_spearman_width_error": rank_correlation(
            test["width"].to_numpy(), (test["reward"] - test["score"]).abs().to_numpy()
        ),
    }
    wide = z.astype(np.float64)
    rounded = {name: round(value, 6) if isinstance(value, float) else value for name, value in metrics.items()}
    return rounded, bound_figure(trust_table, np.linalg.eigvalsh(wide.T @ wide))
