"""The `seeds` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.seeds.nodes import repeat_training
from prefpaint.pipelines.wiring import named


def create_pipeline() -> Pipeline:
    """Everything up to scores + further seeds → one table of gains."""
    return Pipeline(
        [
            Node(
                name="repeat_training",
                func=repeat_training,
                inputs=named(
                    "base_model",
                    "prompts",
                    "scores",
                    "prompt_images",
                    "prompt_masks",
                    "candidate_images",
                    "evaluate_metrics",
                    "taste",
                    "judge",
                    workspace="seeds_workspace",
                    sampling="params:sampling",
                    reward="params:reward",
                    bound="params:bound",
                    gamma="params:gamma",
                    align="params:align",
                    evaluate="params:evaluate",
                    config="params:seeds",
                ),
                outputs=["seeds_table", "seeds_markdown"],
            )
        ]
    )
