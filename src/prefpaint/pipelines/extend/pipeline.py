"""The `extend` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.extend.nodes import extend_pictures


def create_pipeline() -> Pipeline:
    """Aligned model + whole pictures → wider pictures."""
    return Pipeline(
        [
            Node(
                extend_pictures,
                ["aligned_model", "prompts", "prompt_images", "params:sampling", "params:extend"],
                ["extended_images", "extend_metrics", "extend_figure"],
                name="extend_pictures",
            )
        ]
    )
