"""Training of the judge: original photographs are to be preferred to fills of many kinds, the base's own among them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from prefpaint.config import derive_seed, fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.fills.likeness import PhotographJudge
from prefpaint.fills.spoiled import SPOILS
from prefpaint.inpainting.sampling import Inpainter
from prefpaint.progress import Progress
from prefpaint.small_model.config import JudgeConfig
from prefpaint.small_model.examples import Examples
from prefpaint.small_model.fit import fit

ORIGINAL = "original"
# Solving for the smoothest surface in a large hole takes a hundred times as long as any other kind: few crops get it.
BIHARMONIC_EVERY = 8
SMALL_HOLE = 0.2
SPOILED_PER_CROP = 3
# Shown more often than the others: they take longest to learn.
HARD = {"hue_turned": 3.0, "biharmonic": 3.0, "mirrored": 2.0, "shifted": 2.0, "blurred": 1.5}
# A mirrored known part has real texture and no joint: people prefer it to a smear, a flat colour or noise.
WORSE_THAN_MIRRORED = ("telea", "navier_stokes", "biharmonic", "one_colour", "noise")
# Pairs are never certain, so that the logits stay within a few units and keep ranking.
CERTAINTY = 0.98
LIKENESS_OF_ORIGINAL = 2.0


@dataclass(frozen=True)
class Bank:
    """Crops with everything that was made from them.

    Attributes:
        pictures: (N, K, size, size, 3) uint8; the first kind is the original.
        masks: (N, size, size) uint8.
        kinds: K names; "level 0" is the base's own fill, a later level's keeps more of the original.
        made: (N, K) bool, which pictures there are.
    """

    pictures: np.ndarray
    masks: np.ndarray
    kinds: tuple[str, ...]
    made: np.ndarray

    @property
    def levels(self) -> list[int]:
        """Columns of the base's repaintings, from all its own to least."""
        return [index for index, kind in enumerate(self.kinds) if kind.startswith("level ")]


def make_bank(inpainter: Inpainter, examples: Examples, config: JudgeConfig, count: int, title: str) -> Bank:
    """Spoil `count` crops in every way and let the base repaint them.

    Args:
        inpainter: the base.
        examples: crops and holes.
        config: seed and levels.
        count: crops.
        title: for the progress bar and the seeds; another title gives other crops.
    """
    kinds = (ORIGINAL, *SPOILS, *(f"level {level}" for level in config.levels))
    size = examples.config.size
    pictures = np.zeros((count, len(kinds), size, size, 3), np.uint8)
    masks = np.zeros((count, size, size), np.uint8)
    made = np.ones((count, len(kinds)), bool)
    seeds = [derive_seed("judge", title, config.seed, index) for index in range(count)]
    with Progress(title, count) as progress:
        for start in range(0, count, inpainter.config.batch):
            rows = range(start, min(count, start + inpainter.config.batch))
            for row in rows:
                image, masks[row] = examples.crop(seeds[row]), examples.hole(seeds[row])
                pictures[row, 0] = image
                for column, (kind, spoil) in enumerate(SPOILS.items(), start=1):
                    if kind == "biharmonic" and row % BIHARMONIC_EVERY and masks[row].mean() > SMALL_HOLE:
                        made[row, column] = False
                        continue
                    rng = np.random.default_rng(derive_seed(kind, seeds[row]))
                    pictures[row, column] = spoil(image, masks[row], rng)
            for column, level in enumerate(config.levels, start=1 + len(SPOILS)):
                part = slice(rows.start, rows.stop)
                pictures[part, column] = inpainter.repaint(
                    pictures[part, 0], masks[part], [derive_seed(level, seeds[row]) for row in rows], level
                )
            progress.step(len(rows))
    return Bank(pictures, masks, kinds, made)


def _draw(bank: Bank, row: int, rng: np.random.Generator) -> list[int]:
    """Columns shown of one crop: the original, some spoiled ones, two neighbouring levels."""
    spoiled = [column for column in range(1, 1 + len(SPOILS)) if bank.made[row, column]]
    weights = np.array([HARD.get(bank.kinds[column], 1.0) for column in spoiled])
    chosen = rng.choice(spoiled, SPOILED_PER_CROP, replace=False, p=weights / weights.sum()).tolist()
    first = int(rng.integers(len(bank.levels) - 1))
    return [0, *chosen, bank.levels[first], bank.levels[first + 1]]


def preference_loss(logits: Tensor, kinds: Sequence[Sequence[str]]) -> Tensor:
    """Bradley-Terry loss over the pairs whose order is known; a scalar.

    The original wins against every other kind; a later level against an earlier one; a mirrored known part against
    what smears.

    Args:
        logits: (N, K).
        kinds: names of the N × K pictures.
    """
    better, worse = [], []
    for row, names in enumerate(kinds):
        for a, first in enumerate(names):
            for b, second in enumerate(names):
                levels = first.startswith("level ") and second.startswith("level ")
                if (
                    (first == ORIGINAL and second != ORIGINAL)
                    or (levels and int(first[6:]) > int(second[6:]))
                    or (first == "mirrored" and second in WORSE_THAN_MIRRORED)
                ):
                    better.append(logits[row, a])
                    worse.append(logits[row, b])
    margin = torch.stack(better) - torch.stack(worse)
    return F.binary_cross_entropy_with_logits(margin, torch.full_like(margin, CERTAINTY))


def calibrated(judge: PhotographJudge, bank: Bank) -> PhotographJudge:
    """The same judge with its likeness in the units that its class promises.

    Args:
        judge: trained.
        bank: of photographs that it was not trained on.
    """
    plain = judge.config.model_copy(update={"offset": 0.0, "scale": 1.0})
    judge.config = plain
    originals = float(judge.likeness(bank.pictures[:, 0], bank.masks).mean())
    fills = float(judge.likeness(bank.pictures[:, bank.levels[0]], bank.masks).mean())
    scale = LIKENESS_OF_ORIGINAL / max(originals - fills, 1e-3)
    judge.config = plain.model_copy(update={"offset": -fills, "scale": scale})
    return judge


def train_judge(
    inpainter: Inpainter, train: Examples, validation: Examples, config: JudgeConfig, workspace: Path
) -> PhotographJudge:
    """Train the judge from scratch.

    Args:
        inpainter: the base, whose fills are among what the judge learns to tell from photographs.
        train, validation: crops of different photographs; the second only sets the unit of likeness.
        config: sizes, steps and seeds.
        workspace: folder for checkpoints; a second call with the same arguments resumes there.

    Raises:
        PrefPaintError: a level lies beyond the end of the chain.
    """
    if max(config.levels) >= inpainter.config.steps:
        raise PrefPaintError(
            f"judge.levels: {max(config.levels)} is beyond the {inpainter.config.steps} steps of sampling.steps; give "
            "smaller ones"
        )
    bank = make_bank(inpainter, train, config, config.crops, "judge: crops to tell apart")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        judge = PhotographJudge(config.model)
    stamp = fingerprint(config.model_dump(exclude={"steps"}), int(bank.pictures.sum(dtype=np.int64)))

    small = np.flatnonzero(bank.masks.mean((1, 2)) <= SMALL_HOLE)
    small = small if len(small) else np.arange(len(bank.masks))

    def loss_of(step: int) -> Tensor:
        rng = np.random.default_rng(derive_seed("judge step", config.seed, step))
        rows = np.where(
            rng.random(config.batch) < config.small_holes,
            rng.choice(small, config.batch),
            rng.integers(len(bank.masks), size=config.batch),
        )
        columns = [_draw(bank, int(row), rng) for row in rows]
        pictures = np.stack([bank.pictures[row, shown] for row, shown in zip(rows, columns, strict=True)])
        masks = np.repeat(bank.masks[rows], pictures.shape[1], 0)
        pixels = torch.from_numpy(pictures.reshape(-1, *pictures.shape[2:])).permute(0, 3, 1, 2).float() / 255
        holes = torch.from_numpy(masks)[:, None].float()
        if rng.random() < 0.5:
            pixels, holes = pixels.flip(3), holes.flip(3)
        logits = judge.logit(pixels.contiguous(), holes.contiguous()).view(len(rows), -1)
        names = [[bank.kinds[column] for column in shown] for shown in columns]
        return preference_loss(logits, names)

    workspace.mkdir(parents=True, exist_ok=True)
    trained: Any = fit("judge", judge, loss_of, config, config.checkpoint_every, workspace / f"judge_{stamp}.pt")
    unseen = make_bank(inpainter, validation, config, 256, "judge: validation crops")
    return calibrated(trained.eval(), unseen)
