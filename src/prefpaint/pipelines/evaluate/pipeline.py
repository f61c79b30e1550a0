"""The `evaluate` pipeline."""

from kedro.pipeline import Pipeline, node

from prefpaint.pipelines.evaluate import nodes


def create_pipeline() -> Pipeline:
    """Base and aligned model on evaluation prompts → judged samples → numbers, pictures and the page."""
    prompt_files = ["prompt_images", "prompt_masks"]
    figures = [
        "masks_preview",
        "candidates_preview",
        "preferences_figure",
        "reward_figure",
        "bound_figure",
        "trust_figure",
    ]
    metrics = ["preferences_metrics", "reward_metrics", "bound_metrics", "align_metrics", "evaluate_metrics"]
    return Pipeline(
        [
            node(
                nodes.paint_comparison,
                ["base_model", "aligned_model", "prompts", *prompt_files, "params:sampling", "params:evaluate"],
                "evaluation_images",
                name="paint_with_both_models",
            ),
            node(
                nodes.judge_comparison,
                [
                    "evaluation_images",
                    "prompts",
                    *prompt_files,
                    "reward_model",
                    "trust",
                    "taste",
                    "judge",
                    "evaluation_workspace",
                    "params:evaluate",
                ],
                "evaluation",
                name="judge_both_models",
            ),
            node(
                nodes.try_the_raters,
                ["base_model", "prompts", *prompt_files, "taste", "judge", "params:sampling", "params:evaluate"],
                ["sanity_table", "sanity_metrics"],
                name="try_the_raters",
            ),
            node(
                nodes.measure_comparison,
                ["evaluation", "params:evaluate"],
                ["evaluate_table", "evaluate_metrics"],
                name="measure_win_rates",
            ),
            node(
                nodes.compare_all_methods,
                ["evaluation", "params:evaluate"],
                ["methods_table", "win_rates", "methods_metrics", "methods_figure"],
                name="compare_all_methods",
            ),
            node(
                nodes.score_with_other_models,
                ["evaluation", "evaluation_images", "prompt_images", "params:evaluate"],
                ["learned_table", "learned_metrics"],
                name="score_with_other_models",
            ),
            node(nodes.draw_comparison, ["evaluate_table", "evaluation"], "evaluate_figure", name="draw_win_rates"),
            node(
                nodes.draw_gallery,
                ["evaluation", "evaluation_images", *prompt_files, "params:evaluate"],
                "evaluate_gallery",
                name="draw_gallery",
            ),
            node(
                nodes.write_report,
                [
                    "evaluate_table",
                    "evaluation",
                    "evaluation_images",
                    *prompt_files,
                    *metrics,
                    "methods_metrics",
                    "methods_table",
                    "methods_figure",
                    "learned_table",
                    "learned_metrics",
                    "sanity_table",
                    "sanity_metrics",
                    *figures,
                    "bound_worlds",
                    "align_figure",
                    "evaluate_figure",
                    "extend_metrics",
                    "extend_figure",
                    "novel_view_metrics",
                    "novel_view_figure",
                    "taste",
                    "params:evaluate",
                ],
                "report",
                name="write_report",
            ),
        ]
    )
