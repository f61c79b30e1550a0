"""Nodes of the `bound` pipeline."""

from typing import Any

import numpy as np
import pandas as pd

from prefpaint.trust.config import BoundConfig, GammaConfig


def fit_bound(
    embeddings: pd.DataFrame,
    scores: pd.DataFrame,
    ratings: pd.DataFrame,
    normalisation: list[Any],
    reward_model: Any,
    gamma: GammaConfig,
    config: BoundConfig,
) -> Any:
    """V and the ridge estimate over the training candidates, and whether the width carries information."""
    from prefpaint.trust.calibration import judge
    from prefpaint.trust.fit import Embedded, fit_trust, rater_noise

    train, validation = (Embedded.of(embeddings, scores, split) for split in ("train", "validation"))
    own = reward_model.member_psis().double().numpy() if len(reward_model.heads) > 1 else None
    noise = rater_noise(ratings, scores, normalisation)
    trust = fit_trust(train, validation, config, noise, reward_model.whole_norm, own)
    return judge(trust, validation, gamma, config)


def measure_trust(
    embeddings: pd.DataFrame, scores: pd.DataFrame, noiseless: pd.DataFrame, trust: Any, gamma: GammaConfig
) -> pd.DataFrame:
    """Widths, γ and bound of every candidate beside its score."""
    from prefpaint.trust.calibration import trust_table
    from prefpaint.trust.gamma import amplification

    return trust_table(embeddings, scores, noiseless, trust, amplification(trust, gamma))


def measure_choice(embeddings: pd.DataFrame, scores: pd.DataFrame, config: BoundConfig) -> dict[str, Any]:
    """How wrong the reward is about the fills that it prefers, on validation prompts."""
    from prefpaint.trust.choice import ChoiceErrors
    from prefpaint.trust.fit import Embedded

    validation = Embedded.of(embeddings, scores, "validation")
    errors = ChoiceErrors.of(validation.reward, validation.score, validation.prompt_ids, 1 - config.delta)
    return errors.model_dump(mode="json")


def report_bound(
    embeddings: pd.DataFrame,
    trust_table: pd.DataFrame,
    trust: Any,
    choice_errors: dict[str, Any],
    gamma: GammaConfig,
    config: BoundConfig,
) -> tuple[dict[str, Any], Any, Any]:
    """What V, γ and the bound are worth, as numbers and two figures."""
    from prefpaint.trust.calibration import trust_metrics
    from prefpaint.trust.choice import choice_metrics, read_choice_errors
    from prefpaint.trust.figures import bound_figure, trust_figure
    from prefpaint.trust.fit import gram, participation_ratio
    from prefpaint.trust.gamma import amplification

    z = np.stack(embeddings.loc[embeddings["split"] == "train", "z"].tolist())
    weigh = amplification(trust, gamma)
    metrics = trust_metrics(trust_table, trust, weigh, config, participation_ratio(z))
    metrics |= choice_metrics(trust_table, read_choice_errors(choice_errors), config.seed)
    spectrum = bound_figure(trust_table, np.linalg.eigvalsh(gram(z)), trust, weigh)
    return metrics, spectrum, trust_figure(trust_table, trust)


def draw_bound_worlds(config: BoundConfig) -> pd.DataFrame:
    """How often the bound fails where the truth is known."""
    from prefpaint.trust.worlds import SETTINGS, worlds_table

    return worlds_table(SETTINGS, config.seed)
