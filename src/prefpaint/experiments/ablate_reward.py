"""Objective and frozen share of the reward model compared over seeds (paper, Table 3 right, at this data's scale)."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import rankdata

from prefpaint.config import fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.experiments.ablate_reward_config import AblateRewardConfig
from prefpaint.experiments.runs import of_some_prompts
from prefpaint.files import kept_json, whole_file
from prefpaint.images import ImageFolder
from prefpaint.masks.words import text_prompts
from prefpaint.progress import Progress
from prefpaint.reward.config import RewardConfig
from prefpaint.reward.training import RatedImages, train_reward
from prefpaint.stats.agreement import pairs_within

CONFIGURED = "as configured"
COLOURS = {"regression": "#0072b2", "classification": "#d55e00", "pairwise": "#009e73", CONFIGURED: "#555555"}
TITLES = {"noiseless": "noiseless simulated rater", "ratings": "mean rating"}


@dataclass(frozen=True)
class RatedCandidates:
    """What every training of the comparison starts from.

    Attributes:
        candidate_images: by candidate id.
        prompt_masks: by prompt id.
        checksums: of the images: candidate_id, sha256.
        prompts: prompt_id and, where there are words, text_prompt.
        scores: candidate_id, prompt_id, split, score.
        noiseless: candidate_id, noiseless_score (NaN when people rated).
    """

    candidate_images: ImageFolder
    prompt_masks: ImageFolder
    checksums: pd.DataFrame
    prompts: pd.DataFrame
    scores: pd.DataFrame
    noiseless: pd.DataFrame

    def rated(self, split: str, prompts: int | None = None) -> RatedImages:
        """The rated candidates of one split, or of some of its prompts, evenly spaced in the list."""
        rows = of_some_prompts(self.scores[self.scores["split"] == split], prompts)
        return RatedImages.of(self.candidate_images, self.prompt_masks, rows, text_prompts(self.prompts))

    def truths(self, data: RatedImages) -> dict[str, np.ndarray]:
        """What rewards are judged by: the noiseless score where there is one, and the ratings; (N,) each."""
        noiseless = self.noiseless.set_index("candidate_id")["noiseless_score"].reindex(data.candidate_ids).to_numpy()
        known = {"noiseless": noiseless} if np.isfinite(noiseless).all() else {}
        return {**known, "ratings": data.scores}


def variants(reward: RewardConfig, config: AblateRewardConfig) -> list[tuple[str, RewardConfig]]:
    """Every combination to compare, and the configured reward first; the seed is still to be set."""
    kept = reward.model_dump(include={"text", "levels", "within_prompt", "weight_decay", "score_batch"})
    own = config.model_dump(include={"head", "epochs", "batch", "lr"})
    compared = [
        (
            objective,
            RewardConfig(
                backbone=config.backbone.model_copy(update={"frozen": share}), objective=objective, **kept, **own
            ),
        )
        for objective in config.objectives
        for share in config.frozen
    ]
    return [(CONFIGURED, reward), *compared]


def train_and_score(
    given: RatedCandidates, prompts: int | None, reward: RewardConfig, done: Path
) -> tuple[np.ndarray, float]:
    """Train once and score the test candidates; what an earlier call left in `done` is reused if it still fits.

    Args:
        given: images and scores.
        prompts: how many training prompts; None for all.
        reward: of this one training, its seed set.
        done: file for rewards and time.

    Returns:
        Rewards (N,) float64 of the test candidates and the seconds that training took.
    """
    train, validation, test = given.rated("train", prompts), given.rated("validation"), given.rated("test")
    stamp = fingerprint(
        given.checksums[["candidate_id", "sha256"]].to_dict("records"),
        *([data.candidate_ids, data.scores.tolist()] for data in (train, validation, test)),
        reward,
        *([text_prompts(given.prompts)] if reward.text.checkpoint else []),
    )
    saved = kept_json(done, "stamp", "rewards", "seconds")
    if saved.get("stamp") == stamp:
        return np.array(saved["rewards"]), saved["seconds"]
    started = time.perf_counter()
    model, _ = train_reward(train, validation, reward)
    seconds = time.perf_counter() - started
    rewards = test.scored(model, reward.score_batch)[0].tolist()
    with whole_file(done) as temporary:
        temporary.write_text(json.dumps({"stamp": stamp, "rewards": rewards, "seconds": seconds}))
    return np.array(rewards), seconds


def compare(given: RatedCandidates, reward: RewardConfig, config: AblateRewardConfig, workspace: Path) -> pd.DataFrame:
    """Train every variant from every seed and judge it on the test prompts.

    A killed call resumes with the first training it did not finish.

    Args:
        given: images and scores.
        reward: the project's own configuration; its training is one row.
        config: what to compare with it.
        workspace: folder for finished trainings.

    Returns:
        One row per variant: objective, head, frozen, seeds, train_prompts, test_prompts, seconds (mean per training)
        and for each judge (`noiseless` where raters are simulated, `ratings`) pair_accuracy and spearman, means over
        the seeds with 95 % interval (_low, _high), and pair_accuracy_variance over the seeds.

    Raises:
        PrefPaintError: no test candidate is rated.
    """
    test, train = given.rated("test"), given.rated("train", config.prompts)
    if not test.candidate_ids:
        raise PrefPaintError("scores: no candidate of split test is rated, so nothing can be compared; rate some")
    todo = variants(reward, config)
    rows: list[dict[str, Any]] = []
    with Progress("ablate_reward", len(todo) * len(config.seeds)) as progress:
        for objective, variant in todo:
            runs = []
            for seed in config.seeds:
                name = "configured" if objective == CONFIGURED else f"{objective}_{variant.backbone.frozen:g}"
                seeded = variant.model_copy(update={"seed": seed})
                runs.append(train_and_score(given, config.prompts, seeded, workspace / f"{name}_{seed}.json"))
                progress.step()
            rewards = np.stack([rewards for rewards, _ in runs])
            row: dict[str, Any] = {
                "objective": objective,
                "head": variant.head.kind,
                "frozen": variant.backbone.frozen,
                "seeds": len(config.seeds),
                "train_prompts": len(train.groups()),
                "test_prompts": len(test.groups()),
                "seconds": float(np.mean([seconds for _, seconds in runs])),
            }
            for judge, truth in given.truths(test).items():
                judged = judge_rewards(rewards, truth, test.groups(), config.resamples, reward.seed)
                row |= {f"{judge}_{quantity}": value for quantity, value in judged.items()}
            rows.append(row)
    return pd.DataFrame(rows)


def judge_rewards(
    rewards: np.ndarray, truth: np.ndarray, groups: list[np.ndarray], resamples: int, seed: int
) -> dict[str, float]:
    """Accuracy and rank correlation of S trainings, with 95 % intervals over seeds and prompts together.

    Each bootstrap draw takes S trainings and P prompts, both with replacement (Owen 2007, The Pigeonhole Bootstrap):
    an interval holds for another seed and for other prompts like these. Three seeds show little of the former.

    Args:
        rewards: (S, N), a row per seed.
        truth: (N,).
        groups: row numbers of each of P prompts.
        resamples: bootstrap draws.
        seed: of the draws.

    Returns:
        pair_accuracy, spearman and for each _low and _high; pair_accuracy_variance over the seeds, in squared shares.
    """
    hits, pairs = _pair_hits(rewards, truth, groups)
    rng = np.random.default_rng(seed)
    seeds_drawn = rng.integers(0, len(rewards), (resamples, len(rewards)))
    prompts_drawn = rng.integers(0, len(groups), (resamples, len(groups)))
    draws = list(zip(seeds_drawn, prompts_drawn, strict=True))
    accuracies = hits.sum(1) / pairs.sum()

    def accuracy(runs: np.ndarray, prompts: np.ndarray) -> float:
        return float(hits[runs][:, prompts].sum(1).mean() / max(pairs[prompts].sum(), 1))

    def spearman(runs: np.ndarray, prompts: np.ndarray) -> float:
        rows = np.concatenate([groups[prompt] for prompt in prompts])
        return _mean_spearman(rewards[runs][:, rows], truth[rows])

    found = {"pair_accuracy_variance": float(accuracies.var(ddof=1))}
    measures: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {"pair_accuracy": accuracy, "spearman": spearman}
    for name, value in measures.items():
        low, high = np.nanpercentile([value(*draw) for draw in draws], [2.5, 97.5])
        all_of_both = value(np.arange(len(rewards)), np.arange(len(groups)))
        found |= {name: all_of_both, f"{name}_low": float(low), f"{name}_high": float(high)}
    return found


def _pair_hits(rewards: np.ndarray, truth: np.ndarray, groups: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Pairs ordered as the truth orders them, (S, P), a tie half; and pairs the truth orders, (P,)."""
    prompt = np.zeros(len(truth), int)
    for number, rows in enumerate(groups):
        prompt[rows] = number
    first, second = pairs_within(prompt)
    ordered = truth[first] != truth[second]
    first, second = first[ordered], second[ordered]
    agreed = np.sign(rewards[:, first] - rewards[:, second]) * np.sign(truth[first] - truth[second])
    of_prompt = np.eye(len(groups))[prompt[first]]
    return (agreed + 1) / 2 @ of_prompt, of_prompt.sum(0)


def _mean_spearman(rewards: np.ndarray, truth: np.ndarray) -> float:
    """Mean over S trainings of Spearman's ρ between rewards (S, N) and truth (N,); NaN where one is constant."""
    x, y = rankdata(rewards, axis=1), rankdata(truth)
    x, y = x - x.mean(1, keepdims=True), y - y.mean()
    with np.errstate(invalid="ignore"):
        return float((x @ y / np.sqrt(np.square(x).sum(1) * np.square(y).sum())).mean())


def _judges(table: pd.DataFrame) -> list[str]:
    return [judge for judge in TITLES if f"{judge}_pair_accuracy" in table]


def ablation_markdown(table: pd.DataFrame) -> str:
    """The comparison as a Markdown table.

    Args:
        table: of `compare`.
    """
    judges, first = _judges(table), table.iloc[0]
    heads = ["objective", "head", "frozen"]
    for judge in judges:
        heads += [f"pair accuracy, {TITLES[judge]}", "variance over seeds, (% points)²", f"Spearman, {TITLES[judge]}"]
    heads.append("seconds per training")
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join("---" for _ in heads) + " |"]
    for row in table.to_dict("records"):
        cells = [row["objective"], row["head"], f"{row['frozen']:.0%}"]
        for judge in judges:
            value, low, high = (100 * row[f"{judge}_pair_accuracy{end}"] for end in ("", "_low", "_high"))
            rank, rank_low, rank_high = (row[f"{judge}_spearman{end}"] for end in ("", "_low", "_high"))
            cells += [
                f"{value:.1f} % [{low:.1f}, {high:.1f}]",
                f"{1e4 * row[f'{judge}_pair_accuracy_variance']:.2f}",
                f"{rank:.3f} [{rank_low:.3f}, {rank_high:.3f}]",
            ]
        lines.append("| " + " | ".join([*cells, f"{row['seconds']:.0f}"]) + " |")
    return (
        f"{first['train_prompts']} training prompts, {first['test_prompts']} test prompts, means over "
        f"{first['seeds']} seeds. 95 % intervals: bootstrap over seeds and test prompts together. Pair accuracy is the "
        "share of pairs of candidates of a prompt that the reward orders correctly; 50 % is chance. Pairwise training "
        f"says nothing about levels between prompts, on which Spearman's ρ over all candidates depends. `{CONFIGURED}` "
        "is the project's own reward, with a backbone and settings of its own.\n\n" + "\n".join(lines) + "\n"
    )


def ablation_figure(table: pd.DataFrame) -> Figure:
    """Within-prompt accuracy with its intervals, by frozen share and objective; a panel per judge.

    Args:
        table: of `compare`.
    """
    judges = _judges(table)
    compared = table[table["objective"] != CONFIGURED]
    shares = sorted(compared["frozen"].unique(), reverse=True)
    objectives = list(compared["objective"].unique())
    figure = Figure(figsize=(1.5 + 4.5 * len(judges), 4.0), layout="constrained")
    panels = figure.subplots(1, len(judges), squeeze=False, sharey=True)[0]
    for axes, judge in zip(panels, judges, strict=True):
        values = {end: 100 * table[f"{judge}_pair_accuracy{end}"] for end in ("", "_low", "_high")}
        configured = table["objective"] == CONFIGURED
        centre, low, high = (float(values[end][configured].iloc[0]) for end in ("", "_low", "_high"))
        axes.axhspan(low, high, color=COLOURS[CONFIGURED], alpha=0.15, linewidth=0)
        axes.axhline(centre, color=COLOURS[CONFIGURED], linewidth=1.5, label="the configured reward")
        axes.axhline(50, color="0.6", linewidth=1, linestyle="--", label="chance")
        for number, objective in enumerate(objectives):
            rows = table[table["objective"] == objective]
            place = np.array([shares.index(share) for share in rows["frozen"]])
            value, low_end, high_end = (values[end][rows.index].to_numpy() for end in ("", "_low", "_high"))
            axes.errorbar(
                place + 0.16 * (number - (len(objectives) - 1) / 2),
                value,
                np.abs(np.stack([value - low_end, high_end - value])),
                fmt="o",
                capsize=3,
                color=COLOURS[objective],
                label=objective,
            )
        axes.set_xticks(range(len(shares)), [f"{share:.0%}" for share in shares])
        axes.set_xlim(-0.5, len(shares) - 0.5)
        axes.set_xlabel("frozen share of the backbone")
        axes.set_title(f"judged by the {TITLES[judge]}", fontsize=10, loc="left")
    panels[0].set_ylabel("pairs of a prompt ordered correctly, %")
    figure.legend(*panels[0].get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=5)
    return figure
