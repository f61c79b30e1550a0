"""Nodes of the `evaluate` pipeline; the work is done in `evaluation`."""

from pathlib import Path
from typing import Any

import pandas as pd

from prefpaint.evaluation.config import EvaluateConfig
from prefpaint.images import ImageFolder, ImageWork
from prefpaint.inpainting.config import SamplingConfig


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
    from prefpaint.evaluation.stlpips import outside_judges

    check_checkpoints(config.scores)
    # What is not installed is found now as well.
    outside_judges()
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
    judge: Any,
    workspace: Path,
    config: EvaluateConfig,
) -> pd.DataFrame:
    """Reward, trust width, distance to the original where there is one, and the simulated raters' noiseless score."""
    from prefpaint import distributed
    from prefpaint.evaluation.samples import judge_samples, make_judges, plan_samples
    from prefpaint.evaluation.stlpips import outside_judges
    from prefpaint.preferences.simulated import NoiselessRater

    reward.to(distributed.device())
    judges = make_judges(reward, trust, NoiselessRater.read(taste, judge), outside_judges())
    return judge_samples(plan_samples(prompts, config), painted, images, masks, judges, workspace)


def try_the_raters(
    base: Any,
    prompts: pd.DataFrame,
    images: ImageFolder,
    masks: ImageFolder,
    taste: dict[str, Any],
    judge: Any,
    sampling: SamplingConfig,
    config: EvaluateConfig,
) -> tuple[pd.DataFrame, dict[str, float | int]]:
    """How often the simulated raters order pairs as any person would; empty where people rated."""
    from prefpaint.evaluation.sanity import sanity_metrics, sanity_table, trials
    from prefpaint.inpainting.sampling import Inpainter
    from prefpaint.preferences.simulated import NoiselessRater

    rater = NoiselessRater.read(taste, judge)
    tried = {} if rater is None else trials(prompts, images, masks, Inpainter(base, sampling).sample, config.seed)
    table = sanity_table(rater, tried, config.resamples, config.seed)
    return table, sanity_metrics(table)


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
    from prefpaint.reporting.figures import draw_win_rates

    return draw_win_rates(table, evaluation)


def draw_gallery(
    evaluation: pd.DataFrame, painted: ImageFolder, images: ImageFolder, masks: ImageFolder, config: EvaluateConfig
) -> Any:
    """Prompt, original, base and aligned side by side."""
    from prefpaint.reporting import figures

    return figures.draw_gallery(figures.choose_rows(evaluation, painted, images, masks, config.gallery))
