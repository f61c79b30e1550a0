"""ImageReward (Xu et al. 2023, arXiv 2304.05977): its published weights in transformers' BLIP.

The authors' package needs libraries of 2023, so their file is read here instead. A head of linear layers reads the
first token of BLIP's text encoder, which looks at the picture through cross-attention.
"""

import json
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from prefpaint.errors import PrefPaintError
from prefpaint.reward.published import read_state_dict

WEIGHTS, TEXT_CONFIG = "ImageReward.pt", "med_config.json"
TOKENIZER = "google-bert/bert-base-uncased"
TOKENIZER_FILES = ("vocab.txt", "tokenizer.json")
# Scores of the authors' validation pairs: afterwards mean 0, spread 1.
MEAN, SPREAD = 0.16717362830052426, 1.0333394966054072
LONGEST_TEXT = 35
# Widths of ViT-B and ViT-L are made of heads of this size.
HEAD_SIZE = 64
# In the file, but not used for the score.
UNUSED = ("blip.text_proj.", "blip.vision_proj.", "blip.text_encoder.embeddings.position_ids")
# Published name → transformers' name in the image tower.
VISION = {
    r"^cls_token": "embeddings.class_embedding",
    r"^pos_embed": "embeddings.position_embedding",
    r"^patch_embed\.proj": "embeddings.patch_embedding",
    r"^blocks\.": "encoder.layers.",
    r"\.attn\.qkv": ".self_attn.qkv",
    r"\.attn\.proj": ".self_attn.projection",
    r"\.norm([12])\.": r".layer_norm\1.",
    r"^norm\.": "post_layernorm.",
}


class ImageReward(nn.Module):
    """Picture and text → one number.

    Args:
        vision: a transformers `BlipVisionModel`.
        text: a transformers `BlipTextModel` that attends to the image tower.
        widths: of the head's linear layers, input first, 1 last.
    """

    def __init__(self, vision: Any, text: Any, widths: list[int]) -> None:
        super().__init__()
        self.vision, self.text = vision, text
        # No activations, as published. Dropout between the layers plays no part in scoring.
        self.head = nn.Sequential(*(nn.Linear(*pair) for pair in pairwise(widths)))

    def forward(self, pixels: Tensor, tokens: Tensor, attention: Tensor) -> Tensor:
        """Scores of N pictures.

        Args:
            pixels: (N, 3, S, S), normalised as CLIP's.
            tokens, attention: (N, L) int64, text tokens and which of them count.

        Returns:
            (N,), with mean 0 and spread 1 over the authors' validation pairs.
        """
        seen = self.vision(pixel_values=pixels).last_hidden_state
        read = self.text(
            input_ids=tokens,
            attention_mask=attention,
            encoder_hidden_states=seen,
            encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long, device=seen.device),
        ).last_hidden_state[:, 0]
        return (self.head(read)[:, 0] - MEAN) / SPREAD


def _files(checkpoint: str) -> tuple[Path, Path, str]:
    """Weights, text configuration, and where the tokenizer is."""
    folder = Path(checkpoint)
    if not folder.is_dir():
        from huggingface_hub import hf_hub_download

        found = [Path(hf_hub_download(checkpoint, name)) for name in (WEIGHTS, TEXT_CONFIG)]
        return found[0], found[1], TOKENIZER
    for name in (WEIGHTS, TEXT_CONFIG):
        if not (folder / name).is_file():
            raise PrefPaintError(f"{folder / name}: is missing; give a folder with {WEIGHTS} and {TEXT_CONFIG}")
    own = any((folder / name).is_file() for name in TOKENIZER_FILES)
    return folder / WEIGHTS, folder / TEXT_CONFIG, str(folder) if own else TOKENIZER


def _renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights under the names of `ImageReward`."""
    renamed = {}
    for key, value in weights.items():
        if key.startswith(UNUSED):
            continue
        if key.startswith("blip.visual_encoder."):
            name = key.removeprefix("blip.visual_encoder.")
            for theirs, ours in VISION.items():
                name = re.sub(theirs, ours, name)
            renamed[f"vision.{name}"] = value
        elif key.startswith("mlp.layers."):
            renamed[key] = value
        else:
            renamed[key.replace("blip.text_encoder.", "text.")] = value
    # Dropout layers between them are counted in the published names.
    layers = sorted({int(key.split(".")[2]) for key in renamed if key.startswith("mlp.layers.")})
    for number, layer in enumerate(layers):
        for part in ("weight", "bias"):
            if f"mlp.layers.{layer}.{part}" in renamed:
                renamed[f"head.{number}.{part}"] = renamed.pop(f"mlp.layers.{layer}.{part}")
    return renamed


def _build(file: Path, weights: dict[str, Tensor], text: dict[str, Any]) -> tuple[ImageReward, int]:
    """The model and the side of its pictures; sizes come from the weights and the text configuration."""
    from transformers import BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel

    def shape(key: str, dimensions: int) -> torch.Size:
        if key not in weights or weights[key].dim() != dimensions:
            raise PrefPaintError(f"{file}: has no {key} of {dimensions} dimensions; give the published {WEIGHTS}")
        return weights[key].shape

    width, _, patch, _ = shape("vision.embeddings.patch_embedding.weight", 4)
    side = patch * round((shape("vision.embeddings.position_embedding", 3)[1] - 1) ** 0.5)
    vision = BlipVisionConfig(
        hidden_size=width,
        intermediate_size=shape("vision.encoder.layers.0.mlp.fc1.weight", 2)[0],
        num_hidden_layers=len({key.split(".")[3] for key in weights if key.startswith("vision.encoder.layers.")}),
        num_attention_heads=max(1, width // HEAD_SIZE),
        image_size=side,
        patch_size=patch,
        layer_norm_eps=1e-6,
    )
    # The rest of the file belongs to BERT and to training.
    wanted = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    language = BlipTextConfig(
        **{name: text[name] for name in wanted},
        max_position_embeddings=text["max_position_embeddings"],
        layer_norm_eps=text["layer_norm_eps"],
        encoder_hidden_size=width,
        # Not BLIP's own, which lie outside a small vocabulary; scoring uses none of them.
        bos_token_id=None,
        sep_token_id=None,
        eos_token_id=None,
    )
    heads = sorted(int(key.split(".")[1]) for key in weights if re.fullmatch(r"head\.\d+\.weight", key))
    widths = [text["hidden_size"], *(shape(f"head.{number}.weight", 2)[0] for number in heads)]
    return ImageReward(BlipVisionModel(vision), BlipTextModel(language, add_pooling_layer=False), widths), side


def load_imagereward(checkpoint: str) -> tuple[ImageReward, Any, Any]:
    """Model in evaluation mode on the CPU, tokenizer and image processor.

    Args:
        checkpoint: folder with ImageReward.pt and med_config.json, and with BERT's vocab.txt where there is no
            network; or hub id (THUDM/ImageReward).

    Raises:
        PrefPaintError: a file is missing, damaged, or not what its name says.
    """
    from transformers import BertTokenizer, CLIPImageProcessorPil

    file, text_file, tokenizer = _files(checkpoint)
    weights = _renamed(read_state_dict(file, "the published ImageReward"))
    try:
        model, side = _build(file, weights, json.loads(text_file.read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError) as error:
        raise PrefPaintError(
            f"{text_file}: is not a configuration of BLIP's text encoder ({error}); copy it again"
        ) from error
    expected = model.state_dict()
    for key in (*expected, *weights):
        if key not in weights or key not in expected:
            state = "missing" if key not in weights else "unknown"
            raise PrefPaintError(f"{file}: weight {key} is {state}; give the published {WEIGHTS}")
        if weights[key].shape != expected[key].shape:
            found, wanted = tuple(weights[key].shape), tuple(expected[key].shape)
            raise PrefPaintError(
                f"{file}: weight {key} has shape {found}, not {wanted}; {TEXT_CONFIG} belongs to another model"
            )
    model.load_state_dict(weights)
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}, resample=Image.Resampling.BICUBIC
    )
    return model.eval(), BertTokenizer.from_pretrained(tokenizer), processor


def imagereward_scores(
    model: ImageReward, tokenizer: Any, processor: Any, images: np.ndarray, texts: Sequence[str]
) -> np.ndarray:
    """Scores of pictures as answers to their texts.

    Args:
        model, tokenizer, processor: of `load_imagereward`.
        images: (N, H, W, 3) uint8.
        texts: N, what each picture should show.

    Returns:
        (N,) float64.
    """
    device = next(model.parameters()).device
    words = tokenizer(
        list(texts), padding="max_length", truncation=True, max_length=LONGEST_TEXT, return_tensors="pt"
    ).to(device)
    pixels = processor([Image.fromarray(image) for image in images], return_tensors="pt")["pixel_values"].to(device)
    with torch.no_grad():
        return np.asarray(model(pixels, words.input_ids, words.attention_mask).double().cpu().numpy())
