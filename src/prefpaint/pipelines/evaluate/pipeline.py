"""The `evaluate` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.evaluate import nodes
from prefpaint.pipelines.wiring import named


def create_pipeline() -> Pipeline:
    """Base and aligned model on evaluation prompts → judged samples → numbers and pictures."""
    files = {"images": "prompt_images", "masks": "prompt_masks"}
    return Pipeline(
        [
            Node(
                name="paint_with_both_models",
                func=nodes.paint_comparison,
                inputs=named(
                    "prompts",
                    **files,
                    base="base_model",
                    aligned="aligned_model",
                    sampling="params:sampling",
                    config="params:evaluate",
                ),
                outputs="evaluation_images",
            ),
            Node(
                name="judge_both_models",
                func=nodes.judge_comparison,
                inputs=named(
                    "prompts",
                    "trust",
                    "taste",
                    "judge",
                    **files,
                    painted="evaluation_images",
                    reward="reward_model",
                    workspace="evaluation_workspace",
                    config="params:evaluate",
                ),
                outputs="evaluation",
            ),
            Node(
                name="try_the_raters",
                func=nodes.try_the_raters,
                inputs=named(
                    "prompts",
                    "taste",
                    "judge",
                    **files,
                    base="base_model",
                    sampling="params:sampling",
                    config="params:evaluate",
                ),
                outputs=["sanity_table", "sanity_metrics"],
            ),
            Node(
                name="measure_win_rates",
                func=nodes.measure_comparison,
                inputs=["evaluation", "params:evaluate"],
                outputs=["evaluate_table", "evaluate_metrics"],
            ),
            Node(
                name="compare_all_methods",
                func=nodes.compare_all_methods,
                inputs=["evaluation", "params:evaluate"],
                outputs=["methods_table", "win_rates", "methods_metrics", "methods_figure"],
            ),
            Node(
                name="score_with_other_models",
                func=nodes.score_with_other_models,
                inputs=["evaluation", "evaluation_images", "prompt_images", "params:evaluate"],
                outputs=["learned_table", "learned_metrics"],
            ),
            Node(
                name="draw_win_rates",
                func=nodes.draw_comparison,
                inputs=["evaluate_table", "evaluation"],
                outputs="evaluate_figure",
            ),
            Node(
                name="draw_gallery",
                func=nodes.draw_gallery,
                inputs=["evaluation", "evaluation_images", "prompt_images", "prompt_masks", "params:evaluate"],
                outputs="evaluate_gallery",
            ),
        ]
    )
