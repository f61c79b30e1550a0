"""The `release` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.release.nodes import release_model
from prefpaint.pipelines.wiring import named


def create_pipeline() -> Pipeline:
    """Aligned model + everything measured → a folder with a model card."""
    return Pipeline(
        [
            Node(
                name="release_model",
                func=release_model,
                inputs=named(
                    "prompts",
                    "preferences_metrics",
                    "reward_metrics",
                    "bound_metrics",
                    "align_metrics",
                    base="base_model",
                    aligned="aligned_model",
                    photographs="photograph_table",
                    table="evaluate_table",
                    methods="methods_table",
                    align="params:align",
                    sampling="params:sampling",
                ),
                outputs="release",
            )
        ]
    )
