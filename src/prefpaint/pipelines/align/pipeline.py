"""The `align` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.align.nodes import align_base, report_alignment, train_referee


def create_pipeline() -> Pipeline:
    """base model + trusted reward → aligned model, watched by a referee."""
    return Pipeline(
        [
            Node(
                name="train_referee",
                func=train_referee,
                inputs=["candidate_images", "prompt_masks", "scores", "params:reward"],
                outputs="referee_model",
            ),
            Node(
                name="align_base_model",
                func=align_base,
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
                    "workspace": "align_workspace",
                    "config": "params:align",
                    "gamma": "params:gamma",
                    "sampling": "params:sampling",
                    "reward": "params:reward",
                },
                outputs=["aligned_model", "align_history", "align_watched"],
            ),
            Node(
                name="report_alignment",
                func=report_alignment,
                inputs=["align_history", "align_watched", "trust", "params:align", "params:gamma"],
                outputs=["align_metrics", "align_figure"],
            ),
        ]
    )
