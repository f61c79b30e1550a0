"""Words for prompts that have none of their own: captions of their crops by an image-to-text checkpoint."""

import json
import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unicodedata import category

import pandas as pd
from PIL import Image

from prefpaint import distributed
from prefpaint.config import fingerprint
from prefpaint.errors import PrefPaintError, within_memory
from prefpaint.files import files_digest, kept_json, whole_file
from prefpaint.images import ImageFolder
from prefpaint.masks.config import CaptionsConfig
from prefpaint.pretrained import first_line, load_pretrained
from prefpaint.progress import Progress

logger = logging.getLogger(__name__)

KEY = "masks.captions.checkpoint"
# Batches after which captions are written down: what a kill costs at most.
BATCHES_KEPT = 16
# Holes in the shape of a thing, which people often want gone.
OF_THINGS = ("object", "own")

# N pictures → N captions.
Captioner = Callable[[Sequence[Image.Image]], list[str]]


def captioned(plan: pd.DataFrame, photographs: ImageFolder, config: CaptionsConfig, workspace: Path) -> pd.DataFrame:
    """Give prompts without words the caption of their crop of the original photograph, the hole's content included.

    Captions are kept in the workspace, so that a crop is captioned once for each checkpoint and length.

    Args:
        plan: as `collection.plan_prompts` returns it.
        photographs: decoded.
        config: checkpoint; without one the plan is returned as it is.
        workspace: folder in which captions are kept.

    Returns:
        The plan with text_prompt filled in, and text_source: own, caption, or "" for prompts that still have no words.

    Raises:
        PrefPaintError: the checkpoint cannot be loaded, is of another kind, or needs more memory than there is.
    """
    if not config.checkpoint:
        return plan
    own = plan["text_prompt"] != ""
    crops = plan[~own].assign(crop=[_crop_key(row) for row in plan[~own].itertuples()])
    captions = _captions(crops.drop_duplicates("crop"), photographs, config, workspace)
    words = plan["text_prompt"].where(own, crops["crop"].map(captions))
    source = pd.Series("own", index=plan.index).where(own, "caption").where(words != "", "")
    _report(plan.assign(text_prompt=words, text_source=source))
    return plan.assign(text_prompt=words, text_source=source)


def _crop_key(row: Any) -> str:
    return " ".join(str(getattr(row, name)) for name in ("sha256", "left", "top", "right", "bottom"))


def _captions(crops: pd.DataFrame, photographs: ImageFolder, config: CaptionsConfig, workspace: Path) -> dict[str, str]:
    """By crop; read from the workspace where they are there."""
    # A model of a hub is known by its name only.
    files = sorted(file for file in Path(config.checkpoint).glob("*") if file.is_file())
    identity = files_digest(files) if files else config.checkpoint
    kept = workspace / f"captions_{fingerprint(identity, config.tokens)}.json"
    captions: dict[str, str] = kept_json(kept)
    # By photograph, so that each is decoded for one batch or two.
    todo = crops[~crops["crop"].isin(captions)].sort_values(["key", "crop"])
    if todo.empty:
        return captions
    caption = checkpoint_captions(config.checkpoint, config.tokens)
    with (
        Progress("caption prompts", len(crops), len(crops) - len(todo)) as progress,
        within_memory(f"lower masks.captions.batch (now {config.batch})"),
    ):
        for number, start in enumerate(range(0, len(todo), config.batch), 1):
            part = todo.iloc[start : start + config.batch]
            captions |= zip(part["crop"], caption(_pictures(part, photographs)), strict=True)
            if distributed.is_main() and (number % BATCHES_KEPT == 0 or start + config.batch >= len(todo)):
                with whole_file(kept) as temporary:
                    temporary.write_text(json.dumps(captions, indent=1, ensure_ascii=False), encoding="utf-8")
            progress.step(len(part))
    return captions


def _pictures(crops: pd.DataFrame, photographs: ImageFolder) -> list[Image.Image]:
    """Crops in the photographs' own resolution."""
    decoded = {key: photographs[str(key)] for key in crops["key"].unique()}
    return [Image.fromarray(decoded[row.key][row.top : row.bottom, row.left : row.right]) for row in crops.itertuples()]


def _report(plan: pd.DataFrame) -> None:
    """Say where words came from, and warn of captions that are unlikely to be what the user wants."""
    counts = plan["text_source"].value_counts()
    empty = int(counts.get("", 0))
    made = plan[plan["text_source"] == "caption"]
    logger.info("Text prompts: %d of your own, %d captions, %d without words", counts.get("own", 0), len(made), empty)
    if empty:
        logger.warning(
            "%s: %d captions are empty; these prompts have no words and use sampling.text_prompt", KEY, empty
        )
    if len(made) > 1 and made["text_prompt"].nunique() == 1:
        logger.warning(
            "%s: all %d captions are the same (%s); the checkpoint may not suit these pictures",
            KEY,
            len(made),
            made["text_prompt"].iloc[0],
        )
    of_things = int(made["pattern"].isin(OF_THINGS).sum())
    if of_things:
        logger.warning(
            "%s: %d captions of prompts of kind object or own describe what their holes remove as well, so that it is "
            "painted again; give these words of your own where that is not wanted",
            KEY,
            of_things,
        )


def checkpoint_captions(checkpoint: str, tokens: int) -> Captioner:
    """Captions by any `transformers` checkpoint that captions a picture without a prompt (BLIP, GIT, ViT-GPT2, …).

    Decoding is greedy: the same picture has the same caption.

    Args:
        checkpoint: folder or hub id.
        tokens: longest caption.

    Raises:
        PrefPaintError: the checkpoint cannot be loaded or is of another kind.
    """
    import torch
    from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

    advice = "give a folder or hub id of an image-to-text checkpoint with safetensors weights (BLIP, GIT, ViT-GPT2)"
    parts = (partial(AutoImageProcessor.from_pretrained, backend="pil"), AutoTokenizer.from_pretrained)
    model, processor, tokenizer = load_pretrained(
        KEY, checkpoint, advice, AutoModelForImageTextToText, parts, use_safetensors=True
    )
    model.to(distributed.device())

    @torch.inference_mode()
    def caption(pictures: Sequence[Image.Image]) -> list[str]:
        try:
            pixels = processor(images=list(pictures), return_tensors="pt")["pixel_values"].to(model.device)
            found = model.generate(pixel_values=pixels, max_new_tokens=tokens, do_sample=False, num_beams=1)
        except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
            raise PrefPaintError(
                f"{KEY}: {checkpoint} cannot caption a picture without a prompt ({first_line(error)}); {advice}"
            ) from error
        return [_plain(text) for text in tokenizer.batch_decode(found, skip_special_tokens=True)]

    return caption


def _plain(text: str) -> str:
    """One line without control characters, as words of the user's are."""
    return "".join(letter for letter in " ".join(text.split()) if category(letter) not in ("Cc", "Cs"))
