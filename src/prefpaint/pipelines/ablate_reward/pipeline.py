"""The `ablate_reward` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.ablate_reward.nodes import ablate_reward


def create_pipeline() -> Pipeline:
    """Scores and candidates → accuracy of reward models trained in different ways."""
    return Pipeline(
        [
            Node(
                ablate_reward,
                [
                    "candidate_images",
                    "prompt_masks",
                    "candidates",
                    "scores",
                    "noiseless",
                    "ablate_reward_workspace",
                    "params:reward",
                    "params:ablate_reward",
                ],
                ["ablate_reward_table", "ablate_reward_markdown", "ablate_reward_figure"],
                name="ablate_reward",
            )
        ]
    )
