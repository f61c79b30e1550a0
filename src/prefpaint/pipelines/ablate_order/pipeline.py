"""The `ablate_order` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.ablate_order.nodes import ablate_order
from prefpaint.pipelines.wiring import named


def create_pipeline() -> Pipeline:
    """Scores and candidates → accuracy of rewards of prompts rated in two orders."""
    return Pipeline(
        [
            Node(
                name="ablate_order",
                func=ablate_order,
                inputs=named(
                    "candidate_images",
                    "prompt_masks",
                    "candidates",
                    "prompts",
                    "scores",
                    "noiseless",
                    workspace="ablate_order_workspace",
                    reward="params:reward",
                    config="params:ablate_order",
                ),
                outputs=["ablate_order_table", "ablate_order_markdown", "ablate_order_figure"],
            )
        ]
    )
