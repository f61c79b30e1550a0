"""The `extend` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.extend import nodes
from prefpaint.pipelines.wiring import named


def create_pipeline() -> Pipeline:
    """Aligned model + whole pictures → wider pictures."""
    return Pipeline(
        [
            Node(
                name="gather_pictures",
                func=nodes.gather_pictures,
                inputs=["prompts", "prompt_images", "params:extend"],
                outputs="extend_originals",
            ),
            Node(
                name="extend_pictures",
                func=nodes.extend_pictures,
                inputs=named(
                    "reward_model",
                    "choice_errors",
                    aligned="aligned_model",
                    originals="extend_originals",
                    sampling="params:sampling",
                    config="params:extend",
                ),
                outputs="extended_images",
            ),
            Node(
                name="measure_joints",
                func=nodes.measure_joints,
                inputs=["aligned_model", "extend_originals", "extended_images", "params:extend"],
                outputs=["extend_metrics", "extend_figure"],
            ),
        ]
    )
