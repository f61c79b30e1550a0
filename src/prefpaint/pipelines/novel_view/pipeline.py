"""The `novel_view` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.novel_view import nodes


def create_pipeline() -> Pipeline:
    """Aligned model + depth → views, and how true they are."""
    return Pipeline(
        [
            Node(
                nodes.view_photograph,
                [
                    "aligned_model",
                    "photograph_table",
                    "photographs",
                    "depth_maps",
                    "params:sampling",
                    "params:novel_view",
                ],
                "novel_view_frames",
                name="view_photograph",
            ),
            Node(nodes.animate, "novel_view_frames", "novel_view_animation", name="animate_views"),
            Node(
                nodes.compare_stereo,
                ["base_model", "aligned_model", "params:sampling", "params:novel_view"],
                ["novel_view_metrics", "novel_view_figure"],
                name="compare_with_second_view",
            ),
        ]
    )
