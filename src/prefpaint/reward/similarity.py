"""How well a fill goes with its text prompt, by CLIP: one more feature of the reward."""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prefpaint.pretrained import load_pretrained
from prefpaint.reward.backbones import clip_pixels
from prefpaint.reward.config import TextConfig

logger = logging.getLogger(__name__)

# Embeddings of texts kept at one time: 8 MB at ViT-B/32 size.
TEXTS_REMEMBERED = 4096
# Cosines of equal pictures and words differ by rounding.
LEAST_DEVIATION = 1e-5


class TextSimilarity(nn.Module):
    """Cosine similarity of a filled picture and its words, on the scale of the other features.

    The feature is √(D w / (1 − w)) (cosine − mean) / deviation, with mean and deviation over the training candidates
    that have words, D other features of deviation 1 and w `config.weight`: in the squared distance of two candidates
    it has the share w on average. It is 0, as for the mean candidate, where there are no words. CLIP is never trained.

    Args:
        config: checkpoint and weight.
        others: D.
        clip, tokenizer: if they are not to be loaded from `config.checkpoint`.

    Raises:
        PrefPaintError: the checkpoint is missing or not a CLIP model.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: TextConfig, others: int, clip: Any = None, tokenizer: Any = None) -> None:
        super().__init__()
        self.config = config
        self.clip, self.tokenizer = (clip, tokenizer) if clip is not None else _load(config.checkpoint)
        self.clip.requires_grad_(False)
        self.clip.eval()
        self.scale = (others * config.weight / (1 - config.weight)) ** 0.5
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))
        self.texts: OrderedDict[str, Tensor] = OrderedDict()
        self.register_load_state_dict_post_hook(lambda module, _: module.texts.clear())

    def train(self, mode: bool = True) -> "TextSimilarity":
        """Stays in evaluation mode."""
        return super().train(False)

    def cosines(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """Of (N, 3, H, W) pictures in [0, 1] with N texts; (N,) in [−1, 1], NaN where a text is empty.

        Gradients flow to the pictures.
        """
        found = torch.full((len(images),), float("nan"), device=images.device)
        rows = [row for row, text in enumerate(texts) if text]
        if not rows:
            return found
        pixels = clip_pixels(images[rows], self.clip.config.vision_config.image_size)
        seen = F.normalize(self.clip.get_image_features(pixel_values=pixels).pooler_output.float(), dim=1)
        said = self._said([texts[row] for row in rows]).to(seen.device)
        return found.index_copy(0, torch.tensor(rows, device=images.device), (seen * said).sum(1))

    @torch.no_grad()
    def _said(self, texts: Sequence[str]) -> Tensor:
        """Unit embeddings of texts, many of which are equal, now or to earlier ones; (N, width)."""
        new = [text for text in dict.fromkeys(texts) if text not in self.texts]
        found = {text: self.texts[text] for text in texts if text in self.texts}
        if new:
            given = self.tokenizer(new, return_tensors="pt", padding=True, truncation=True).to(self.clip.device)
            found |= zip(
                new, F.normalize(self.clip.get_text_features(**given).pooler_output.float(), dim=1), strict=True
            )
        for text, embedding in found.items():
            self.texts[text] = embedding
            self.texts.move_to_end(text)
        while len(self.texts) > TEXTS_REMEMBERED:
            self.texts.popitem(last=False)
        return torch.stack([found[text].to(self.clip.device) for text in texts])

    def fit(self, cosines: Tensor) -> None:
        """Set mean and deviation by those of training candidates, (N,) with NaN where there are no words.

        Where they do not differ there is nothing to learn from: with a warning, the feature is 0 for all words.
        """
        known = cosines[~cosines.isnan()]
        if len(known) < 2 or float(known.std()) < LEAST_DEVIATION:
            logger.warning(
                "reward.text.checkpoint: %d of %d rated candidates have words, and their similarities do not differ; "
                "a reward fitted to these ignores words",
                len(known),
                len(cosines),
            )
            self.std.fill_(float("inf"))
            return
        self.mean.copy_(known.mean())
        self.std.copy_(known.std())

    def feature(self, cosines: Tensor) -> Tensor:
        """The feature that cosines become; (N, 1), 0 for NaN."""
        return torch.where(cosines.isnan(), 0, self.scale * (cosines - self.mean) / self.std)[:, None]

    def forward(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """(N, 3, H, W) in [0, 1] and N texts, "" for none → (N, 1)."""
        return self.feature(self.cosines(images, texts))


def _load(checkpoint: str) -> tuple[Any, ...]:
    """CLIP and its tokenizer."""
    from transformers import AutoTokenizer, CLIPModel

    advice = "give a folder or hub id of a CLIP checkpoint with safetensors weights"
    parts = (AutoTokenizer.from_pretrained,)
    return load_pretrained("reward.text.checkpoint", checkpoint, advice, CLIPModel, parts, use_safetensors=True)
