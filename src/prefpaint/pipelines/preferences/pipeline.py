"""The `preferences` pipeline: collect, check, score, report."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.preferences import nodes


def create_pipeline() -> Pipeline:
    """Ratings to scores; nothing is saved before the checks across tables have passed."""
    return Pipeline(
        [
            Node(
                name="collect_ratings",
                func=nodes.collect_ratings,
                inputs=[
                    "rating_store",
                    "candidates",
                    "candidate_images",
                    "prompt_masks",
                    "judge",
                    "params:preferences",
                ],
                outputs=["collected_ratings", "collected_comparisons", "opinions", "collected_taste"],
            ),
            Node(
                name="check_preferences",
                func=nodes.check_preferences,
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
            ),
            Node(
                name="score_candidates",
                func=nodes.score,
                inputs=["ratings", "comparisons", "candidates", "prompts", "opinions"],
                outputs=["scores", "normalisation", "noiseless"],
            ),
            Node(
                name="report_preferences",
                func=nodes.report_preferences,
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
            ),
        ]
    )
