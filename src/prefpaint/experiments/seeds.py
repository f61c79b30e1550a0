"""The same training again from other seeds, and with the true objective as reward (the oracle)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefpaint.alignment.config import PRESETS
from prefpaint.alignment.job import Job
from prefpaint.alignment.rewards import digests
from prefpaint.alignment.run import align
from prefpaint.alignment.scorers import Scores
from prefpaint.config import fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.evaluation.config import EvaluateConfig
from prefpaint.evaluation.measures import flat_metrics, measure
from prefpaint.evaluation.samples import evaluation_work, judge_samples, make_judges, plan_samples
from prefpaint.evaluation.stlpips import outside_judges
from prefpaint.experiments.runs import trust_in
from prefpaint.experiments.seeds_config import SeedsConfig
from prefpaint.files import kept_json, whole_file
from prefpaint.images import ImageFolder, complete_folder
from prefpaint.inpainting.checkpoint import weights_digest
from prefpaint.inpainting.families.registry import with_network
from prefpaint.masks.words import text_prompts
from prefpaint.preferences.simulated import NoiselessRater
from prefpaint.reward.training import RatedImages, train_reward
from prefpaint.trust.config import BoundConfig

ORACLE = "oracle"


@dataclass(frozen=True)
class NoiselessReward:
    """The simulated raters' noiseless score as the reward, fully trusted."""

    rater: NoiselessRater

    def __call__(self, images: np.ndarray, masks: np.ndarray, texts: Sequence[str] = ()) -> Scores:
        score = self.rater.score(images, masks)
        return Scores(score, np.zeros(len(score)), np.ones(len(score)))


@dataclass(frozen=True)
class Plan:
    """What every training run starts from.

    Attributes:
        job: of the project's alignment; reward, trust, referee and seeds are each run's own.
        bound, evaluate: configurations.
    """

    job: Job
    bound: BoundConfig
    evaluate: EvaluateConfig

    def rated(self, split: str) -> RatedImages:
        """The rated candidates of one split."""
        return self.job.rated(split)


def train_and_evaluate(plan: Plan, seed: int, oracle: bool, workspace: Path) -> dict[str, float | int]:
    """Reward, bound, alignment and evaluation from one seed; resumes where a killed call stopped.

    Args:
        plan: what to start from.
        seed: of reward training and of alignment.
        oracle: align to the noiseless score; the learned reward is still trained, to judge by.
        workspace: folder that only this run uses.

    Returns:
        The metrics of `evaluation.measures.flat_metrics`.

    Raises:
        PrefPaintError: the oracle is requested, but people rated.
    """
    job = plan.job
    if oracle and job.rater is None:
        raise PrefPaintError("seeds.oracle: only simulated raters have a noiseless score; set it to false")
    reward_config = job.reward.model_copy(update={"seed": seed})
    align_config = job.config.model_copy(update={"seed": seed})
    workspace.mkdir(parents=True, exist_ok=True)
    stamp = fingerprint(
        weights_digest(job.base),
        job.prompts[["prompt_id", "image_sha256", "mask_sha256"]].to_dict("records"),
        job.scores[["candidate_id", "score"]].to_dict("records"),
        *(job.sampling, reward_config, plan.bound, job.gamma, align_config, digests(align_config)),
        plan.evaluate.model_dump(mode="json", include={"seed", "splits", "best_of", "resamples"}),
        job.rater.digest() if job.rater else None,
        oracle,
        # Runs from before prompts had words stay valid without any.
        *([words] if any((words := text_prompts(job.prompts)).values()) else []),
    )
    done = workspace / "metrics.json"
    saved = kept_json(done, "stamp", "metrics")
    if saved.get("stamp") == stamp:
        return dict(saved["metrics"])
    train, validation = plan.rated("train"), plan.rated("validation")
    model, _ = train_reward(train, validation, reward_config)
    trust = trust_in(model, train, validation, job.reward.score_batch, plan.bound, job.gamma)
    referee, _ = train_reward(plan.rated("test"), validation, reward_config)
    job = replace(
        job,
        reward_model=model,
        trust=trust,
        referee=referee,
        config=align_config,
        reward=reward_config,
        scorer=NoiselessReward(job.rater) if oracle and job.rater else None,
    )
    aligned = with_network(job.base, align(job, workspace / "align").network)
    painted = ImageFolder(workspace / "images")
    loaders = {"base": lambda: job.base, "aligned": lambda: aligned}
    images, masks = job.prompt_images, job.prompt_masks
    # Other methods do not change with the training seed.
    evaluate = plan.evaluate.model_copy(update={"methods": {}})
    complete_folder(painted, evaluation_work(loaders, job.prompts, images, masks, job.sampling, evaluate))
    samples = plan_samples(job.prompts, evaluate)
    judges = make_judges(model, trust, job.rater, outside_judges())
    judged = judge_samples(samples, painted, images, masks, judges, workspace / "judged")
    metrics = flat_metrics(measure(judged, evaluate))
    with whole_file(done) as temporary:
        temporary.write_text(json.dumps({"stamp": stamp, "metrics": metrics}, sort_keys=True))
    return metrics


def repeat_training(plan: Plan, first: Mapping[str, float | int], config: SeedsConfig, workspace: Path) -> pd.DataFrame:
    """One row per training run, the first run's included.

    Args:
        plan: what every run starts from.
        first: metrics of the first run, as the `evaluate` pipeline wrote them.
        config: further seeds, and whether to run the oracle.
        workspace: folder for all runs.

    Returns:
        Column run ("seed 0", …, "oracle"), then every metric.
    """
    mode = plan.job.config.mode
    if config.oracle and plan.job.rater is not None and not PRESETS[mode].compares:
        raise PrefPaintError(f"seeds.oracle: mode {mode} of align cannot raise the noiseless score; set it to false")
    rows: list[dict[str, Any]] = [{"run": f"seed {plan.job.config.seed}", **first}]
    for seed in config.seeds:
        rows.append({"run": f"seed {seed}", **train_and_evaluate(plan, seed, False, workspace / f"seed_{seed}")})
    if config.oracle and plan.job.rater is not None:
        rows.append({"run": ORACLE, **train_and_evaluate(plan, plan.job.config.seed, True, workspace / ORACLE)})
    return pd.DataFrame(rows)


def seeds_markdown(table: pd.DataFrame, splits: tuple[str, ...]) -> str:
    """The runs as a Markdown table: win rates with 95 % intervals and the change of the mean.

    Args:
        table: of `repeat_training`.
        splits: to show.
    """
    judge = "noiseless" if f"{splits[0]}_noiseless_win_rate_independent_s1" in table else "reward"
    columns = [
        ("win rate, independent noise", "win_rate_independent_s1", 100),
        ("win rate, equal noise", "win_rate_equal_s1", 100),
        ("base against base", "win_rate_base_base_s1", 100),
        ("change of the mean score", "difference", 1),
    ]
    lines = [
        "| run | prompts | " + " | ".join(title for title, _, _ in columns) + " |",
        "| --- | --- | " + " | ".join("---" for _ in columns) + " |",
    ]
    for split in splits:
        for row in table.to_dict("records"):
            cells = []
            for _, name, scale in columns:
                value, low, high = (row[f"{split}_{judge}_{name}{end}"] * scale for end in ("", "_low", "_high"))
                form = "{:.1f} % [{:.1f}, {:.1f}]" if scale == 100 else "{:+.3f} [{:+.3f}, {:+.3f}]"
                cells.append(form.format(value, low, high))
            lines.append(f"| {row['run']} | {split} | " + " | ".join(cells) + " |")
    judged = "the simulated raters' noiseless score" if judge == "noiseless" else "the learned reward"
    return f"Judged by {judged}; 95 % intervals over prompts.\n\n" + "\n".join(lines) + "\n"
