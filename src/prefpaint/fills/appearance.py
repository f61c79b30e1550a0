"""Visible flaws of a filled hole, measured against its surroundings.

Everything here compares the fill with the known part of the same picture; none of it sees an original.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from prefpaint.fills.boundary import (
    ENERGY_FLOOR,
    PIXELS_AT_ONCE,
    as_tensors,
    both,
    colour_distance,
    log_seam_ratio,
    mean_energy,
)

# Cells of the palette: their side in pixels, or that share of a larger picture's side.
COARSE, CELLS = 4, 64
# What is held at a time, so that memory does not grow with the number of pictures.
DISTANCES_AT_ONCE = 2**24


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


def _log_energy_ratio(pixels: Tensor, hole: Tensor) -> Tensor:
    inside, n_inside = mean_energy(pixels, both(hole))
    outside, n_outside = mean_energy(pixels, both(1 - hole))
    ratio = torch.log(inside + ENERGY_FLOOR) - torch.log(outside + ENERGY_FLOOR)
    return torch.where((n_inside > 0) & (n_outside > 0), ratio, torch.zeros(()))


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
    pixels, hole = as_tensors(images, masks)
    # A coarse cell counts for the hole when most of it lies there.
    coarse_hole = (F.avg_pool2d(hole, 2) >= 0.5).float()
    return Appearance(
        log_energy=_log_energy_ratio(pixels, hole),
        log_energy_coarse=_log_energy_ratio(F.avg_pool2d(pixels, 2), coarse_hole),
        seam=log_seam_ratio(pixels, hole).clamp(min=0),
        colour=colour_distance(pixels, hole),
        palette=_palette(pixels, hole),
    )
