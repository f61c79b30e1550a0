"""Pictures of the comparison: win rates with intervals, and photographs side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from prefpaint.evaluation.measures import ALL
from prefpaint.images import ImageFolder
from prefpaint.inpainting.classical import classical_fill
from prefpaint.masks.figures import show_hole
from prefpaint.reporting.wording import OUTSIDE_WORDS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

JUDGE_COLOURS = {"noiseless": "#0072b2", "reward": "#d55e00", "stlpips_alex": "#009e73", "stlpips_vgg": "#cc79a7"}
JUDGE_NAMES = {
    "noiseless": "simulated raters, noiseless",
    "reward": "learned reward",
    **{name: f"closer to the original, {words}" for name, words in OUTSIDE_WORDS.items()},
}
# Of the gallery, in cell widths except for the inches of one cell.
CELL_INCHES = 1.1
CELL_STEP, ROW_STEP, HEADING = 1.04, 1.28, 0.5


def draw_win_rates(table: pd.DataFrame, evaluation: pd.DataFrame) -> "Figure":
    """Win rates with 95 % intervals, and how single prompts changed.

    Args:
        table: of `measures.measure`.
        evaluation: of `samples.judge_samples`.
    """
    from matplotlib.figure import Figure

    rates = table[(table["pattern"] == ALL) & (table["quantity"] == "win_rate")]
    splits, judges = list(rates["split"].unique()), list(rates["judge"].unique())
    names = {"base_base": "base against base", "independent": "aligned, other noise", "equal": "aligned, same noise"}
    kinds = [(comparison, size) for size in sorted(rates["best_of"].unique()) for comparison in names]
    figure = Figure(figsize=(10, 0.8 + 2.3 * len(splits)), layout="constrained")
    axes = figure.subplots(len(splits), 2, squeeze=False, sharex="col", width_ratios=(3, 2))
    for (left, right), split in zip(axes, splits, strict=True):
        for j, judge in enumerate(judges):
            part = rates[(rates["split"] == split) & (rates["judge"] == judge)].set_index(["comparison", "best_of"])
            # Outside judges compare only single samples.
            places = [place for place, kind in enumerate(kinds) if kind in part.index]
            part = part.loc[[kinds[place] for place in places]]
            height = np.array(places) + min(0.3, 0.7 / len(judges)) * (j - (len(judges) - 1) / 2)
            value = part["value"].to_numpy()
            reach = np.abs(np.stack([value - part["low"], part["high"] - value]))
            left.errorbar(
                100 * value, height, xerr=100 * reach, fmt="o", ms=4, capsize=3, color=JUDGE_COLOURS[judge],
                label=JUDGE_NAMES[judge],
            )  # fmt: skip
        left.axvline(50, color="0.6", lw=1)
        left.set_yticks(range(len(kinds)), [f"{names[comparison]}, S = {size}" for comparison, size in kinds])
        left.invert_yaxis()
        left.set_xlim(0, 100)
        left.set_title(split, fontsize=10, loc="left", weight="bold")
        change = prompt_changes(evaluation[evaluation["split"] == split])
        # A model that changed nothing has no range of its own.
        furthest = max(float(change.abs().max()), 1e-6)
        right.hist(change, bins=24, range=(-furthest, furthest), color=JUDGE_COLOURS[judges[0]], alpha=0.75)
        right.axvline(0, color="0.6", lw=1)
        right.axvline(float(change.mean()), color="black", lw=1, ls="--")
        right.set_title(f"{split}: prompts by change", fontsize=10, loc="left")
    axes[-1][0].set_xlabel("win rate against one base sample, %")
    axes[-1][1].set_xlabel(f"mean change ({JUDGE_NAMES[judges[0]]})")
    figure.legend(*axes[0][0].get_legend_handles_labels(), fontsize=8, loc="outside upper right", ncols=2)
    return figure


def shown_judge(evaluation: pd.DataFrame) -> str:
    """The truest judge there is: the noiseless score, or the learned reward when people rated."""
    return "noiseless" if evaluation["noiseless"].notna().all() else "reward"


def prompt_changes(evaluation: pd.DataFrame) -> pd.Series:
    """Mean score of aligned minus base per prompt id, by the truest judge."""
    means = evaluation.pivot_table(index="prompt_id", columns="method", values=shown_judge(evaluation))
    return means["aligned"] - means["base"]


@dataclass(frozen=True)
class GalleryRow:
    """One prompt beside what became of it.

    Attributes:
        split, choice: the headings it appears under.
        prompt_id, pattern: of the prompt.
        cells: prompt with its hole in mid-grey, base, aligned, Telea's fill, original (None for a warp); (H, W, 3)
            uint8.
        scores: of base and aligned picture, by the truest judge.
        rewards: of base and aligned picture.
        widths: of base and aligned picture: how little the reward can be trusted.
    """

    split: str
    choice: str
    prompt_id: str
    pattern: str
    cells: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]
    scores: tuple[float, float]
    rewards: tuple[float, float]
    widths: tuple[float, float]


CHOICES = ("evenly chosen", "most improved", "made worse", "most uncertain")
# How many of each the report opens with; the others follow further down.
OPENING = {"evenly chosen": 6, "most improved": 3, "made worse": 3, "most uncertain": 0}
CELL_NAMES = ("prompt", "base", "aligned", "telea", "original")


def choose_rows(
    evaluation: pd.DataFrame, samples: ImageFolder, images: ImageFolder, masks: ImageFolder, count: int
) -> list[GalleryRow]:
    """Prompts to show, per split: evenly spaced in the list whatever came out, the most improved, the worst, and
    those whose aligned picture the reward is least sure of.

    Every row shows the first sample of noise set A of both models: equal noise, no picking among samples.

    Args:
        evaluation: of `samples.judge_samples`.
        samples: the images, by image id.
        images, masks: prompts by prompt id.
        count: rows per split and kind of choice.
    """
    judge = shown_judge(evaluation)
    first = evaluation[(evaluation["noise_set"] == "A") & (evaluation["sample"] == 0)]
    rows = []
    for split in first["split"].unique():
        pairs = first[first["split"] == split].pivot(index="prompt_id", columns="method", values=judge).sort_index()
        pattern = first.drop_duplicates("prompt_id").set_index("prompt_id")["pattern"]
        change = (pairs["aligned"] - pairs["base"]).sort_values(kind="stable")
        even = pairs.index[np.unique(np.linspace(0, len(pairs) - 1, min(count, len(pairs))).round().astype(int))]
        improved = change[change > 0].index[::-1][:count]
        worse = change[change < 0].index[:count]
        beside = {
            column: first[first["split"] == split].pivot(index="prompt_id", columns="method", values=column)
            for column in ("reward", "width")
        }
        unsure = beside["width"]["aligned"].sort_values(ascending=False, kind="stable").index[:count]
        for choice, chosen in zip(CHOICES, (even, improved, worse, unsure), strict=True):
            for prompt_id in chosen:
                image, mask = images[prompt_id], masks[prompt_id]
                rows.append(
                    GalleryRow(
                        split=split,
                        choice=choice,
                        prompt_id=prompt_id,
                        pattern=pattern[prompt_id],
                        cells=(
                            show_hole(image, mask),
                            samples[f"base_A_{prompt_id}_0"],
                            samples[f"aligned_A_{prompt_id}_0"],
                            classical_fill("telea", image, mask),
                            None if pattern[prompt_id] == "warp" else image,
                        ),
                        scores=_pair(pairs, prompt_id),
                        rewards=_pair(beside["reward"], prompt_id),
                        widths=_pair(beside["width"], prompt_id),
                    )
                )
    return rows


def _pair(wide: pd.DataFrame, prompt_id: str) -> tuple[float, float]:
    return float(wide.loc[prompt_id, "base"]), float(wide.loc[prompt_id, "aligned"])


def _within(x: float, y: float, cell: np.ndarray) -> tuple[float, float, float, float]:
    """Where imshow puts a picture in the middle of the unit square at x and y: left, right, bottom, top."""
    height, width = (side / max(cell.shape[:2]) for side in cell.shape[:2])
    left, top = x + (1 - width) / 2, y + (1 - height) / 2
    return left, left + width, top + height, top


def draw_gallery(rows: Sequence[GalleryRow]) -> "Figure":
    """All rows on one labelled sheet: a band per split, a column block per kind of choice.

    Args:
        rows: of `choose_rows`.
    """
    from matplotlib.figure import Figure

    block = len(CELL_NAMES) * CELL_STEP + 0.15
    splits = list(dict.fromkeys(row.split for row in rows))
    depth = {
        split: max(sum(r.split == split and r.choice == choice for r in rows) for choice in CHOICES) for split in splits
    }
    width = len(CHOICES) * block
    height = sum(HEADING + count * ROW_STEP for count in depth.values())
    figure = Figure(figsize=(width * CELL_INCHES, height * CELL_INCHES))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    top = 0.0
    for split in splits:
        for number, choice in enumerate(CHOICES):
            left = number * block + 0.06
            axes.text(left, top + 0.22, f"{split}: {choice}", fontsize=11, weight="bold")
            for column, name in enumerate(CELL_NAMES):
                axes.text(left + column * CELL_STEP, top + HEADING - 0.04, name, fontsize=8, color="0.35")
            y = top + HEADING
            for row in (r for r in rows if r.split == split and r.choice == choice):
                for column, cell in enumerate(row.cells):
                    x = left + column * CELL_STEP
                    if cell is None:
                        axes.text(x + 0.5, y + 0.5, "–", fontsize=14, color="0.35", ha="center", va="center")
                    else:
                        axes.imshow(cell, extent=_within(x, y, cell), interpolation="nearest")
                label = f"{row.prompt_id}  {row.pattern}  score {row.scores[0]:.2f} → {row.scores[1]:.2f}"
                axes.text(left, y + 1.15, label, fontsize=7.5)
                y += ROW_STEP
        top += HEADING + depth[split] * ROW_STEP
    axes.set(xlim=(0, width), ylim=(height, 0))
    return figure
