"""Nodes of the `evaluate` pipeline; the work is done in `evaluation`."""

from pathlib import Path
from typing import Any

import pandas as pd

from prefpaint.evaluation.config import EvaluateConfig
from prefpaint.images import ImageFolder, ImageWork
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.preferences.taste import Taste


def paint_comparison(
    base: Any,
    aligned: Any,
    prompts: pd.DataFrame,
    images: ImageFolder,
    masks: ImageFolder,
    sampling: SamplingConfig,
    config: EvaluateConfig,
) -> ImageWork:
    """Samples of all methods on the evaluation prompts, from equal and from independent noise."""
    from prefpaint.evaluation.learned import check_checkpoints
    from prefpaint.evaluation.samples import evaluation_work, method_loaders

    check_checkpoints(config.scores)
    loaders = {"base": lambda: base, "aligned": lambda: aligned, **method_loaders(config)}
    return evaluation_work(loaders, prompts, images, masks, sampling, config)


def judge_comparison(
    painted: ImageFolder,
    prompts: pd.DataFrame,
    images: ImageFolder,
    masks: ImageFolder,
    reward: Any,
    trust: Any,
    taste: dict[str, Any],
    workspace: Path,
    config: EvaluateConfig,
) -> pd.DataFrame:
    """Reward, trust width and, with simulated raters, the noiseless score of every sample."""
    from prefpaint import distributed
    from prefpaint.evaluation.samples import judge_samples, make_judges, plan_samples

    reward.to(distributed.device())
    judges = make_judges(reward, trust, Taste.read(taste))
    return judge_samples(plan_samples(prompts, config), painted, images, masks, judges, workspace)


def measure_comparison(evaluation: pd.DataFrame, config: EvaluateConfig) -> tuple[pd.DataFrame, dict[str, float | int]]:
    """Win rates, means and intervals, as a table and as flat metrics."""
    from prefpaint.evaluation.measures import flat_metrics, measure

    table = measure(evaluation, config)
    return table, flat_metrics(table)


def compare_all_methods(
    evaluation: pd.DataFrame, config: EvaluateConfig
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, float | int], Any]:
    """Every method against every other: table, win rates against the base, flat metrics, heat map."""
    from prefpaint.evaluation.methods import compare_methods, draw_duels, methods_metrics, win_rates_against_base

    table = compare_methods(evaluation, config)
    return table, win_rates_against_base(table), methods_metrics(table), draw_duels(table)


def score_with_other_models(
    evaluation: pd.DataFrame, painted: ImageFolder, images: ImageFolder, config: EvaluateConfig
) -> tuple[pd.DataFrame, dict[str, float | int]]:
    """What other people's models make of the fills, as a table and as flat metrics."""
    from prefpaint.evaluation.learned import learned_metrics, learned_scores

    table = learned_scores(evaluation, painted, images, config)
    return table, learned_metrics(table)


def draw_comparison(table: pd.DataFrame, evaluation: pd.DataFrame) -> Any:
    """Win rates with intervals."""
    from prefpaint.evaluation.figures import draw_win_rates

    return draw_win_rates(table, evaluation)


def draw_gallery(
    evaluation: pd.DataFrame, painted: ImageFolder, images: ImageFolder, masks: ImageFolder, config: EvaluateConfig
) -> Any:
    """Prompt, original, base and aligned side by side."""
    from prefpaint.evaluation import figures

    return figures.draw_gallery(figures.choose_rows(evaluation, painted, images, masks, config.gallery))


def write_report(
    table: pd.DataFrame,
    evaluation: pd.DataFrame,
    painted: ImageFolder,
    images: ImageFolder,
    masks: ImageFolder,
    preferences_metrics: dict[str, Any],
    reward_metrics: dict[str, Any],
    bound_metrics: dict[str, Any],
    align_metrics: dict[str, Any],
    evaluate_metrics: dict[str, Any],
    methods_metrics: dict[str, Any],
    methods_table: pd.DataFrame,
    methods_figure: bytes,
    learned_table: pd.DataFrame,
    learned_metrics: dict[str, Any],
    masks_preview: bytes,
    candidates_preview: bytes,
    preferences_figure: bytes,
    reward_figure: bytes,
    bound_figure: bytes,
    trust_figure: bytes,
    bound_worlds: pd.DataFrame,
    align_figure: bytes,
    evaluate_figure: bytes,
    extend_metrics: dict[str, Any],
    extend_figure: bytes,
    novel_view_metrics: dict[str, Any],
    novel_view_figure: bytes,
    taste: dict[str, Any],
    config: EvaluateConfig,
) -> str:
    """One self-contained HTML page."""
    from prefpaint.evaluation.figures import choose_rows
    from prefpaint.evaluation.report import Report, render_report

    return render_report(
        Report(
            simulated=bool(taste),
            table=table,
            methods=methods_table,
            learned=learned_table,
            gallery=choose_rows(evaluation, painted, images, masks, config.gallery),
            metrics={
                "evaluate_metrics": evaluate_metrics,
                "methods_metrics": methods_metrics,
                "learned_metrics": learned_metrics,
                "reward_metrics": reward_metrics,
                "bound_metrics": bound_metrics,
                "align_metrics": align_metrics,
                "preferences_metrics": preferences_metrics,
                "extend_metrics": extend_metrics,
                "novel_view_metrics": novel_view_metrics,
            },
            figures={
                "masks_preview": masks_preview,
                "candidates_preview": candidates_preview,
                "preferences_figure": preferences_figure,
                "reward_figure": reward_figure,
                "bound_figure": bound_figure,
                "trust_figure": trust_figure,
                "align_figure": align_figure,
                "evaluate_figure": evaluate_figure,
                "methods_figure": methods_figure,
                "extend_figure": extend_figure,
                "novel_view_figure": novel_view_figure,
            },
            worlds=bound_worlds,
        )
    )
