"""The paper's Table 2: what other people's models make of the fills."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from safetensors import SafetensorError

from prefpaint.config import derive_seed
from prefpaint.distributed import device
from prefpaint.errors import PrefPaintError
from prefpaint.evaluation.config import EvaluateConfig, LearnedScoresConfig
from prefpaint.evaluation.measures import keyed_values
from prefpaint.evaluation.samples import NOISE_SETS
from prefpaint.images import ImageFolder
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
NO_CHECKPOINT = "not run: no checkpoint"
RUN = "run"
COLUMNS = ("score", "status", "split", "method", "prompts", "value", "low", "high", "key")
# With fewer pictures a split of ten would hold next to nothing.
LEAST_FOR_TEN_SPLITS = 500

# (N, H, W, 3) uint8 → (N, ...) float64.
Judge = Callable[[np.ndarray], np.ndarray]


def _load(name: str, checkpoint: str, classes: tuple[Any, Any]) -> tuple[Any, Any]:
    """A transformers model in evaluation mode, on the accelerator where there is one, and its processor."""
    local = Path(checkpoint).is_dir()
    try:
        model, loading = classes[0].from_pretrained(
            checkpoint, local_files_only=local, output_loading_info=True, ignore_mismatched_sizes=True
        )
        processor = classes[1].from_pretrained(checkpoint, local_files_only=local)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise PrefPaintError(
            f"evaluate.scores.{name}: {checkpoint} cannot be loaded ({reason}); give a folder or hub id"
        ) from error
    # transformers would draw at random what a checkpoint of another kind does not have.
    lacking = sorted([*loading["missing_keys"], *(key for key, *_ in loading["mismatched_keys"])])
    if lacking:
        raise PrefPaintError(
            f"evaluate.scores.{name}: {checkpoint} is not a {classes[0].__name__}: it lacks {lacking[0]}"
            f"{f' and {len(lacking) - 1} other weights' if len(lacking) > 1 else ''}; give a checkpoint of that kind"
        )
    return model.eval().to(device()), processor


def _pictures(images: np.ndarray) -> list[Image.Image]:
    return [Image.fromarray(image) for image in images]


def clip_judge(checkpoint: str, text: str) -> Judge:
    """CLIP score, 100 · max(cos(picture, text), 0) (Hessel et al. 2021, with weight 100 as in torchmetrics).

    Raises:
        PrefPaintError: the checkpoint is missing or not a CLIP model.
    """
    import torch
    from transformers import AutoProcessor, CLIPModel

    model, processor = _load("clip", checkpoint, (CLIPModel, AutoProcessor))

    @torch.no_grad()
    def judge(images: np.ndarray) -> np.ndarray:
        inputs = processor(text=[text], images=_pictures(images), return_tensors="pt", padding=True, truncation=True)
        found = model(**inputs.to(model.device))
        cosines = found.image_embeds @ found.text_embeds[0]
        return np.asarray(100 * cosines.clamp(min=0).double().cpu().numpy())

    return judge


def blip_judge(checkpoint: str, text: str) -> Judge:
    """BLIP's probability that the text belongs to the picture (its image-text matching head; Li et al. 2022).

    Raises:
        PrefPaintError: the checkpoint is missing or not a BLIP retrieval model.
    """
    import torch
    from transformers import AutoProcessor, BlipForImageTextRetrieval

    model, processor = _load("blip", checkpoint, (BlipForImageTextRetrieval, AutoProcessor))

    @torch.no_grad()
    def judge(images: np.ndarray) -> np.ndarray:
        texts = [text] * len(images)
        inputs = processor(text=texts, images=_pictures(images), return_tensors="pt", padding=True, truncation=True)
        logits = model(**inputs.to(model.device), use_itm_head=True).itm_score
        return np.asarray(logits.softmax(1)[:, 1].double().cpu().numpy())

    return judge


def logits_judge(name: str, checkpoint: str) -> tuple[Judge, dict[int, str]]:
    """A classifier's logits, (N, labels), and the names of its labels.

    Raises:
        PrefPaintError: the checkpoint is missing or not an image classifier.
    """
    import torch
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    model, processor = _load(name, checkpoint, (AutoModelForImageClassification, AutoImageProcessor))

    @torch.no_grad()
    def judge(images: np.ndarray) -> np.ndarray:
        inputs = processor(images=_pictures(images), return_tensors="pt")
        return np.asarray(model(**inputs.to(model.device)).logits.double().cpu().numpy())

    return judge, dict(model.config.id2label)


def aesthetic_judge(checkpoint: str) -> Judge:
    """An aesthetic predictor: the output of a regression model, or the probability of the label "aesthetic".

    Raises:
        PrefPaintError: the checkpoint is missing, or has several labels and none of that name.
    """
    judge, labels = logits_judge("aesthetic", checkpoint)
    if len(labels) == 1:
        return lambda images: judge(images)[:, 0]
    wanted = [number for number, label in labels.items() if str(label).lower() == "aesthetic"]
    if not wanted:
        named = ", ".join(map(str, labels.values()))
        raise PrefPaintError(
            f"evaluate.scores.aesthetic: {checkpoint} has the labels {named}; give a model with one output or with a "
            'label "aesthetic"'
        )

    def probability(images: np.ndarray) -> np.ndarray:
        from scipy.special import softmax

        return np.asarray(softmax(judge(images), axis=1)[:, wanted[0]])

    return probability


def imagereward_judge(checkpoint: str, text: str) -> Judge:
    """ImageReward's preference score of a picture as an answer to the text (Xu et al. 2023); mean 0, spread 1.

    Raises:
        PrefPaintError: the checkpoint is missing, damaged, or not an ImageReward model.
    """
    from prefpaint.evaluation.imagereward import imagereward_scores, load_imagereward

    try:
        model, tokenizer, processor = load_imagereward(checkpoint)
    except (PrefPaintError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise PrefPaintError(
            f"evaluate.scores.imagereward: {checkpoint} cannot be loaded ({reason}); give a folder or hub id"
        ) from error
    model.to(device())
    return lambda images: imagereward_scores(model, tokenizer, processor, images, text)


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


def _batched(judge: Judge, folder: ImageFolder, names: list[str]) -> np.ndarray:
    parts = []
    with Progress("evaluate: learned scores", len(names)) as progress:
        for start in range(0, len(names), BATCH):
            part = names[start : start + BATCH]
            parts.append(judge(folder.stack(part)))
            progress.step(len(part))
    return np.concatenate(parts)


def learned_scores(
    evaluation: pd.DataFrame, samples: ImageFolder, images: ImageFolder, config: EvaluateConfig
) -> pd.DataFrame:
    """Every score of the paper's Table 2 for every method, or why it was not run.

    Args:
        evaluation: image_id, prompt_id, split, pattern, method, noise_set, sample.
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
    values = {name: _batched(make(), samples, names) for name, make in named.items() if name != "classifier"}
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


def _named_judges(given: LearnedScoresConfig) -> dict[str, Callable[[], Judge]]:
    """What loads the model of each score that has a checkpoint."""
    judges: dict[str, Callable[[], Judge]] = {
        "clip": lambda: clip_judge(given.clip, given.text),
        "blip": lambda: blip_judge(given.blip, given.text),
        "aesthetic": lambda: aesthetic_judge(given.aesthetic),
        "classifier": lambda: logits_judge("classifier", given.classifier)[0],
        "imagereward": lambda: imagereward_judge(given.imagereward, given.text),
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
