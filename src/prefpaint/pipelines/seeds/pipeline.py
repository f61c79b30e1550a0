"""The `seeds` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.seeds.nodes import repeat_training


def create_pipeline() -> Pipeline:
    """Everything up to scores + further seeds → one table of gains."""
    return Pipeline(
        [
            Node(
                name="repeat_training",
                func=repeat_training,
                inputs={
                    "base_model": "base_model",
                    "prompts": "prompts",
                    "scores": "scores",
                    "prompt_images": "prompt_images",
                    "prompt_masks": "prompt_masks",
                    "candidate_images": "candidate_images",
                    "evaluate_metrics": "evaluate_metrics",
                    "taste": "taste",
                    "judge": "judge",
                    "workspace": "seeds_workspace",
                    "sampling": "params:sampling",
                    "reward": "params:reward",
                    "bound": "params:bound",
                    "gamma": "params:gamma",
                    "align": "params:align",
                    "evaluate": "params:evaluate",
                    "config": "params:seeds",
                },
                outputs=["seeds_table", "seeds_markdown"],
            )
        ]
    )
