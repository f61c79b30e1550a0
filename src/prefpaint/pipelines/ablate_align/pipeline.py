"""The `ablate_align` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.ablate_align.nodes import ablate_align


def create_pipeline() -> Pipeline:
    """Base model and trusted reward → what ways of aligning come to."""
    return Pipeline(
        [
            Node(
                name="ablate_align",
                func=ablate_align,
                inputs={
                    "base_model": "base_model",
                    "reward_model": "reward_model",
                    "trust": "trust",
                    "referee": "referee_model",
                    "prompts": "prompts",
                    "prompt_images": "prompt_images",
                    "prompt_masks": "prompt_masks",
                    "candidate_images": "candidate_images",
                    "scores": "scores",
                    "taste": "taste",
                    "judge": "judge",
                    "workspace": "ablate_align_workspace",
                    "align": "params:align",
                    "gamma": "params:gamma",
                    "sampling": "params:sampling",
                    "reward": "params:reward",
                    "config": "params:ablate_align",
                },
                outputs=["ablate_align_table", "ablate_align_curves", "ablate_align_markdown", "ablate_align_figure"],
            )
        ]
    )
