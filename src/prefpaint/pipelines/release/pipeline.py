"""The `release` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.release.nodes import release_model


def create_pipeline() -> Pipeline:
    """Aligned model + everything measured → a folder with a model card."""
    return Pipeline(
        [
            Node(
                name="release_model",
                func=release_model,
                inputs={
                    "base": "base_model",
                    "aligned": "aligned_model",
                    "photographs": "photograph_table",
                    "prompts": "prompts",
                    "table": "evaluate_table",
                    "methods": "methods_table",
                    "preferences_metrics": "preferences_metrics",
                    "reward_metrics": "reward_metrics",
                    "bound_metrics": "bound_metrics",
                    "align_metrics": "align_metrics",
                    "align": "params:align",
                    "sampling": "params:sampling",
                },
                outputs="release",
            )
        ]
    )
