"""The `report` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.report import nodes
from prefpaint.pipelines.wiring import named

# In the order of the page.
METRICS = (
    "evaluate_metrics",
    "methods_metrics",
    "learned_metrics",
    "sanity_metrics",
    "reward_metrics",
    "bound_metrics",
    "align_metrics",
    "preferences_metrics",
    "extend_metrics",
    "novel_view_metrics",
    "reconstruct_metrics",
)
FIGURES = (
    "masks_preview",
    "candidates_preview",
    "preferences_figure",
    "reward_figure",
    "bound_figure",
    "trust_figure",
    "align_figure",
    "evaluate_figure",
    "methods_figure",
    "extend_figure",
    "novel_view_figure",
    "reconstruct_figure",
)


def create_pipeline() -> Pipeline:
    """Everything that was measured and drawn → one page."""
    return Pipeline(
        [
            Node(
                name="gather_metrics",
                func=nodes.gather,
                inputs=named(*METRICS),
                outputs="report_metrics",
            ),
            Node(
                name="gather_figures",
                func=nodes.gather,
                inputs=named(*FIGURES),
                outputs="report_figures",
            ),
            Node(
                name="write_report",
                func=nodes.write_report,
                inputs=named(
                    "evaluation",
                    "taste",
                    table="evaluate_table",
                    methods="methods_table",
                    learned="learned_table",
                    sanity="sanity_table",
                    worlds="bound_worlds",
                    metrics="report_metrics",
                    figures="report_figures",
                    painted="evaluation_images",
                    images="prompt_images",
                    masks="prompt_masks",
                    base_mesh="reconstruct_base_mesh",
                    aligned_mesh="reconstruct_aligned_mesh",
                    config="params:evaluate",
                ),
                outputs="report",
            ),
        ]
    )
