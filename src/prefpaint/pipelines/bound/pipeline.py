"""The `bound` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.bound.nodes import fit_bound, measure_trust, report_bound


def create_pipeline() -> Pipeline:
    """embeddings → V, widths and γ."""
    return Pipeline(
        [
            Node(fit_bound, ["embeddings", "params:bound"], "trust", name="fit_trust"),
            Node(measure_trust, ["embeddings", "scores", "trust"], "trust_table", name="measure_trust"),
            Node(
                report_bound,
                ["embeddings", "trust_table", "trust"],
                ["bound_metrics", "bound_figure"],
                name="report_trust",
            ),
        ]
    )
