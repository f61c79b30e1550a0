"""Joint denoising: pictures larger than a model's own, painted by overlapping windows on one canvas of latents.

At every step of the chain the network sees each window, and where windows overlap its predictions are averaged before
the canvas takes the step (MultiDiffusion, Bar-Tal et al. 2023). So windows agree while they are painted, and there is
no order in which one could continue another's mistakes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from prefpaint.inpainting.chain import Levels, per_image, step_mean
from prefpaint.inpainting.sampling import Inpainter, eight_bits

# A canvas of so many times the area of a window is painted whole: sides are rounded to the family's units.
AT_ONCE = 1.2


@dataclass(frozen=True)
class Window:
    """A rectangle of a canvas, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, canvas: np.ndarray) -> np.ndarray:
        """What a canvas (H, W, ...) holds there: a view."""
        return canvas[self.top : self.top + self.height, self.left : self.left + self.width]

    def latents(self, factor: int) -> tuple[slice, slice]:
        """Rows and columns of the canvas of latents, each `factor` pixels wide."""
        return (
            slice(self.top // factor, (self.top + self.height) // factor),
            slice(self.left // factor, (self.left + self.width) // factor),
        )


def _starts(length: int, side: int, overlap: float, unit: int) -> list[int]:
    """Where windows begin along one direction: as few as overlap enough, at even distances."""
    steps = math.ceil((length - side) / max(unit, (1 - overlap) * side))
    return [round(number * (length - side) / steps / unit) * unit for number in range(steps)] + [length - side]


def plan_windows(height: int, width: int, side: int, overlap: float, unit: int) -> list[Window]:
    """Windows of equal size that cover a canvas, row by row.

    Args:
        height, width: of the canvas, multiples of `unit`.
        side: of a window, a multiple of `unit`. A canvas that has no more pixels than that square, but for
            rounding, is one window.
        overlap: least share of a window that its neighbour covers too, up to rounding to units.
        unit: see `Inpainter.latent_shape`.
    """
    if height * width <= AT_ONCE * side * side:
        return [Window(0, 0, height, width)]
    high, wide = min(side, height), min(side, width)
    return [
        Window(top, left, high, wide)
        for top in _starts(height, high, overlap, unit)
        for left in _starts(width, wide, overlap, unit)
    ]


def _tent(length: int) -> Tensor:
    """Weights that fall from the middle to both ends, (length,), all positive."""
    places = torch.arange(length) + 0.5
    return torch.minimum(places, length - places) * 2 / length


def _joined(
    windows: Sequence[Window], shape: tuple[int, int], factor: int, batch: int, look: Callable[[Sequence[int]], Tensor]
) -> Tensor:
    """The weighted mean of what windows say, on their canvas; 0 where there is no window.

    Args:
        windows: of equal size.
        shape: rows and columns of the canvas.
        factor: pixels along a side of one of its places.
        batch: windows looked at together.
        look: given places in `windows`, gives (n, C, h, w).
    """
    weight = _tent(windows[0].height // factor)[:, None] * _tent(windows[0].width // factor)
    total, weights = None, torch.zeros(shape)
    for start in range(0, len(windows), batch):
        places = range(start, min(start + batch, len(windows)))
        for place, seen in zip(places, look(places), strict=True):
            if total is None:
                weight, weights = weight.to(seen), weights.to(seen)
                total = seen.new_zeros(len(seen), *shape)
            rows, columns = windows[place].latents(factor)
            total[:, rows, columns] += weight * seen
            weights[rows, columns] += weight
    assert total is not None
    return torch.where(weights > 0, total / weights, 0)


@torch.no_grad()
def paint_canvas(
    inpainter: Inpainter, image: np.ndarray, hole: np.ndarray, seed: int, overlap: float, start: int = 0
) -> np.ndarray:
    """Fill a picture's hole by windows of the model's size that are denoised together.

    Args:
        inpainter: of any family.
        image: (H, W, 3) uint8, sides multiples of the family's unit; what lies in the hole is what painting starts
            from where `start` is above 0.
        hole: (H, W) uint8, 1 where missing.
        seed: of the noise.
        overlap: see `plan_windows`.
        start: first step that is run, see `Inpainter.repaint`.

    Returns:
        (H, W, 3) uint8 as the model painted it: what is known too, wherever a window shows some of the hole.
    """
    family, config, factor = inpainter.family, inpainter.config, inpainter.family.factor
    height, width = hole.shape
    shape = inpainter.latent_shape(height, width)
    planned = plan_windows(height, width, family.native_size, overlap, factor * family.patch)
    windows = [window for window in planned if window.of(hole).any()]
    # (T + 2, 1, C, h, w), the same whatever the windows are.
    noise = inpainter.draw_noise([seed], shape)

    def cut(canvas: Tensor, places: Sequence[int]) -> Tensor:
        return torch.stack([canvas[(..., *windows[place].latents(factor))] for place in places])

    def pixels(canvas: np.ndarray, places: Sequence[int]) -> np.ndarray:
        return np.stack([windows[place].of(canvas) for place in places])

    def join(look: Callable[[Sequence[int]], Tensor]) -> Tensor:
        return _joined(windows, shape[1:], factor, config.batch, look)

    def predict(level: Levels, latents: Tensor, places: Sequence[int]) -> Tensor:
        return inpainter.predict(inpainter.network, cut(latents, places), level, conditions[places[0]])

    schedule = inpainter.schedule(windows[0].height, windows[0].width)
    batches = range(0, len(windows), config.batch)
    conditions = {}
    for first in batches:
        places = range(first, min(first + config.batch, len(windows)))
        conditions[first] = inpainter.condition(pixels(image, places), pixels(hole, places), cut(noise[1, 0], places))
    latents = noise[0, 0]
    if start > 0:
        level = schedule.levels[start]
        clean = join(lambda places: inpainter.encode(inpainter.pixels(pixels(image, places)), cut(noise[1, 0], places)))
        signal, spread = (per_image(part, clean)[0] for part in (level.signal, level.spread))
        latents = signal * clean + spread * latents
    for index in range(start, config.steps):
        predicted = join(partial(predict, schedule.levels[index], latents))
        mean = step_mean(schedule, index, latents[None], predicted[None])
        latents = (mean + per_image(schedule.sigma[index], mean) * noise[index + 2])[0]
    decoded = _joined(
        windows,
        hole.shape,
        1,
        config.batch,
        lambda places: inpainter.decode_pixels(cut(latents, places)),
    )
    painted = eight_bits(decoded[None])
    # From what was painted before, different seeds may lead to the same picture.
    if start == 0:
        inpainter.check.painted(painted, image[None], hole[None], [seed])
    return painted[0]
