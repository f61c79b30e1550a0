"""Small models of the real classes, with random weights, saved as people publish theirs."""

from pathlib import Path

import numpy as np
import torch
import transformers

from tests.judges.test_imagereward import write_checkpoint

SIDE = 32
TOWERS = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


def write_clip(folder: Path, tokenizer: Path) -> Path:
    """A CLIP.

    Args:
        folder: its own.
        tokenizer: folder of a CLIP's.
    """
    torch.manual_seed(0)
    size = {"height": SIDE, "width": SIDE}
    words_of_clip = transformers.AutoTokenizer.from_pretrained(tokenizer)
    vision = {**TOWERS, "image_size": SIDE, "patch_size": 8}
    clip = transformers.CLIPConfig(
        # The end of a text is what is read of it.
        text_config={
            **TOWERS,
            "vocab_size": len(words_of_clip),
            "projection_dim": 8,
            "eos_token_id": words_of_clip.eos_token_id,
        },
        vision_config=vision,
        projection_dim=8,
    )
    transformers.CLIPModel(clip).save_pretrained(folder)
    images = transformers.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=size)
    transformers.CLIPProcessor(image_processor=images, tokenizer=words_of_clip).save_pretrained(folder)
    return folder


def write_models(folder: Path, tokenizer: Path) -> Path:
    """Folders clip, blip, imagereward, classifier, aesthetic (a label of that name) and regression (one output).

    Args:
        folder: theirs.
        tokenizer: folder of CLIP's.
    """
    size = {"height": SIDE, "width": SIDE}
    vision = {**TOWERS, "image_size": SIDE, "patch_size": 8}
    write_clip(folder / "clip", tokenizer)

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]", "a", "photograph"]
    vocabulary = {word: number for number, word in enumerate(words)}
    bert = transformers.BertTokenizerFast(vocab=vocabulary, model_max_length=512)
    blip = transformers.BlipConfig(
        text_config={**TOWERS, "vocab_size": len(words), "encoder_hidden_size": 16},
        vision_config=vision,
        projection_dim=8,
        image_text_hidden_size=8,
    )
    transformers.BlipForImageTextRetrieval(blip).save_pretrained(folder / "blip")
    transformers.BlipProcessor(transformers.BlipImageProcessor(size=size), bert).save_pretrained(folder / "blip")

    (folder / "imagereward").mkdir()
    write_checkpoint(folder / "imagereward")

    for name, labels in (
        ("classifier", ["cat", "dog", "cup"]),
        ("aesthetic", ["not_aesthetic", "aesthetic"]),
        ("regression", ["score"]),
    ):
        config = transformers.ViTConfig(
            **vision,
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            label2id={b: a for a, b in enumerate(labels)},
        )
        transformers.ViTForImageClassification(config).save_pretrained(folder / name)
        transformers.ViTImageProcessor(size=size).save_pretrained(folder / name)
    return folder


def pictures(count: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3)).astype(np.uint8)
