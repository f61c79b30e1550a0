"""The `reward` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.reward.nodes import report_reward, score_candidates, train_reward_model


def create_pipeline() -> Pipeline:
    """candidates + scores → reward model, its embeddings and its quality."""
    return Pipeline(
        [
            Node(
                train_reward_model,
                ["candidate_images", "prompt_masks", "scores", "params:reward"],
                ["reward_model", "reward_history"],
                name="train_reward_model",
            ),
            Node(
                score_candidates,
                ["reward_model", "candidate_images", "prompt_masks", "scores", "params:reward"],
                "embeddings",
                name="score_candidates_with_reward",
            ),
            Node(
                report_reward,
                ["embeddings", "scores", "noiseless", "reward_history", "params:reward"],
                ["reward_metrics", "reward_figure"],
                name="report_reward",
            ),
        ]
    )
