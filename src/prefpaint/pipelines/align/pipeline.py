"""The `align` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.align.nodes import align_base, report_alignment


def create_pipeline() -> Pipeline:
    """base model + trusted reward → aligned model."""
    return Pipeline(
        [
            Node(
                align_base,
                [
                    "base_model",
                    "reward_model",
                    "trust",
                    "prompts",
                    "prompt_images",
                    "prompt_masks",
                    "align_workspace",
                    "params:align",
                    "params:sampling",
                    "params:reward",
                ],
                ["aligned_model", "align_history"],
                name="align_base_model",
            ),
            Node(
                report_alignment,
                ["align_history", "trust", "params:align"],
                ["align_metrics", "align_figure"],
                name="report_alignment",
            ),
        ]
    )
