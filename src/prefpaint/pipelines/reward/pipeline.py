"""The `reward` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.reward.nodes import report_reward, score_candidates, train_reward_model


def create_pipeline() -> Pipeline:
    """candidates + scores → reward model, its embeddings and its quality."""
    return Pipeline(
        [
            Node(
                name="train_reward_model",
                func=train_reward_model,
                inputs=["candidate_images", "prompt_masks", "prompts", "scores", "params:reward"],
                outputs=["reward_model", "reward_history"],
            ),
            Node(
                name="score_candidates_with_reward",
                func=score_candidates,
                inputs=["reward_model", "candidate_images", "prompt_masks", "prompts", "scores", "params:reward"],
                outputs="embeddings",
            ),
            Node(
                name="report_reward",
                func=report_reward,
                inputs=["embeddings", "scores", "noiseless", "reward_history", "params:reward"],
                outputs=["reward_metrics", "reward_figure"],
            ),
        ]
    )
