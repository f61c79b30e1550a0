"""The same training again from other seeds, and with the true objective as reward (the oracle)."""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.job import Job
from prefpaint.alignment.run import align
from prefpaint.alignment.scorers import Scores
from prefpaint.config import fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.evaluation.config import EvaluateConfig
from prefpaint.evaluation.measures import flat_metrics, measure
from prefpaint.evaluation.samples import evaluation_work, judge_samples, make_judges, plan_samples
from prefpaint.evaluation.stlpips import outside_judges
from prefpaint.experiments.seeds_config import SeedsConfig
from prefpaint.files import whole_file
from prefpaint.images import ImageFolder, complete_folder
from prefpaint.inpainting.checkpoint import weights_digest
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.preferences.simulated import NoiselessRater
from prefpaint.reward.config import RewardConfig
from prefpaint.reward.model import RewardModel
from prefpaint.reward.training import RatedImages, train_reward
from prefpaint.trust.calibration import judge
from prefpaint.trust.config import BoundConfig, GammaConfig
from prefpaint.trust.fit import Embedded, Trust, fit_trust

ORACLE = "oracle"


@dataclass(frozen=True)
class NoiselessReward:
    """The simulated raters' noiseless score as the reward, fully trusted."""

    rater: NoiselessRater

    def __call__(self, images: np.ndarray, masks: np.ndarray) -> Scores:
        score = self.rater.score(images, masks)
        return Scores(score, np.zeros(len(score)), np.ones(len(score)))


@dataclass(frozen=True)
class Project:
    """Everything one training run starts from.

    Attributes:
        base: the base pipeline.
        prompts, scores: tables.
        prompt_images, prompt_masks, candidate_images: folders.
        rater: the simulated raters without their noise; None when people rated.
        sampling, reward, bound, gamma, align, evaluate: configurations.
    """

    base: Any
    prompts: pd.DataFrame
    scores: pd.DataFrame
    prompt_images: ImageFolder
    prompt_masks: ImageFolder
    candidate_images: ImageFolder
    rater: NoiselessRater | None
    sampling: SamplingConfig
    reward: RewardConfig
    bound: BoundConfig
    gamma: GammaConfig
    align: AlignConfig
    evaluate: EvaluateConfig

    def rated(self, split: str) -> RatedImages:
        """The rated candidates of one split."""
        return RatedImages.of(self.candidate_images, self.prompt_masks, self.scores[self.scores["split"] == split])


def _trust(project: Project, model: RewardModel) -> Trust:
    """Trust in one reward model. The raters' noise enters only the bound, never a width, so it is not looked up."""

    def embedded(split: str) -> Embedded:
        data, size = project.rated(split), project.reward.score_batch
        rows = [np.arange(start, min(start + size, len(data.scores))) for start in range(0, len(data.scores), size)]
        rewards, z = zip(*(model.score(*data.load(part)) for part in rows), strict=True)
        return Embedded(np.concatenate(z), np.concatenate(rewards), data.scores, data.prompt_ids)

    train, validation = embedded("train"), embedded("validation")
    members = model.member_psis().double().numpy() if len(model.heads) > 1 else None
    trust = fit_trust(train, validation, project.bound, whole_norm=model.whole_norm, members=members)
    return judge(trust, validation, project.gamma, project.bound)


def train_and_evaluate(project: Project, seed: int, oracle: bool, workspace: Path) -> dict[str, float | int]:
    """Reward, bound, alignment and evaluation from one seed; resumes where a killed call stopped.

    Args:
        project: what to start from.
        seed: of reward training and of alignment.
        oracle: align to the noiseless score; the learned reward is still trained, to judge by.
        workspace: folder that only this run uses.

    Returns:
        The metrics of `evaluation.measures.flat_metrics`.

    Raises:
        PrefPaintError: the oracle is requested, but people rated.
    """
    if oracle and project.rater is None:
        raise PrefPaintError("seeds.oracle: only simulated raters have a noiseless score; set it to false")
    reward_config = project.reward.model_copy(update={"seed": seed})
    align_config = project.align.model_copy(update={"seed": seed})
    workspace.mkdir(parents=True, exist_ok=True)
    stamp = fingerprint(
        weights_digest(project.base),
        project.prompts[["prompt_id", "image_sha256", "mask_sha256"]].to_dict("records"),
        project.scores[["candidate_id", "score"]].to_dict("records"),
        *(project.sampling, reward_config, project.bound, project.gamma, align_config),
        project.evaluate.model_dump(mode="json", include={"seed", "splits", "best_of", "resamples"}),
        project.rater.digest() if project.rater else None,
        oracle,
    )
    done = workspace / "metrics.json"
    if done.exists():
        saved = json.loads(done.read_text())
        if saved["stamp"] == stamp:
            return dict(saved["metrics"])
    model, _ = train_reward(project.rated("train"), project.rated("validation"), reward_config)
    trust = _trust(project, model)
    referee, _ = train_reward(project.rated("test"), project.rated("validation"), reward_config)
    job = Job(
        base=project.base,
        reward_model=model,
        trust=trust,
        referee=referee,
        prompts=project.prompts,
        prompt_images=project.prompt_images,
        prompt_masks=project.prompt_masks,
        candidate_images=project.candidate_images,
        scores=project.scores,
        rater=project.rater,
        config=align_config,
        gamma=project.gamma,
        sampling=project.sampling,
        reward=reward_config,
        scorer=NoiselessReward(project.rater) if oracle and project.rater else None,
    )
    aligned = copy.copy(project.base)
    aligned.unet = align(job, workspace / "align").unet
    painted = ImageFolder(workspace / "images")
    loaders = {"base": lambda: project.base, "aligned": lambda: aligned}
    images, masks = project.prompt_images, project.prompt_masks
    # Other methods do not change with the training seed.
    evaluate = project.evaluate.model_copy(update={"methods": {}})
    complete_folder(painted, evaluation_work(loaders, project.prompts, images, masks, project.sampling, evaluate))
    plan = plan_samples(project.prompts, evaluate)
    judges = make_judges(model, trust, project.rater, outside_judges())
    judged = judge_samples(plan, painted, images, masks, judges, workspace / "judged")
    metrics = flat_metrics(measure(judged, evaluate))
    with whole_file(done) as temporary:
        temporary.write_text(json.dumps({"stamp": stamp, "metrics": metrics}, sort_keys=True))
    return metrics


def repeat_training(
    project: Project, first: Mapping[str, float | int], config: SeedsConfig, workspace: Path
) -> pd.DataFrame:
    """One row per training run, the first run's included.

    Args:
        project: what every run starts from.
        first: metrics of the first run, as the `evaluate` pipeline wrote them.
        config: further seeds, and whether to run the oracle.
        workspace: folder for all runs.

    Returns:
        Column run ("seed 0", …, "oracle"), then every metric.
    """
    rows: list[dict[str, Any]] = [{"run": f"seed {project.align.seed}", **first}]
    for seed in config.seeds:
        rows.append({"run": f"seed {seed}", **train_and_evaluate(project, seed, False, workspace / f"seed_{seed}")})
    if config.oracle and project.rater is not None:
        rows.append({"run": ORACLE, **train_and_evaluate(project, project.align.seed, True, workspace / ORACLE)})
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
