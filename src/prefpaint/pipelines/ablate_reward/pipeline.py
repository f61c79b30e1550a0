"""The `ablate_reward` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.ablate_reward.nodes import ablate_reward
from prefpaint.pipelines.wiring import named


def create_pipeline() -> Pipeline:
    """Scores and candidates → accuracy of reward models trained in different ways."""
    return Pipeline(
        [
            Node(
                name="ablate_reward",
                func=ablate_reward,
                inputs=named(
                    "candidate_images",
                    "prompt_masks",
                    "candidates",
                    "prompts",
                    "scores",
                    "noiseless",
                    workspace="ablate_reward_workspace",
                    reward="params:reward",
                    config="params:ablate_reward",
                ),
                outputs=["ablate_reward_table", "ablate_reward_markdown", "ablate_reward_figure"],
            )
        ]
    )
