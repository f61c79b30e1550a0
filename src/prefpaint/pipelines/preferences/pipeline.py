"""The `preferences` pipeline: collect, check, score, report."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.preferences.nodes import check_preferences, collect_ratings, report_preferences, score


def create_pipeline() -> Pipeline:
    """Ratings to scores; nothing is saved before the checks across tables have passed."""
    return Pipeline(
        [
            Node(
                collect_ratings,
                inputs=[
                    "rating_store",
                    "candidates",
                    "candidate_images",
                    "prompt_masks",
                    "judge",
                    "params:preferences",
                ],
                outputs=["collected_ratings", "collected_comparisons", "opinions", "collected_taste"],
                name="collect_ratings",
            ),
            Node(
                check_preferences,
                inputs=[
                    "collected_ratings",
                    "collected_comparisons",
                    "collected_taste",
                    "candidates",
                    "prompts",
                    "candidate_images",
                    "prompt_images",
                    "prompt_masks",
                    "preference_rules",
                ],
                outputs=["ratings", "comparisons", "taste", "preference_checks"],
                name="check_preferences",
            ),
            Node(
                score,
                inputs=["ratings", "comparisons", "candidates", "prompts", "opinions"],
                outputs=["scores", "normalisation", "noiseless"],
                name="score_candidates",
            ),
            Node(
                report_preferences,
                inputs=[
                    "ratings",
                    "comparisons",
                    "scores",
                    "normalisation",
                    "noiseless",
                    "preference_checks",
                    "params:preferences",
                ],
                outputs=["preferences_metrics", "preferences_figure"],
                name="report_preferences",
            ),
        ]
    )
