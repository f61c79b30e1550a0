"""What the embedded model is pretrained on: crops of photographs and holes for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from prefpaint.config import derive_seed
from prefpaint.errors import PrefPaintError
from prefpaint.masks.config import MaskConfig, Pattern
from prefpaint.masks.depth import pseudo_depth
from prefpaint.masks.prompts import make_prompt
from prefpaint.photographs.crops import Box, cut, cut_map, sample_crop
from prefpaint.photographs.sources import image_files
from prefpaint.progress import Progress
from prefpaint.small_model.config import PretrainConfig

# Holes that a changed view opens take milliseconds each to draw, so they are drawn once and used again.
WARP_HOLES = 2048
PATTERNS: tuple[Pattern, ...] = ("outpaint_square", "outpaint_strip", "warp")
SHARES = (0.4, 0.3, 0.3)


def load_photographs(folder: Path) -> list[np.ndarray]:
    """All photographs of a folder, in the order of their names; each (H, W, 3) uint8.

    Raises:
        PrefPaintError: the folder does not exist or holds no image, or an image is damaged.
    """
    if not folder.is_dir():
        raise PrefPaintError(
            f"pretrain.photographs: {folder} was not found; `kedro photographs download {folder.parent}` makes it"
        )
    images = []
    for path in image_files(folder, "pretrain.photographs"):
        try:
            with Image.open(path) as opened:
                images.append(np.asarray(opened.convert("RGB")))
        except (OSError, ValueError, SyntaxError) as error:
            raise PrefPaintError(
                f"pretrain.photographs: {path} cannot be read as an image ({error}); remove it, and "
                f"`kedro photographs download {folder.parent}` makes it again"
            ) from error
    return images


@dataclass(frozen=True)
class Examples:
    """Draws crops and holes; every draw depends on its own seed alone.

    Attributes:
        photographs: each (H, W, 3) uint8.
        config: sizes.
        warps: (M, size, size) uint8, holes of changed views; without any, all holes are for outpainting.
    """

    photographs: Sequence[np.ndarray]
    config: PretrainConfig
    warps: np.ndarray

    @classmethod
    def of(cls, photographs: Sequence[np.ndarray], config: PretrainConfig, warps: int = WARP_HOLES) -> "Examples":
        """Examples with `warps` view-change holes, opened in crops of the photographs themselves."""
        holes = np.zeros((warps, config.size, config.size), np.uint8)
        with Progress("pretrain: view-change holes", warps) as progress:
            for index in range(warps):
                seed = derive_seed("warp hole", config.seed, index)
                rng = np.random.default_rng(seed)
                image = photographs[int(rng.integers(len(photographs)))]
                box = _draw_box(image, config, rng)
                crop = cut(image, box, (config.size, config.size))
                depth = cut_map(pseudo_depth(crop), Box(0, 0, config.size, config.size), crop.shape[:2])
                holes[index] = make_prompt(crop, depth, "warp", MaskConfig(), seed).mask
                progress.step()
        return cls(photographs, config, holes)

    def crop(self, seed: int) -> np.ndarray:
        """(size, size, 3) uint8; mirrored half of the time, colours as they are."""
        rng = np.random.default_rng(seed)
        image = self.photographs[int(rng.integers(len(self.photographs)))]
        crop = cut(image, _draw_box(image, self.config, rng), (self.config.size, self.config.size))
        return crop[:, ::-1] if rng.random() < 0.5 else crop

    def hole(self, seed: int) -> np.ndarray:
        """(size, size) uint8, 1 inside; a warp's hole may be mirrored."""
        rng = np.random.default_rng(derive_seed("hole", seed))
        pattern = PATTERNS[rng.choice(len(PATTERNS), p=SHARES)]
        if pattern == "warp" and len(self.warps):
            hole = self.warps[rng.integers(len(self.warps))]
            return hole[:, ::-1] if rng.random() < 0.5 else hole
        kept = "outpaint_strip" if pattern == "warp" else pattern
        blank = np.zeros((self.config.size, self.config.size, 3), np.uint8)
        hole = make_prompt(blank, blank[..., 0], kept, MaskConfig(), int(rng.integers(2**62))).mask
        # A strip may run across too: a picture is not only widened.
        return hole.T if pattern == "outpaint_strip" and rng.random() < 0.3 else hole

    def batch(self, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Crops (N, 3, H, W) in [-1, 1] and holes (N, 1, H, W) in {0, 1}, float32."""
        crops = to_tensor(np.stack([self.crop(seed) for seed in seeds]))
        holes = torch.from_numpy(np.stack([self.hole(seed) for seed in seeds]))[:, None].float()
        return crops, holes


def _draw_box(image: np.ndarray, config: PretrainConfig, rng: np.random.Generator) -> Box:
    height, width = image.shape[:2]
    low, high = (max(16, round(share * min(height, width))) for share in config.crop_share)
    return sample_crop(Box(0, 0, width, height), (1, 1), (low, high), rng)


def to_tensor(images: np.ndarray) -> Tensor:
    """(N, H, W, 3) uint8 → (N, 3, H, W) float32 in [-1, 1], channels last in memory."""
    tensor = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return tensor.contiguous(memory_format=torch.channels_last)
