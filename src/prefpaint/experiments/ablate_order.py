"""What asking by the trust width is worth: rewards of prompts rated at random and by design, as ratings come in."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from prefpaint.config import derive_seed, fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.experiments.ablate_order_config import AblateOrderConfig
from prefpaint.experiments.ablate_reward import RatedCandidates
from prefpaint.experiments.runs import COLOURS, cell, interval_columns, once
from prefpaint.files import load_state, save_state
from prefpaint.progress import Progress
from prefpaint.reward.config import KernelHeadConfig, RewardConfig
from prefpaint.reward.linear import choose_ridge, ridge
from prefpaint.reward.model import RewardModel
from prefpaint.reward.training import RatedImages
from prefpaint.stats.agreement import pair_accuracy
from prefpaint.trust.config import BoundConfig
from prefpaint.trust.design import greedy_order, joint_widths
from prefpaint.trust.fit import Embedded, Trust, fit_trust

ORDERS = {"random": "at random", "width": "by width"}


@dataclass(frozen=True)
class Pool:
    """Train and validation candidates as one frozen backbone sees them.

    Attributes:
        train, validation: what was rated.
        features: backbone features by split, (N, features) float32.
        truth: (M,) noiseless scores of the validation candidates.
        reward: configuration of the reward.
        stamp: fingerprint of what the features were made of.
    """

    train: RatedImages
    validation: RatedImages
    features: dict[str, Tensor]
    truth: np.ndarray
    reward: RewardConfig
    stamp: str

    @cached_property
    def groups(self) -> list[np.ndarray]:
        """Row numbers of each training prompt."""
        return self.train.groups()

    def rows(self, prompts: Sequence[int]) -> np.ndarray:
        """Row numbers of the candidates of some training prompts."""
        return np.concatenate([self.groups[prompt] for prompt in prompts])

    def fit(self, prompts: Sequence[int], seed: int) -> tuple[RewardModel, Trust, float]:
        """The reward fitted to some training prompts, its trust, and its pair accuracy on validation.

        Args:
            prompts: numbers of the rated ones.
            seed: of the landmarks.
        """
        rows = np.sort(self.rows(prompts))
        model = RewardModel(self.reward.backbone, self.reward.head).eval()
        model.heads[0].place(self.features["train"][rows], derive_seed("landmarks", seed, 0))
        with torch.no_grad():
            given = (self.features["train"][rows], self.features["validation"])
            z, unseen = (model.read(features)[1].numpy() for features in given)
        y, y_unseen = self.train.scores[rows], self.validation.scores
        lam = choose_ridge(z, y, unseen, y_unseen)
        psi = ridge(z, y, lam)
        known = Embedded(z, z @ psi, y, [self.train.prompt_ids[row] for row in rows])
        other = Embedded(unseen, unseen @ psi, y_unseen, self.validation.prompt_ids)
        # The members are those of an ensemble's width, which is not asked for.
        trust = fit_trust(known, other, BoundConfig(ridge=lam), whole_norm=model.whole_norm, members=np.stack([psi]))
        return model, trust, pair_accuracy(other.reward, self.truth, self.validation.prompt_ids)

    def widest(
        self, model: RewardModel, trust: Trust, rated: Sequence[int], unrated: Sequence[int], count: int
    ) -> list[int]:
        """The prompts that the design of `studio.order: uncertain` asks about next.

        Args:
            model, trust: of `fit`.
            rated: numbers of the prompts they were fitted to.
            unrated: numbers of those to choose from.
            count: how many are wanted.
        """
        rows = self.rows([*unrated, *rated])
        features = self.features["train"][rows]
        with torch.no_grad():
            z = model.read(features)[1].numpy()
        waiting = sum(len(self.groups[prompt]) for prompt in unrated)
        known = np.arange(len(rows)) >= waiting
        joint = joint_widths(trust, z, model.gram(features), known)[:waiting, :waiting]
        numbers = np.repeat(np.arange(len(unrated)), [len(self.groups[prompt]) for prompt in unrated])
        return [unrated[number] for number in greedy_order(joint, numbers, count)]


def embed(given: RatedCandidates, reward: RewardConfig, workspace: Path) -> Pool:
    """Train and validation candidates embedded once; what an earlier call left is reused if it still fits.

    Args:
        given: images and scores.
        reward: with a frozen backbone and a kernel head.
        workspace: folder for features.pt.

    Raises:
        PrefPaintError: the reward is of another kind, people rated, or a split is not rated.
    """
    if not isinstance(reward.head, KernelHeadConfig) or reward.backbone.frozen < 1:
        raise PrefPaintError(
            "ablate_order: fits a kernel head on frozen features; set reward.head.kind: kernel and "
            "reward.backbone.frozen: 1"
        )
    if reward.text.checkpoint:
        raise PrefPaintError(
            'ablate_order: compares rewards that do not read; set reward.text.checkpoint: "" for this pipeline'
        )
    splits = {name: given.rated(name) for name in ("train", "validation")}
    for name, data in splits.items():
        if not data.candidate_ids:
            raise PrefPaintError(
                f"scores: no candidate of split {name} is rated, and nothing can be compared; rate some"
            )
    truth = given.truths(splits["validation"]).get("noiseless")
    if truth is None:
        raise PrefPaintError(
            "ablate_order: only simulated raters have a noiseless score, which is the truth here; run it where the "
            "rating store is empty"
        )
    ids = [name for data in splits.values() for name in data.candidate_ids]
    sums = given.checksums.set_index("candidate_id")["sha256"]
    holes = {name: given.prompt_masks.checksum(name) for data in splits.values() for name in data.prompt_ids}
    stamp = fingerprint(ids, sums[ids].tolist(), holes, reward.backbone)
    cache = workspace / "features.pt"
    saved = load_state(cache)
    if saved is not None and saved["stamp"] == stamp:
        return Pool(splits["train"], splits["validation"], saved["features"], truth, reward, stamp)
    model = RewardModel(reward.backbone, reward.head)
    features = {
        name: data.features(model, reward.score_batch, f"ablate_order: features of {name}")
        for name, data in splits.items()
    }
    save_state({"stamp": stamp, "features": features}, cache)
    return Pool(splits["train"], splits["validation"], features, truth, reward, stamp)


def play(pool: Pool, config: AblateOrderConfig, order: str, seed: int) -> list[float]:
    """Pair accuracy after the first prompts and after every batch, of one order from one seed.

    Args:
        pool: of all prompts.
        config: how many prompts.
        order: of ORDERS.
        seed: of the first prompts, which both orders share, of the random order and of the landmarks.
    """
    drawn = np.random.default_rng(derive_seed("ablate_order", seed)).permutation(len(pool.groups)).tolist()
    rated = drawn[: config.start]
    model, trust, accuracy = pool.fit(rated, seed)
    curve = [accuracy]
    for _ in range(config.batches):
        known = set(rated)
        unrated = [prompt for prompt in drawn if prompt not in known]
        at_random = order == "random"
        chosen = unrated[: config.batch] if at_random else pool.widest(model, trust, rated, unrated, config.batch)
        rated = rated + chosen
        model, trust, accuracy = pool.fit(rated, seed)
        curve.append(accuracy)
    return curve


def _run(pool: Pool, config: AblateOrderConfig, order: str, seed: int) -> dict[str, Any]:
    return {"curve": play(pool, config, order, seed)}


def compare(given: RatedCandidates, reward: RewardConfig, config: AblateOrderConfig, workspace: Path) -> pd.DataFrame:
    """Rate prompts in both orders from every seed; a killed call resumes with the first run it did not finish.

    Args:
        given: images and scores.
        reward: the project's configuration, of which one head is fitted.
        config: how many prompts and seeds.
        workspace: folder for features and finished runs.

    Returns:
        One row per number of rated prompts: prompts, seeds, validation_prompts, and for random, width and
        difference (width less random, paired by seed) the mean pair accuracy with the 95 % interval of Student's t
        over the seeds (_low, _high).

    Raises:
        PrefPaintError: as for `embed`, or there are too few prompts.
    """
    wanted, rated = config.start + config.batches * config.batch, len(given.rated("train").groups())
    if wanted > rated:
        raise PrefPaintError(
            f"ablate_order: start {config.start} + batches {config.batches} · batch {config.batch} = {wanted} prompts "
            f"are asked for and {rated} are rated in the train split; lower ablate_order.start, batch or batches"
        )
    pool = embed(given, reward, workspace)
    scores = [[data.candidate_ids, data.scores.tolist()] for data in (pool.train, pool.validation)]
    stamp = fingerprint(pool.stamp, scores, pool.truth.tolist(), reward, config.start, config.batch, config.batches)
    made: dict[str, list[list[float]]] = {order: [] for order in ORDERS}
    with Progress("ablate_order", len(ORDERS) * len(config.seeds)) as progress:
        for seed in config.seeds:
            for order in ORDERS:
                make = partial(_run, pool, config, order, seed)
                made[order].append(once(workspace / f"{order}_{seed}.json", stamp, make)["curve"])
                progress.step()
    curves = {order: np.array(values) for order, values in made.items()}
    rows = []
    for number in range(config.batches + 1):
        row: dict[str, Any] = {
            "prompts": config.start + number * config.batch,
            "seeds": len(config.seeds),
            "validation_prompts": len(pool.validation.groups()),
        }
        for order, values in curves.items():
            row |= interval_columns(order, values[:, number])
        row |= interval_columns("difference", curves["width"][:, number] - curves["random"][:, number])
        rows.append(row)
    return pd.DataFrame(rows)


def ablate_order_markdown(table: pd.DataFrame) -> str:
    """The comparison as a Markdown table.

    Args:
        table: of `compare`.
    """
    prompts, seeds = (int(table[name].iloc[0]) for name in ("validation_prompts", "seeds"))
    heads = ["rated prompts", *(f"pair accuracy, {title}" for title in ORDERS.values()), "difference, % points"]
    lines = ["| " + " | ".join(heads) + " |", "| " + " | ".join("---" for _ in heads) + " |"]
    for row in table.to_dict("records"):
        cells = [*(cell(row, order, 100, "{:.1f}", " %") for order in ORDERS), cell(row, "difference", 100, "{:+.1f}")]
        lines.append("| " + " | ".join([str(row["prompts"]), *cells]) + " |")
    return (
        f"Pair accuracy is the share of pairs of candidates of {prompts} validation prompts that "
        "the reward orders as the simulated raters' noiseless score does; 50 % is chance. The first prompts are drawn "
        "at random and shared by both orders; then prompts come in batches, and the reward and its widths are fitted "
        f"anew after each. Means over {seeds} seeds with 95 % intervals of Student's t over the seeds, which "
        "do not cover other validation prompts; differences are paired by seed. λ is chosen on the validation "
        "ratings.\n\n" + "\n".join(lines) + "\n"
    )


def ablate_order_figure(table: pd.DataFrame) -> Figure:
    """Pair accuracy over rated prompts in both orders, and their difference.

    Args:
        table: of `compare`.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    accuracy, difference = figure.subplots(1, 2)
    for colour, (order, title) in zip(COLOURS, ORDERS.items(), strict=False):
        _band(accuracy, table, order, colour, title)
    _band(difference, table, "difference", COLOURS[1], None)
    difference.axhline(0, color="0.5", linewidth=1)
    accuracy.set(title="Pairs ordered as the noiseless score does", ylabel="%")
    difference.set(title="By width, less at random", ylabel="% points")
    for axes in (accuracy, difference):
        axes.set_xlabel("rated prompts")
    accuracy.legend(fontsize=8, frameon=False)
    return figure


def _band(axes: Any, table: pd.DataFrame, name: str, colour: str, title: str | None) -> None:
    values, low, high = (100 * table[f"{name}{end}"] for end in ("", "_low", "_high"))
    axes.plot(table["prompts"], values, color=colour, marker="o", markersize=4, label=title)
    axes.fill_between(table["prompts"], low, high, color=colour, alpha=0.18, linewidth=0)
