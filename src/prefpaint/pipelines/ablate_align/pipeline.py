"""The `ablate_align` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.ablate_align.nodes import ablate_align


def create_pipeline() -> Pipeline:
    """Base model and trusted reward → what ways of aligning come to."""
    return Pipeline(
        [
            Node(
                ablate_align,
                [
                    "base_model",
                    "reward_model",
                    "trust",
                    "referee_model",
                    "prompts",
                    "prompt_images",
                    "prompt_masks",
                    "candidate_images",
                    "scores",
                    "ablate_align_workspace",
                    "params:align",
                    "params:sampling",
                    "params:reward",
                    "taste",
                    "judge",
                    "params:ablate_align",
                ],
                ["ablate_align_table", "ablate_align_curves", "ablate_align_markdown", "ablate_align_figure"],
                name="ablate_align",
            )
        ]
    )
