"""Field-of-view enlargement: a picture becomes wider, window by window."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from prefpaint.applications.extend_config import ExtendConfig
from prefpaint.config import derive_seed
from prefpaint.errors import PrefPaintError

SMALLEST = 8
# Share of a window's overlap that is painted again and blended, where it is not the original.
AGAIN = 0.25
# The fill's colours are matched over so many times the distance of an even-handed Laplace equation: a change that is
# gone within a few columns is seen as a band.
REACH = 3


@dataclass(frozen=True)
class Window:
    """One step of outpainting, in columns of the widened picture at the model's height.

    Attributes:
        left: where the window begins.
        known_left, known_right: what is painted already, [known_left, known_right).
        new_left, new_right: what this step adds, [new_left, new_right), beside what is known.
        again: columns beside the new ones that are painted a second time; the two paintings are blended.
    """

    left: int
    known_left: int
    known_right: int
    new_left: int
    new_right: int
    again: int

    @property
    def rightwards(self) -> bool:
        """Whether the picture grows to the right."""
        return self.new_left == self.known_right


@dataclass(frozen=True)
class Extended:
    """Widened pictures.

    Attributes:
        images: (N, H, W, 3) uint8.
        joints: columns x where something new begins: the joint lies between x - 1 and x.
        left: where the original begins; its pixels are in images[:, :, left : left + its width], unchanged.
    """

    images: np.ndarray
    joints: list[int]
    left: int


def plan_windows(width: int, wanted: int, side: int, overlap: float) -> list[Window]:
    """Windows that widen a picture to both sides in turn, right first, the original in the middle.

    Args:
        width: of the original at the model's height, columns.
        wanted: width to reach.
        side: of the model's window.
        overlap: share of a window that shows what is known.

    Returns:
        Windows in order; what they add, together with the original, covers [0, wanted) once. Windows may reach beyond
        the picture where too little is known to fill them.
    """
    known_left = (wanted - width) // 2
    known_right = known_left + width
    first_left, first_right = known_left, known_right
    step = max(1, side - round(overlap * side))
    # Never of the original.
    again = round(AGAIN * overlap * side)
    windows = []
    while known_left > 0 or known_right < wanted:
        if known_right < wanted and (wanted - known_right >= known_left):
            end = min(known_right + step, wanted)
            # The last step shows more of what is known instead of painting what nobody needs.
            left = max(end - side, known_left) if end - known_left >= side else known_left
            painted = min(again, known_right - first_right)
            windows.append(Window(left, known_left, known_right, known_right, end, painted))
            known_right = end
        else:
            begin = max(known_left - step, 0)
            right = min(begin + side, known_right) if known_right - begin >= side else known_right
            painted = min(again, first_left - known_left)
            windows.append(Window(right - side, known_left, known_right, begin, known_left, painted))
            known_left = begin
    return windows


def match_edge(known: np.ndarray, fill: np.ndarray) -> np.ndarray:
    """Shift the colours of a fill so that it continues what is known without a step.

    Gradient-domain blending (P. Pérez, M. Gangnet, A. Blake, Poisson Image Editing, 2003) on a half-strip, where it has
    a closed form: the correction is harmonic, equals the missing continuation at the joint and is free at the other
    sides, in columns counted `REACH` times narrower; so a component with k half-waves over the height H fades as
    exp(-k π x / (REACH · H)). The mean colour is carried on; what differs from row to row is gone after some pixels.

    Args:
        known: (N, H, 2, 3) float, the last two known columns before the joint.
        fill: (N, H, w, 3) float, columns from the joint on.

    Returns:
        (N, H, w, 3) float64, not clipped.
    """
    from scipy.fft import dct, idct

    height, width = fill.shape[1:3]
    # The known picture continues with the slope it had.
    missing = 2 * known[:, :, 1] - known[:, :, 0] - fill[:, :, 0]
    waves = dct(missing, axis=1, norm="ortho")
    fading = np.exp(-np.pi * np.arange(height)[:, None] * np.arange(width)[None, :] / (REACH * height))
    correction = idct(waves[:, :, None, :] * fading[None, :, :, None], axis=1, norm="ortho")
    return np.asarray(fill + correction)


def _join(canvas: np.ndarray, start: int, again: int, strip: np.ndarray) -> None:
    """Put a strip to the right of what is known, in place: matched at its edge and blended where both are painted.

    Args:
        canvas: (N, H, W, 3) float64; a mirrored view of it to go to the left.
        start: the first new column.
        again: columns before it that the strip also covers.
        strip: (N, H, again + w, 3), columns from start - again on.
    """
    begin = start - again
    place = slice(begin, begin + strip.shape[2])
    matched = match_edge(canvas[:, :, begin - 2 : begin], strip)
    share = np.minimum(np.arange(1, strip.shape[2] + 1) / (again + 1), 1)[:, None]
    canvas[:, :, place] = np.clip(share * matched + (1 - share) * canvas[:, :, place], 0, 255)


def _resize(images: np.ndarray, height: int, width: int) -> np.ndarray:
    if images.shape[1:3] == (height, width):
        return images
    resized = (Image.fromarray(one).resize((width, height), Image.Resampling.LANCZOS) for one in images)
    return np.stack([np.asarray(one) for one in resized])


def wanted_width(height: int, width: int, config: ExtendConfig) -> int:
    """Columns to reach.

    Raises:
        PrefPaintError: a picture is too small, or already that wide.
    """
    if min(height, width) < SMALLEST:
        raise PrefPaintError(
            f"a picture of {width} x {height} px cannot be extended; give at least {SMALLEST} px a side"
        )
    wanted = config.width if config.width is not None else round(float(config.aspect or 0) * height)
    key = "width" if config.width is not None else "aspect"
    if wanted <= width:
        raise PrefPaintError(f"extend.{key}: gives {wanted} columns, but the picture already has {width}; raise it")
    return wanted


@dataclass(frozen=True)
class Layout:
    """How pictures of one size are widened.

    Attributes:
        wanted: columns to reach.
        small: columns of the original at the model's height.
        total: columns to reach at the model's height.
        windows: in order, at the model's height.
        left: where the original begins in the widened picture.
        joints: columns x where something new begins: the joint lies between x - 1 and x.
    """

    wanted: int
    small: int
    total: int
    windows: list[Window]
    left: int
    joints: list[int]


def plan_layout(height: int, width: int, side: int, config: ExtendConfig) -> Layout:
    """Plan the widening of pictures of one size by a model whose windows have `side` pixels.

    Raises:
        PrefPaintError: see `wanted_width`.
    """
    wanted = wanted_width(height, width, config)
    small = max(2, round(width * side / height))
    total = max(small + 1, round(wanted * side / height))
    windows = plan_windows(small, total, side, config.overlap)
    scale, start = wanted / total, (total - small) // 2
    left = min(round(start * scale), wanted - width)
    joints = {round((window.known_right if window.rightwards else window.known_left) * scale) for window in windows}
    if height != side:
        # The original is put back at its own size: what lies beside it begins there.
        joints = {x for x in joints if not left < x < left + width} | {left, left + width}
    return Layout(wanted, small, total, windows, left, sorted(x for x in joints if 0 < x < wanted))


def extend(inpainter: Any, images: np.ndarray, seeds: Sequence[int], config: ExtendConfig) -> Extended:
    """Widen N pictures of one size by repeated outpainting.

    Pictures are brought to the model's height, windows of the model's size are painted outwards, each new strip is
    matched to what it continues, and the whole is brought back; the original's own pixels are put back unchanged.

    Args:
        inpainter: an `inpainting.sampling.Inpainter`.
        images: (N, H, W, 3) uint8, any size of at least 8 px.
        seeds: N integers; each window draws its noise from them.
        config: how wide, and how.

    Raises:
        PrefPaintError: see `wanted_width`; or the model is out of memory.
    """
    count, height, width = images.shape[:3]
    side = inpainter.family.native_size
    layout = plan_layout(height, width, side, config)
    start = (layout.total - layout.small) // 2
    canvas = np.zeros((count, side, layout.total, 3))
    canvas[:, :, start : start + layout.small] = _resize(images, side, layout.small)
    for number, window in enumerate(layout.windows):
        # Columns of the window beyond the picture stay unknown, and what is painted there is not used.
        columns = np.arange(window.left, window.left + side)
        inside = (columns >= 0) & (columns < layout.total)
        first = window.known_left + (0 if window.rightwards else window.again)
        last = window.known_right - (window.again if window.rightwards else 0)
        known = inside & (columns >= first) & (columns < last)
        shown = np.zeros((count, side, side, 3), np.uint8)
        shown[:, :, inside] = np.rint(canvas[:, :, columns[inside]]).astype(np.uint8)
        holes = np.broadcast_to((~known).astype(np.uint8), (count, side, side)).copy()
        painted = inpainter.sample(shown, holes, [derive_seed("window", seed, number) for seed in seeds])
        if window.rightwards:
            strip = painted[:, :, last - window.left : window.new_right - window.left]
            _join(canvas, window.known_right, window.again, strip)
        else:
            strip = painted[:, :, window.new_left - window.left : first - window.left]
            _join(canvas[:, :, ::-1], layout.total - window.known_left, window.again, strip[:, :, ::-1])
    whole = [_put_back(one, image, layout) for one, image in zip(np.rint(canvas).astype(np.uint8), images, strict=True)]
    return Extended(np.stack(whole), layout.joints, layout.left)


def _put_back(painted: np.ndarray, image: np.ndarray, layout: Layout) -> np.ndarray:
    """A picture widened at the model's height, brought to the original's height, with the original's own pixels."""
    (height, width), resized = image.shape[:2], painted.shape[0] != image.shape[0]
    result = _resize(painted[None], height, layout.wanted).astype(np.float64)
    left, right = layout.left, layout.left + width
    result[:, :, left:right] = image
    if resized:
        # Resizing has blurred what lay beside the original: match once more where it was put back.
        if right < layout.wanted:
            _join(result, right, 0, result[:, :, right:])
        if left > 0:
            _join(result[:, :, ::-1], layout.wanted - left, 0, result[:, :, :left][:, :, ::-1])
    return np.rint(np.clip(result[0], 0, 255)).astype(np.uint8)
