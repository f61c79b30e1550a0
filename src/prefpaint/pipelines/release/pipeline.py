"""The `release` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.release.nodes import release_model


def create_pipeline() -> Pipeline:
    """Aligned model + everything measured → a folder with a model card."""
    metrics = ["preferences_metrics", "reward_metrics", "bound_metrics", "align_metrics"]
    return Pipeline(
        [
            Node(
                release_model,
                [
                    "base_model",
                    "aligned_model",
                    "photograph_table",
                    "prompts",
                    "evaluate_table",
                    "methods_table",
                    *metrics,
                    "params:align",
                    "params:sampling",
                ],
                "release",
                name="release_model",
            )
        ]
    )
