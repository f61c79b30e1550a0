"""What shows at a hole's edge: steps across it, and colours that jump there."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

# About one grey level of difference in each channel: below it nobody sees texture.
ENERGY_FLOOR = 3 * (1.5 / 255) ** 2
RING = 3
# Held at a time, so that memory does not grow with the number of pictures.
PIXELS_AT_ONCE = 2**22
# From a distance in RGB, each channel in [0, 1], to grey levels: a grey step of 10 levels is 10.
GREY_LEVELS = 255 / 3**0.5


@dataclass(frozen=True)
class Boundary:
    """N fills at the edge of their holes; each (N,) float64, NaN where a hole has no edge inside the picture.

    A photograph has edges too. What its own pixels give at the same place is the value to compare with.

    Attributes:
        log_ratio: log of `seam_ratio`.
        colour_step: mean distance between the colours within 3 px inside and outside the edge, compared place by
            place; grey levels, root mean square over the channels.
    """

    log_ratio: np.ndarray
    colour_step: np.ndarray

    @property
    def seam_ratio(self) -> np.ndarray:
        """Root-mean-square step across the edge over that of the steps within 3 px beside it, to all sides.

        1: the edge does not stand out; above 1: a seam; below 1: smoother than beside it, as blurred edges are.
        Steps below about one grey level do not count.
        """
        return np.exp(self.log_ratio)


def boundary(images: np.ndarray, masks: np.ndarray, device: torch.device | str = "cpu") -> Boundary:
    """Measure N fills at the edge of their holes. The picture's own border is no edge.

    Args:
        images: (N, H, W, 3) uint8, holes filled.
        masks: (N, H, W) uint8, 1 where the fill is.
        device: where it is computed.
    """
    at_once = max(1, PIXELS_AT_ONCE // (images.shape[1] * images.shape[2]))
    log_ratio, colour_step = np.zeros(len(images)), np.zeros(len(images))
    for start in range(0, len(images), at_once):
        some = slice(start, start + at_once)
        pixels, hole = (values.to(device) for values in as_tensors(images[some], masks[some]))
        has_edge = (hole * dilate(1 - hole, 1)).sum((1, 2, 3)) > 0
        for values, found in (
            (log_ratio, log_seam_ratio(pixels, hole)),
            (colour_step, GREY_LEVELS * colour_distance(pixels, hole)),
        ):
            values[some] = torch.where(has_edge, found, torch.nan).double().cpu().numpy()
    return Boundary(log_ratio, colour_step)


def as_tensors(images: np.ndarray, masks: np.ndarray) -> tuple[Tensor, Tensor]:
    """Pictures (N, H, W, 3) and masks (N, H, W), uint8, as (N, 3, H, W) in [0, 1] and (N, 1, H, W), float32."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
    return pixels, torch.from_numpy(np.ascontiguousarray(masks))[:, None].float()


def _pairs(values: Tensor) -> tuple[Tensor, Tensor]:
    """Neighbouring elements along width, then along height."""
    return values[..., :, 1:] - values[..., :, :-1], values[..., 1:, :] - values[..., :-1, :]


def both(region: Tensor) -> tuple[Tensor, Tensor]:
    """1 where both neighbours lie in a region."""
    return region[..., :, 1:] * region[..., :, :-1], region[..., 1:, :] * region[..., :-1, :]


def mean_energy(pixels: Tensor, selected: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Mean squared difference over selected neighbour pairs, and their number; (N,) each."""
    total = torch.zeros(len(pixels), device=pixels.device)
    count = torch.zeros(len(pixels), device=pixels.device)
    for difference, chosen in zip(_pairs(pixels), selected, strict=True):
        total += (difference.square().sum(1, keepdim=True) * chosen).sum((1, 2, 3))
        count += chosen.sum((1, 2, 3))
    return total / count.clamp(min=1), count


def dilate(region: Tensor, radius: int) -> Tensor:
    """1 within `radius` pixels of a region, diagonally too."""
    return F.max_pool2d(region, 2 * radius + 1, stride=1, padding=radius)


def log_seam_ratio(pixels: Tensor, hole: Tensor) -> Tensor:
    """Log root-mean-square step across the hole's edge minus that of the steps beside it, (N,); 0 without an edge.

    Args:
        pixels: (N, 3, H, W) in [0, 1].
        hole: (N, 1, H, W) in {0, 1}.
    """
    known = 1 - hole
    near = (hole * dilate(known, RING), known * dilate(hole, RING))
    crossing = tuple(a + b for a, b in zip(both(hole), both(known), strict=True))
    across, _ = mean_energy(pixels, (1 - crossing[0], 1 - crossing[1]))
    beside_parts = [mean_energy(pixels, both(part)) for part in near]
    count = sum((number for _, number in beside_parts), torch.zeros(()))
    beside = sum((energy * number for energy, number in beside_parts), torch.zeros(())) / count.clamp(min=1)
    return 0.5 * (torch.log(across + ENERGY_FLOOR) - torch.log(beside + ENERGY_FLOOR))


def colour_distance(pixels: Tensor, hole: Tensor) -> Tensor:
    """Distance between the mean colours of rings inside and outside the edge, place by place; 0 without an edge.

    Args:
        pixels: (N, 3, H, W) in [0, 1].
        hole: (N, 1, H, W) in {0, 1}.

    Returns:
        (N,), RGB in [0, 1].
    """
    known = 1 - hole

    def local_mean(region: Tensor) -> Tensor:
        window = 2 * RING + 1
        total = F.avg_pool2d(pixels * region, window, 1, RING, count_include_pad=False)
        share = F.avg_pool2d(region, window, 1, RING, count_include_pad=False)
        return total / share.clamp(min=1e-3)

    edge = hole * dilate(known, 1)
    distance = (local_mean(hole) - local_mean(known)).square().sum(1, keepdim=True).sqrt()
    return (distance * edge).sum((1, 2, 3)) / edge.sum((1, 2, 3)).clamp(min=1)
