"""Other people's models that look at one picture at a time: CLIP, BLIP, image classifiers, ImageReward.

Evaluation reports what they say; alignment may raise it. Every error begins with the configuration key that names the
checkpoint.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from prefpaint.distributed import device
from prefpaint.errors import PrefPaintError
from prefpaint.pretrained import load_pretrained

# (N, H, W, 3) uint8 → (N, ...) float64.
Judge = Callable[[np.ndarray], np.ndarray]
# The same with a text for each picture.
TextJudge = Callable[[np.ndarray, Sequence[str]], np.ndarray]


def _load(key: str, checkpoint: str, classes: tuple[Any, Any]) -> tuple[Any, Any]:
    """A transformers model in evaluation mode, on the accelerator where there is one, and its processor."""
    parts = (classes[1].from_pretrained,)
    model, processor = load_pretrained(key, checkpoint, "give a folder or hub id", classes[0], parts)
    return model.to(device()), processor


def _pictures(images: np.ndarray) -> list[Image.Image]:
    return [Image.fromarray(image) for image in images]


def clip_judge(key: str, checkpoint: str) -> TextJudge:
    """CLIP score, 100 · max(cos(picture, text), 0) (Hessel et al. 2021, with weight 100 as in torchmetrics).

    Raises:
        PrefPaintError: the checkpoint is missing or not a CLIP model.
    """
    import torch
    from transformers import AutoProcessor, CLIPModel

    model, processor = _load(key, checkpoint, (CLIPModel, AutoProcessor))

    @torch.no_grad()
    def judge(images: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        different = list(dict.fromkeys(texts))
        inputs = processor(text=different, images=_pictures(images), return_tensors="pt", padding=True, truncation=True)
        found = model(**inputs.to(model.device))
        own = torch.tensor([different.index(text) for text in texts], device=model.device)
        cosines = (found.image_embeds * found.text_embeds[own]).sum(1)
        return np.asarray(100 * cosines.clamp(min=0).double().cpu().numpy())

    return judge


def blip_judge(key: str, checkpoint: str) -> TextJudge:
    """BLIP's probability that the text belongs to the picture (its image-text matching head; Li et al. 2022).

    Raises:
        PrefPaintError: the checkpoint is missing or not a BLIP retrieval model.
    """
    import torch
    from transformers import AutoProcessor, BlipForImageTextRetrieval

    model, processor = _load(key, checkpoint, (BlipForImageTextRetrieval, AutoProcessor))

    @torch.no_grad()
    def judge(images: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        inputs = processor(
            text=list(texts), images=_pictures(images), return_tensors="pt", padding=True, truncation=True
        )
        logits = model(**inputs.to(model.device), use_itm_head=True).itm_score
        return np.asarray(logits.softmax(1)[:, 1].double().cpu().numpy())

    return judge


def logits_judge(key: str, checkpoint: str) -> tuple[Judge, dict[int, str]]:
    """A classifier's logits, (N, labels), and the names of its labels.

    Raises:
        PrefPaintError: the checkpoint is missing or not an image classifier.
    """
    import torch
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    model, processor = _load(key, checkpoint, (AutoModelForImageClassification, AutoImageProcessor))

    @torch.no_grad()
    def judge(images: np.ndarray) -> np.ndarray:
        inputs = processor(images=_pictures(images), return_tensors="pt")
        return np.asarray(model(**inputs.to(model.device)).logits.double().cpu().numpy())

    return judge, dict(model.config.id2label)


def aesthetic_judge(key: str, checkpoint: str) -> Judge:
    """An aesthetic predictor: the output of a regression model, or the probability of the label "aesthetic".

    Raises:
        PrefPaintError: the checkpoint is missing, or has several labels and none of that name.
    """
    judge, labels = logits_judge(key, checkpoint)
    if len(labels) == 1:
        return lambda images: judge(images)[:, 0]
    wanted = [number for number, label in labels.items() if str(label).lower() == "aesthetic"]
    if not wanted:
        named = ", ".join(map(str, labels.values()))
        raise PrefPaintError(
            f'{key}: {checkpoint} has the labels {named}; give a model with one output or with a label "aesthetic"'
        )

    def probability(images: np.ndarray) -> np.ndarray:
        from scipy.special import softmax

        return np.asarray(softmax(judge(images), axis=1)[:, wanted[0]])

    return probability


def imagereward_judge(key: str, checkpoint: str) -> TextJudge:
    """ImageReward's preference score of a picture as an answer to the text (Xu et al. 2023); mean 0, spread 1.

    Raises:
        PrefPaintError: the checkpoint is missing, damaged, or not an ImageReward model.
    """
    from prefpaint.judges.imagereward import imagereward_scores, load_imagereward

    try:
        model, tokenizer, processor = load_imagereward(checkpoint)
    except (PrefPaintError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise PrefPaintError(f"{key}: {checkpoint} cannot be loaded ({reason}); give a folder or hub id") from error
    model.to(device())
    return lambda images, texts: imagereward_scores(model, tokenizer, processor, images, texts)
