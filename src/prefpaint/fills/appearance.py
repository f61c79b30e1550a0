"""Visible flaws of a filled hole, measured against its surroundings.

Everything here compares the fill with the known part of the same picture; none of it sees an original.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

# About one grey level of difference in each channel: below it nobody sees texture.
ENERGY_FLOOR = 3 * (1.5 / 255) ** 2
RING = 3
# Cells of the palette: their side in pixels, or that share of a larger picture's side.
COARSE, CELLS = 4, 64
# What is held at a time, so that memory does not grow with the number of pictures.
PIXELS_AT_ONCE, DISTANCES_AT_ONCE = 2**22, 2**24


@dataclass(frozen=True)
class Appearance:
    """Flaws of N fills, each (N,) float32.

    Attributes:
        log_energy: log mean squared gradient inside the hole minus that of the known part, pixel scale.
        log_energy_coarse: the same after averaging 2 × 2 pixels.
        seam: log root-mean-square step across the hole's edge against steps beside it, at least 0.
        colour: distance between the mean colours of rings inside and outside the edge, compared place by
            place; RGB in [0, 1].
        palette: mean distance of the fill's colours to the nearest colour of the known part, on means of 4 × 4
            pixels, in pictures of more than 256 px on a 64th of their side; RGB in [0, 1].
    """

    log_energy: Tensor
    log_energy_coarse: Tensor
    seam: Tensor
    colour: Tensor
    palette: Tensor


def _pairs(values: Tensor) -> tuple[Tensor, Tensor]:
    """Neighbouring elements along width, then along height."""
    return values[..., :, 1:] - values[..., :, :-1], values[..., 1:, :] - values[..., :-1, :]


def _both(region: Tensor) -> tuple[Tensor, Tensor]:
    """1 where both neighbours lie in a region."""
    return region[..., :, 1:] * region[..., :, :-1], region[..., 1:, :] * region[..., :-1, :]


def _mean_energy(pixels: Tensor, selected: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Mean squared difference over selected neighbour pairs, and their number; (N,) each."""
    total = torch.zeros(len(pixels))
    count = torch.zeros(len(pixels))
    for difference, chosen in zip(_pairs(pixels), selected, strict=True):
        total += (difference.square().sum(1, keepdim=True) * chosen).sum((1, 2, 3))
        count += chosen.sum((1, 2, 3))
    return total / count.clamp(min=1), count


def _log_energy_ratio(pixels: Tensor, hole: Tensor) -> Tensor:
    inside, n_inside = _mean_energy(pixels, _both(hole))
    outside, n_outside = _mean_energy(pixels, _both(1 - hole))
    ratio = torch.log(inside + ENERGY_FLOOR) - torch.log(outside + ENERGY_FLOOR)
    return torch.where((n_inside > 0) & (n_outside > 0), ratio, torch.zeros(()))


def _dilate(region: Tensor, radius: int) -> Tensor:
    return F.max_pool2d(region, 2 * radius + 1, stride=1, padding=radius)


def _seam(pixels: Tensor, hole: Tensor) -> Tensor:
    known = 1 - hole
    near = (hole * _dilate(known, RING), known * _dilate(hole, RING))
    crossing = tuple(a + b for a, b in zip(_both(hole), _both(known), strict=True))
    across, _ = _mean_energy(pixels, (1 - crossing[0], 1 - crossing[1]))
    beside_parts = [_mean_energy(pixels, _both(part)) for part in near]
    count = sum((number for _, number in beside_parts), torch.zeros(()))
    beside = sum((energy * number for energy, number in beside_parts), torch.zeros(())) / count.clamp(min=1)
    return (0.5 * (torch.log(across + ENERGY_FLOOR) - torch.log(beside + ENERGY_FLOOR))).clamp(min=0)


def _colour_step(pixels: Tensor, hole: Tensor) -> Tensor:
    known = 1 - hole

    def local_mean(region: Tensor) -> Tensor:
        window = 2 * RING + 1
        total = F.avg_pool2d(pixels * region, window, 1, RING, count_include_pad=False)
        share = F.avg_pool2d(region, window, 1, RING, count_include_pad=False)
        return total / share.clamp(min=1e-3)

    edge = hole * _dilate(known, 1)
    distance = (local_mean(hole) - local_mean(known)).square().sum(1, keepdim=True).sqrt()
    return (distance * edge).sum((1, 2, 3)) / edge.sum((1, 2, 3)).clamp(min=1)


def _palette(pixels: Tensor, hole: Tensor) -> Tensor:
    side = max(COARSE, min(pixels.shape[-2:]) // CELLS)

    def cells(region: Tensor) -> tuple[Tensor, Tensor]:
        share = F.avg_pool2d(region, side)
        mean = F.avg_pool2d(pixels * region, side) / share.clamp(min=1e-3)
        return mean.flatten(2).transpose(1, 2), share.flatten(1)

    fill, fill_share = cells(hole)
    known, known_share = cells(1 - hole)
    at_once = max(1, DISTANCES_AT_ONCE // fill.shape[1] ** 2)
    parts = []
    for rows in torch.arange(len(fill)).split(at_once):
        distance = torch.cdist(fill[rows], known[rows])
        parts.append(distance.masked_fill_((known_share[rows] < 0.25)[:, None, :], float("inf")).min(dim=2).values)
    nearest = torch.cat(parts)
    nearest = torch.where(torch.isfinite(nearest), nearest, torch.zeros(()))
    return (nearest * fill_share).sum(1) / fill_share.sum(1).clamp(min=1e-3)


def appearance(images: np.ndarray, masks: np.ndarray) -> Appearance:
    """Measure the flaws of N fills.

    Args:
        images: (N, H, W, 3) uint8, holes filled.
        masks: (N, H, W) uint8, 1 where the fill is.
    """
    at_once = max(1, PIXELS_AT_ONCE // (images.shape[1] * images.shape[2]))
    starts = range(0, max(1, len(images)), at_once)
    parts = [_appearance(images[start : start + at_once], masks[start : start + at_once]) for start in starts]
    return Appearance(*(torch.cat([getattr(part, one.name) for part in parts]) for one in fields(Appearance)))


def _appearance(images: np.ndarray, masks: np.ndarray) -> Appearance:
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255
    hole = torch.from_numpy(np.ascontiguousarray(masks))[:, None].float()
    # A coarse cell counts for the hole when most of it lies there.
    coarse_hole = (F.avg_pool2d(hole, 2) >= 0.5).float()
    return Appearance(
        log_energy=_log_energy_ratio(pixels, hole),
        log_energy_coarse=_log_energy_ratio(F.avg_pool2d(pixels, 2), coarse_hole),
        seam=_seam(pixels, hole),
        colour=_colour_step(pixels, hole),
        palette=_palette(pixels, hole),
    )
