"""The `bound` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.bound.nodes import draw_bound_worlds, fit_bound, measure_choice, measure_trust, report_bound
from prefpaint.pipelines.wiring import named


def create_pipeline() -> Pipeline:
    """embeddings + ratings → V, widths, γ and the bound, and what they are worth."""
    return Pipeline(
        [
            Node(
                name="fit_trust",
                func=fit_bound,
                inputs=named(
                    "embeddings",
                    "scores",
                    "ratings",
                    "normalisation",
                    "reward_model",
                    gamma="params:gamma",
                    config="params:bound",
                ),
                outputs="trust",
            ),
            Node(
                name="measure_trust",
                func=measure_trust,
                inputs=["embeddings", "scores", "noiseless", "trust", "params:gamma"],
                outputs="trust_table",
            ),
            Node(
                name="measure_choice",
                func=measure_choice,
                inputs=["embeddings", "scores", "params:bound"],
                outputs="choice_errors",
            ),
            Node(
                name="report_trust",
                func=report_bound,
                inputs=["embeddings", "trust_table", "trust", "choice_errors", "params:gamma", "params:bound"],
                outputs=["bound_metrics", "bound_figure", "trust_figure"],
            ),
            Node(
                name="draw_worlds_with_known_truth",
                func=draw_bound_worlds,
                inputs="params:bound",
                outputs="bound_worlds",
            ),
        ]
    )
