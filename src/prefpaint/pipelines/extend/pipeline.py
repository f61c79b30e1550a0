"""The `extend` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.extend import nodes


def create_pipeline() -> Pipeline:
    """Aligned model + whole pictures → wider pictures."""
    return Pipeline(
        [
            Node(
                nodes.gather_pictures,
                ["prompts", "prompt_images", "params:extend"],
                "extend_originals",
                name="gather_pictures",
            ),
            Node(
                nodes.extend_pictures,
                ["aligned_model", "extend_originals", "params:sampling", "params:extend"],
                "extended_images",
                name="extend_pictures",
            ),
            Node(
                nodes.measure_joints,
                ["aligned_model", "extend_originals", "extended_images", "params:extend"],
                ["extend_metrics", "extend_figure"],
                name="measure_joints",
            ),
        ]
    )
