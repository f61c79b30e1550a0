"""A small network that tells photographs from fills: how much does a picture look like a photograph throughout?"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from prefpaint.config import fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.fills.config import JudgeModelConfig
from prefpaint.fills.spoiled import mirror_source

WEIGHTS_FILE, CONFIG_FILE = "model.safetensors", "config.json"
GROUPS = 8
BATCH = 64


class ResidualBlock(nn.Module):
    """Two 3 × 3 convolutions beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(GROUPS, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(GROUPS, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, values: Tensor) -> Tensor:
        """(N, C, h, w) → the same shape."""
        return values + self.layers(values)


class PhotographJudge(nn.Module):
    """Likeness to a photograph, from the picture and the place of its hole; no original is seen.

    Besides the picture it is shown how the picture differs from what mirroring the known part would have put into the
    hole: a kaleidoscope has real texture and no joint, so that nothing else gives it away. Pixels and features at three
    scales are averaged inside the hole, in the known part and along the edge; a small head compares them.

    On photographs that training never saw the mean likeness of originals is 2 and that of the embedded base's fills 0:
    `offset` and `scale` are fitted to that after training.
    """

    def __init__(self, config: JudgeModelConfig) -> None:
        super().__init__()
        self.config = config
        first, second, third = config.channels
        self.scales = nn.ModuleList(
            [
                # Without loss of detail to half the size: blur and joints show in single pixels.
                nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(28, first, 3, padding=1), ResidualBlock(first)),
                nn.Sequential(nn.Conv2d(first, second, 4, 2, 1), ResidualBlock(second), ResidualBlock(second)),
                nn.Sequential(nn.Conv2d(second, third, 4, 2, 1), ResidualBlock(third), ResidualBlock(third)),
            ]
        )
        self.head = nn.Sequential(nn.Linear(5 * (9 + sum(config.channels)), 128), nn.SiLU(), nn.Linear(128, 1))

    def logit(self, images: Tensor, holes: Tensor) -> Tensor:
        """What is trained; its unit is set afterwards by `offset` and `scale`.

        Args:
            images: (N, 3, H, W) in [0, 1], holes filled.
            holes: (N, 1, H, W) in {0, 1}, 1 where the fill is.

        Returns:
            (N,).
        """
        size = (self.config.size, self.config.size)
        if images.shape[-2:] != size:
            images = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
            holes = F.interpolate(holes, size)
        colours = 2 * images - 1
        # In grey levels, on a log scale: a smooth photograph has few, a mirrored fill none.
        unlike_mirrored = torch.log1p(127.5 * (colours - mirrored(colours, holes)).abs())
        features = _compare(torch.cat([colours, colours.square(), unlike_mirrored], 1), holes)
        values = torch.cat([colours, holes, unlike_mirrored], 1)
        for scale in self.scales:
            values = scale(values)
            features += _compare(values, F.adaptive_avg_pool2d(holes, (values.shape[-2], values.shape[-1])))
        return self.head(torch.cat(features, 1))[:, 0]

    def forward(self, images: Tensor, holes: Tensor) -> Tensor:
        """Likeness, (N,): about 2 for photographs, 0 for fills of the embedded base; arguments as for `logit`."""
        return (self.logit(images, holes) + self.config.offset) * self.config.scale

    @torch.no_grad()
    def likeness(self, images: np.ndarray, masks: np.ndarray) -> np.ndarray:
        """Likeness of N filled pictures.

        Args:
            images: (N, H, W, 3) uint8, holes filled.
            masks: (N, H, W) uint8, 1 where the fill is.

        Returns:
            (N,) float64.
        """
        parts = []
        for start in range(0, len(images), BATCH):
            pixels = torch.from_numpy(np.ascontiguousarray(images[start : start + BATCH])).permute(0, 3, 1, 2)
            holes = torch.from_numpy(np.ascontiguousarray(masks[start : start + BATCH]))[:, None]
            device = next(self.parameters()).device
            parts.append(self((pixels.float() / 255).to(device), holes.float().to(device)).double().cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros(0)

    def digest(self) -> str:
        """Changes whenever the judge would say something else."""
        from prefpaint.inpainting.checkpoint import module_digest

        return fingerprint(self.config, module_digest(self))

    def save_pretrained(self, folder: Path) -> None:
        """Write configuration and weights, float16."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG_FILE).write_text(self.config.model_dump_json(indent=2) + "\n", encoding="utf-8")
        weights = {key: value.half().contiguous() for key, value in self.state_dict().items()}
        save_file(weights, str(folder / WEIGHTS_FILE))

    @classmethod
    def from_pretrained(cls, folder: Path) -> "PhotographJudge":
        """Read what `save_pretrained` wrote, in float32 and evaluation mode.

        Raises:
            PrefPaintError: a file is missing or damaged.
        """
        try:
            config = JudgeModelConfig.model_validate_json((folder / CONFIG_FILE).read_text(encoding="utf-8"))
            judge = cls(config)
            saved: dict[str, Any] = load_file(str(folder / WEIGHTS_FILE))
            judge.load_state_dict({key: value.float() for key, value in saved.items()})
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            reason = str(error).strip().splitlines()[0]
            raise PrefPaintError(
                f"{folder}: cannot be read as a judge ({reason}); restore it with git, or train it with "
                "`kedro run --pipeline=judge`"
            ) from error
        return judge.eval().requires_grad_(False)


def mirrored(images: Tensor, holes: Tensor) -> Tensor:
    """(N, 3, H, W) with the hole filled by the known part's mirror image."""
    masks = holes[:, 0].detach().cpu().numpy()
    # Many pictures share a hole.
    sources = {mask.tobytes(): mirror_source(mask) for mask in masks}
    index = torch.from_numpy(np.stack([sources[mask.tobytes()] for mask in masks])).to(images.device)
    return images.flatten(2).gather(2, index.flatten(1)[:, None].expand(-1, images.shape[1], -1)).view_as(images)


def _compare(values: Tensor, hole: Tensor) -> list[Tensor]:
    """Five features per channel: hole and known part, along the edge on both sides, and the strongest in the hole.

    Args:
        values: (N, C, h, w).
        hole: (N, 1, h, w), share of the hole in each cell.
    """
    known = 1 - hole
    near_hole = F.max_pool2d(hole, 3, 1, 1)
    near_known = F.max_pool2d(known, 3, 1, 1)

    def mean(weight: Tensor) -> Tensor:
        return (values * weight).sum((2, 3)) / weight.sum((2, 3)).clamp(min=1e-3)

    inside, outside = mean(hole), mean(known)
    strongest = (values - 1e4 * (hole < 0.5)).amax((2, 3)).clamp(min=-10)
    return [inside, outside, mean(hole * near_known), mean(known * near_hole), strongest]
