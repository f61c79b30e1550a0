"""The `align` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.align import nodes
from prefpaint.pipelines.wiring import named


def job_node() -> Node:
    """Base model, trusted reward and prompts → `align_job`, which every alignment starts from."""
    return Node(
        name="make_align_job",
        func=nodes.make_job,
        inputs=named(
            "reward_model",
            "trust",
            "prompts",
            "prompt_images",
            "prompt_masks",
            "candidate_images",
            "scores",
            "taste",
            "judge",
            base="base_model",
            referee="referee_model",
            config="params:align",
            gamma="params:gamma",
            sampling="params:sampling",
            reward="params:reward",
        ),
        outputs="align_job",
    )


def create_pipeline() -> Pipeline:
    """base model + trusted reward → aligned model, watched by a referee."""
    return Pipeline(
        [
            Node(
                name="train_referee",
                func=nodes.train_referee,
                inputs=["candidate_images", "prompt_masks", "prompts", "scores", "params:reward"],
                outputs="referee_model",
            ),
            job_node(),
            Node(
                name="align_base_model",
                func=nodes.align_base,
                inputs=["align_job", "align_workspace"],
                outputs=["aligned_model", "align_history", "align_watched"],
            ),
            Node(
                name="report_alignment",
                func=nodes.report_alignment,
                inputs=["align_history", "align_watched", "trust", "params:align", "params:gamma"],
                outputs=["align_metrics", "align_figure"],
            ),
        ]
    )
