"""The `seeds` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.seeds.nodes import repeat_training


def create_pipeline() -> Pipeline:
    """Everything up to scores + further seeds → one table of gains."""
    return Pipeline(
        [
            Node(
                repeat_training,
                [
                    "base_model",
                    "prompts",
                    "scores",
                    "prompt_images",
                    "prompt_masks",
                    "candidate_images",
                    "evaluate_metrics",
                    "seeds_workspace",
                    "taste",
                    "judge",
                    "params:sampling",
                    "params:reward",
                    "params:bound",
                    "params:align",
                    "params:evaluate",
                    "params:seeds",
                ],
                ["seeds_table", "seeds_markdown"],
                name="repeat_training",
            )
        ]
    )
