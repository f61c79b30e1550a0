"""The `align` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.align.nodes import align_base, report_alignment, train_referee


def create_pipeline() -> Pipeline:
    """base model + trusted reward → aligned model, watched by a referee."""
    return Pipeline(
        [
            Node(
                train_referee,
                ["candidate_images", "prompt_masks", "scores", "params:reward"],
                "referee_model",
                name="train_referee",
            ),
            Node(
                align_base,
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
                    "align_workspace",
                    "params:align",
                    "params:sampling",
                    "params:reward",
                    "taste",
                    "judge",
                ],
                ["aligned_model", "align_history", "align_watched"],
                name="align_base_model",
            ),
            Node(
                report_alignment,
                ["align_history", "align_watched", "trust", "params:align"],
                ["align_metrics", "align_figure"],
                name="report_alignment",
            ),
        ]
    )
