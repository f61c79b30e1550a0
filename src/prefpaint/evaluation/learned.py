"""The paper's Table 2: what other people's models make of the fills."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from prefpaint.config import derive_seed
from prefpaint.evaluation.config import EvaluateConfig, LearnedScoresConfig
from prefpaint.evaluation.measures import keyed_values
from prefpaint.evaluation.samples import NOISE_SETS
from prefpaint.images import ImageFolder, in_order
from prefpaint.judges.outside_models import (
    aesthetic_judge,
    blip_judge,
    clip_judge,
    imagereward_judge,
    logits_judge,
)
from prefpaint.progress import Progress
from prefpaint.stats.bootstrap import bootstrap_mean

BATCH = 32
# Score → which checkpoint it needs.
SCORES = {
    "clip": "clip",
    "blip": "blip",
    "aesthetic": "aesthetic",
    "classification_accuracy": "classifier",
    "inception_score": "classifier",
    "imagereward": "imagereward",
}
# Those that compare a picture with its words.
READERS = ("clip", "blip", "imagereward")
NO_CHECKPOINT = "not run: no checkpoint"
RUN = "run"
COLUMNS = ("score", "status", "split", "method", "prompts", "value", "low", "high", "key")
# With fewer pictures a split of ten would hold next to nothing.
LEAST_FOR_TEN_SPLITS = 500


def inception_score(logits: np.ndarray, seed: int) -> float:
    """exp(E KL(p(y|x) ‖ p(y))) (Salimans et al. 2016), by torchmetrics, with this classifier in Inception's place.

    Args:
        logits: (N, labels).
        seed: of the order in which pictures are put into ten parts, where there are enough of them.
    """
    import torch
    from torchmetrics.image.inception import InceptionScore

    metric = InceptionScore(feature=torch.nn.Identity(), splits=10 if len(logits) >= LEAST_FOR_TEN_SPLITS else 1)
    metric.update(torch.from_numpy(logits))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return float(metric.compute()[0])


def _batched(judge: Callable[..., np.ndarray], folder: ImageFolder, names: list[str], *others: list[str]) -> np.ndarray:
    """The judge's values of pictures by name; `others` are given to it beside them, one of each for a picture."""
    parts, batches = [], folder.batches(names, BATCH)
    with Progress("evaluate: learned scores", len(names)) as progress:
        for places in batches:
            some = folder.stack(names[place] for place in places)
            parts.append(judge(some, *([each[place] for place in places] for each in others)))
            progress.step(len(places))
    return in_order(batches, parts)


def learned_scores(
    evaluation: pd.DataFrame, samples: ImageFolder, images: ImageFolder, config: EvaluateConfig
) -> pd.DataFrame:
    """Every score of the paper's Table 2 for every method, or why it was not run.

    Args:
        evaluation: image_id, prompt_id, split, pattern, text_prompt, method, noise_set, sample. A picture without words
            is compared with `scores.text`.
        samples: fills by image id.
        images: prompts by prompt id; outpainting prompts are the hidden originals.
        config: `scores`, bootstrap.

    Returns:
        score, status ("run" or why not), split, method, prompts, value with its 95 % interval over prompts low, high
        (NaN for the Inception Score, which is one number of all pictures). Scores that were not run have one row.

    Raises:
        PrefPaintError: a checkpoint that is named cannot be used.
    """
    rows = list(_rows(evaluation, samples, images, config))
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"prompts": "Int64"})


def _rows(
    evaluation: pd.DataFrame, samples: ImageFolder, images: ImageFolder, config: EvaluateConfig
) -> Iterator[dict[str, Any]]:
    given: LearnedScoresConfig = config.scores
    seed, names = derive_seed("bootstrap", config.seed), evaluation["image_id"].tolist()
    named = _named_judges(given)
    texts = [text or given.text for text in evaluation["text_prompt"]]
    values = {}
    for name, make in named.items():
        if name != "classifier":
            values[name] = _batched(make(), samples, names, *([texts] if name in READERS else []))
    logits = np.zeros((0, 0))
    # Inception Scores grow with the number of pictures: one of each prompt, whatever the method.
    first = evaluation[(evaluation["noise_set"] == NOISE_SETS[0]) & (evaluation["sample"] == 0)]
    if "classifier" in named:
        judge = named["classifier"]()
        logits = _batched(judge, samples, first["image_id"].tolist())

        def label(images: np.ndarray) -> np.ndarray:
            return judge(images).argmax(1)

        known = evaluation.loc[evaluation["pattern"] != "warp", "prompt_id"].unique().tolist()
        classes = pd.Series(_batched(label, images, known), index=known) if known else pd.Series(dtype="int64")
        truth = evaluation["prompt_id"].map(classes).to_numpy(np.float64)
        # A view change has no hidden original, so nobody knows what class it should be.
        right = _batched(label, samples, names) == truth
        values["classification_accuracy"] = np.where(np.isnan(truth), np.nan, right)
    for score, checkpoint in SCORES.items():
        if not getattr(given, checkpoint):
            yield {"score": score, "status": NO_CHECKPOINT}
            continue
        for (split, method), part in evaluation.groupby(["split", "method"], sort=False):
            place = evaluation.index.get_indexer(part.index)
            row = {"score": score, "status": RUN, "split": split, "method": method}
            row["key"] = f"{split}_{score}_{method}"
            if score == "inception_score":
                number = inception_score(logits[first.index.isin(part.index)], seed)
                yield {
                    **row,
                    "prompts": part["prompt_id"].nunique(),
                    "value": number,
                    "low": math.nan,
                    "high": math.nan,
                }
                continue
            per_prompt = pd.Series(values[score][place]).groupby(part["prompt_id"].to_numpy()).mean()
            found = bootstrap_mean(per_prompt.to_numpy(), config.resamples, seed)
            yield {**row, "prompts": found.prompts, "value": found.value, "low": found.low, "high": found.high}


def _named_judges(given: LearnedScoresConfig) -> dict[str, Callable[[], Callable[..., np.ndarray]]]:
    """What loads the model of each score that has a checkpoint."""
    key = "evaluate.scores"
    judges: dict[str, Callable[[], Callable[..., np.ndarray]]] = {
        "clip": lambda: clip_judge(f"{key}.clip", given.clip),
        "blip": lambda: blip_judge(f"{key}.blip", given.blip),
        "aesthetic": lambda: aesthetic_judge(f"{key}.aesthetic", given.aesthetic),
        "classifier": lambda: logits_judge(f"{key}.classifier", given.classifier)[0],
        "imagereward": lambda: imagereward_judge(f"{key}.imagereward", given.imagereward),
    }
    return {name: make for name, make in judges.items() if getattr(given, name)}


def check_checkpoints(given: LearnedScoresConfig) -> None:
    """Load and drop every checkpoint that is named, so that a wrong one is found before hours of other work.

    Raises:
        PrefPaintError: one cannot be used.
    """
    for make in _named_judges(given).values():
        make()


def learned_metrics(table: pd.DataFrame) -> dict[str, float | int]:
    """Flat numbers of scores that were run, e.g. seen_clip_aligned, ..._low, ..._high; never 0 for a missing one."""
    return keyed_values(table[table["status"] == RUN])
