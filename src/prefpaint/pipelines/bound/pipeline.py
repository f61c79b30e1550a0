"""The `bound` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.bound.nodes import draw_bound_worlds, fit_bound, measure_trust, report_bound


def create_pipeline() -> Pipeline:
    """embeddings + ratings → V, widths, γ and the bound, and what they are worth."""
    return Pipeline(
        [
            Node(
                fit_bound,
                [
                    "embeddings",
                    "scores",
                    "ratings",
                    "normalisation",
                    "reward_model",
                    "params:align",
                    "params:bound",
                ],
                "trust",
                name="fit_trust",
            ),
            Node(
                measure_trust,
                ["embeddings", "scores", "noiseless", "trust", "params:align"],
                "trust_table",
                name="measure_trust",
            ),
            Node(
                report_bound,
                ["embeddings", "trust_table", "trust", "params:align", "params:bound"],
                ["bound_metrics", "bound_figure", "trust_figure"],
                name="report_trust",
            ),
            Node(draw_bound_worlds, ["params:bound"], "bound_worlds", name="draw_worlds_with_known_truth"),
        ]
    )
