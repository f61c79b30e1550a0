"""Candidates: several inpaintings of every rated prompt, each from its own seed."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import Field

from prefpaint.config import Config, derive_seed, fingerprint
from prefpaint.images import ImageFolder, ImageWork
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.masks.config import RATED_SPLITS
from prefpaint.masks.words import text_prompts
from prefpaint.progress import Progress

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN_PROMPTS = 12


class CandidatesConfig(Config):
    """The `candidates` pipeline."""

    seed: int = Field(0, ge=0, description="Seed of the noise of all candidates; each has its own seed drawn from it.")
    per_prompt: int = Field(3, ge=2, description="Candidates of each prompt; the paper has 3. Cost is proportional.")


def plan_candidates(prompts: pd.DataFrame, config: CandidatesConfig) -> pd.DataFrame:
    """Ids and seeds of all candidates of the rated prompts.

    Returns:
        Columns candidate_id, prompt_id, index, seed.
    """
    rated = prompts.loc[prompts["split"].isin(RATED_SPLITS), "prompt_id"]
    rows = []
    for prompt_id in rated:
        for index in range(config.per_prompt):
            candidate_id = f"{prompt_id}_{index}"
            rows.append((candidate_id, prompt_id, index, derive_seed("candidate", config.seed, candidate_id)))
    return pd.DataFrame(rows, columns=["candidate_id", "prompt_id", "index", "seed"])


def candidate_work(
    pipe: Any,
    prompts: pd.DataFrame,
    images: ImageFolder,
    masks: ImageFolder,
    sampling: SamplingConfig,
    config: CandidatesConfig,
    device: str = "auto",
) -> ImageWork:
    """The candidates' images.

    Args:
        pipe: a `StableDiffusionInpaintPipeline`.
        prompts: the manifest; its checksums tell whether earlier candidates still fit.
        images, masks: of the prompts.
        sampling: the denoising chain.
        config: how many and from which seed.
        device: torch device.
    """
    from prefpaint.inpainting.sampling import Inpainter, painting_digest

    plan = plan_candidates(prompts, config).set_index("candidate_id")
    used = prompts[prompts["split"].isin(RATED_SPLITS)]
    words = text_prompts(used)
    stamp = fingerprint(
        painting_digest(pipe, sampling),
        config,
        used[["prompt_id", "image_sha256", "mask_sha256"]].to_dict("records"),
        words,
    )

    def produce(missing: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        inpainter = Inpainter(pipe, sampling, device)
        with Progress("paint candidates", len(plan), len(plan) - len(missing)) as progress:
            for places in images.batches(plan.loc[list(missing), "prompt_id"].tolist(), sampling.batch):
                chunk = [missing[place] for place in places]
                rows = plan.loc[chunk]
                ids = rows["prompt_id"].tolist()
                texts = [words[name] for name in ids]
                painted = inpainter.sample(images.stack(ids), masks.stack(ids), rows["seed"].tolist(), texts)
                yield from zip(chunk, painted, strict=True)
                progress.step(len(chunk))

    return ImageWork(stamp, list(plan.index), produce, sampling.processes)


def record_candidates(prompts: pd.DataFrame, painted: ImageFolder, config: CandidatesConfig) -> pd.DataFrame:
    """The candidates' table.

    Returns:
        Columns candidate_id, prompt_id, index, seed, sha256 (of the file).
    """
    plan = plan_candidates(prompts, config)
    return plan.assign(sha256=[painted.checksum(key) for key in plan["candidate_id"]])


def candidate_figure(
    prompts: pd.DataFrame, images: ImageFolder, masks: ImageFolder, candidates: pd.DataFrame, painted: ImageFolder
) -> "Figure":
    """Some test prompts, one per row: the original, the prompt and its candidates."""
    from matplotlib.figure import Figure

    from prefpaint.masks.figures import show_hole

    test = prompts[prompts["split"] == "test"]
    shown = test.groupby("pattern", sort=True).head(-(-SHOWN_PROMPTS // test["pattern"].nunique()))
    shown = shown.head(SHOWN_PROMPTS)
    each = int(candidates["index"].max()) + 1
    # Two prompts beside each other make a page of a handy shape.
    rows, columns = -(-len(shown) // 2), 2 * (each + 1)
    figure = Figure(figsize=(columns * 1.25, rows * 1.35), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    for number, row in enumerate(shown.itertuples()):
        place = axes[number // 2, (number % 2) * (each + 1) : (number % 2 + 1) * (each + 1)]
        mask = masks[row.prompt_id]
        place[0].imshow(show_hole(images[row.prompt_id], mask), interpolation="nearest")
        place[0].set_title(row.pattern, fontsize=7)
        for index in range(each):
            place[index + 1].imshow(painted[f"{row.prompt_id}_{index}"], interpolation="nearest")
    return figure
