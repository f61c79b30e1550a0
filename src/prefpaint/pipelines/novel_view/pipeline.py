"""The `novel_view` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.novel_view import nodes
from prefpaint.pipelines.wiring import named


def create_pipeline() -> Pipeline:
    """Aligned model + depth → views, and how true they are."""
    return Pipeline(
        [
            Node(
                name="view_photograph",
                func=nodes.view_photograph,
                inputs=named(
                    "photographs",
                    "depth_maps",
                    aligned="aligned_model",
                    regions="photograph_table",
                    sampling="params:sampling",
                    config="params:novel_view",
                ),
                outputs="novel_view_frames",
            ),
            Node(
                name="animate_views",
                func=nodes.animate,
                inputs="novel_view_frames",
                outputs=["novel_view_animation", "novel_view_video"],
            ),
            Node(
                name="compare_with_second_view",
                func=nodes.compare_stereo,
                inputs=["base_model", "aligned_model", "params:sampling", "params:novel_view"],
                outputs=["novel_view_metrics", "novel_view_figure"],
            ),
        ]
    )
