"""Novel views: depth → warp → fill."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from prefpaint.applications.novel_view_config import NovelViewConfig
from prefpaint.config import derive_seed, fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.fills.differences import hole_psnr, hole_ssim
from prefpaint.images import ImageWork
from prefpaint.inpainting.classical import classical_fill
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.masks.warp import Pose, orbit_pose, warp_view
from prefpaint.progress import Progress

# A window of the stereo pair counts when at least this share of it has to be filled.
LEAST_HOLE = 0.02
# Windows of the model's size that fit on top of each other in the stereo pair.
WINDOWS_HIGH = 2.6


@dataclass(frozen=True)
class Views:
    """Views of one picture.

    Attributes:
        frames: (N, H, W, 3) uint8, filled.
        warped: (N, H, W, 3) uint8, 0 in holes.
        holes: (N, H, W) uint8, 1 where the picture says nothing.
    """

    frames: np.ndarray
    warped: np.ndarray
    holes: np.ndarray


def camera_path(frames: int, yaw: float, pitch: float) -> list[tuple[float, float]]:
    """A closed way around the picture: (yaw, pitch) per frame, radians, beginning where the picture was taken.

    An ellipse through the middle, so that no step along the way is a jump, not even from the last view to the first.
    """
    turns = 2 * np.pi * np.arange(frames) / frames
    return [(float(yaw * np.sin(turn)), float(pitch * np.sin(2 * turn))) for turn in turns]


def novel_view(
    inpainter: Any,
    image: np.ndarray,
    depth: np.ndarray,
    path: Sequence[tuple[float, float]],
    field_of_view: float,
    seed: int,
) -> Views:
    """See a picture from other places.

    The camera circles the point at the median depth of the picture's middle, as the prompts' cameras do
    (`masks.prompts`). A picture that is not square is squeezed for the model.

    Args:
        inpainter: an `inpainting.sampling.Inpainter`.
        image: (H, W, 3) uint8.
        depth: (H, W) float, positive, along the optical axis.
        path: yaw and pitch of each view, radians.
        field_of_view: horizontal, radians.
        seed: of the noise, the same for all views.

    Raises:
        PrefPaintError: depth does not fit the picture; or the model is out of memory.
    """
    from prefpaint.inpainting.sizes import paint_at_native_size

    height, width = image.shape[:2]
    if depth.shape != (height, width):
        raise PrefPaintError(
            f"depth is {depth.shape[1]} x {depth.shape[0]} px, but the picture {width} x {height}; remake it"
        )
    if not (np.isfinite(depth).all() and (depth > 0).all()):
        raise PrefPaintError("depth has values that are not above 0; remake the depth map")
    focal = width / 2 / np.tan(field_of_view / 2)
    middle = (slice(height // 4, height - height // 4), slice(width // 4, width - width // 4))
    pivot = float(np.median(depth[middle]))
    seen = [warp_view(image, depth, orbit_pose(yaw, pitch, pivot), focal) for yaw, pitch in path]
    warped, holes = np.stack([one for one, _ in seen]), np.stack([hole for _, hole in seen])
    frames = warped.copy()
    # What is whole need not go through the model.
    todo = np.flatnonzero(holes.any((1, 2)))
    if len(todo):
        draws = [derive_seed("view", seed)] * len(todo)
        frames[todo] = paint_at_native_size(inpainter, warped[todo], holes[todo], draws)
    return Views(frames, warped, holes)


def shift_view(image: np.ndarray, disparity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the right camera of a stereo pair sees of the left one's picture.

    A point with disparity d moves d pixels to the left: warping with depth f / d and a camera one unit to the right.

    Args:
        image: (H, W, 3) uint8, left.
        disparity: (H, W) float, pixels, above 0 everywhere.

    Returns:
        The warped image (H, W, 3) uint8, 0 in holes, and the mask (H, W) uint8, 1 in holes.
    """
    focal = float(image.shape[1])
    return warp_view(image, focal / disparity, Pose(np.eye(3), np.array([-1.0, 0.0, 0.0])), focal)


@dataclass(frozen=True)
class StereoWindows:
    """Windows of a stereo pair: the left picture warped to the right camera, and what the right camera saw.

    Attributes:
        warped: (N, S, S, 3) uint8, 0 in holes.
        holes: (N, S, S) uint8.
        truth: (N, S, S, 3) uint8.
    """

    warped: np.ndarray
    holes: np.ndarray
    truth: np.ndarray


def stereo_windows(
    left: np.ndarray, right: np.ndarray, disparity: np.ndarray, side: int, count: int, seed: int
) -> StereoWindows:
    """Windows of the model's size, drawn among those that have something to fill.

    Args:
        left, right: (H, W, 3) uint8, rectified.
        disparity: (H, W) float of the left picture, pixels; NaN and infinity where unknown.
        side: of a window, pixels; the pair is resized so that 2.6 windows fit on top of each other.
        count: how many windows.
        seed: of the draw.

    Raises:
        PrefPaintError: no window has a hole.
    """
    from prefpaint.masks.depth import depth_from_disparity

    scale = side * WINDOWS_HIGH / left.shape[0]
    size = (round(left.shape[1] * scale), round(left.shape[0] * scale))
    small, truth = (np.asarray(Image.fromarray(one).resize(size, Image.Resampling.LANCZOS)) for one in (left, right))
    known = np.where(np.isfinite(disparity), disparity, np.nan)
    # Unknown disparities are taken from their nearest neighbours, as for depth maps.
    whole = np.nanmax(known) / depth_from_disparity(known)
    # Nearest neighbour: blended disparities would invent surfaces between near and far.
    rows = np.minimum((np.arange(size[1]) + 0.5) / scale, left.shape[0] - 1).astype(int)
    columns = np.minimum((np.arange(size[0]) + 0.5) / scale, left.shape[1] - 1).astype(int)
    warped, holes = shift_view(small, whole[np.ix_(rows, columns)] * scale)
    # Sums over all windows at once, from running sums: at 512 px there are a million windows.
    sums = np.pad(holes.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    share = (sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]) / side**2
    fit = np.flatnonzero((share >= LEAST_HOLE) & (share < 0.5))
    if not len(fit):
        raise PrefPaintError("the stereo pair has no window with something to fill; its disparity is flat")
    drawn = np.random.default_rng(derive_seed("windows", seed)).choice(fit, min(count, len(fit)), replace=False)
    places = zip(*np.unravel_index(drawn, share.shape), strict=True)
    cuts = [(slice(y, y + side), slice(x, x + side)) for y, x in places]
    return StereoWindows(*(np.stack([whole_image[cut] for cut in cuts]) for whole_image in (warped, holes, truth)))


def fill_stereo(windows: StereoWindows, inpainters: Mapping[str, Any], seed: int) -> dict[str, np.ndarray]:
    """Fills of every model, and of the smoothest surface as a simple baseline; (N, S, S, 3) uint8 by method."""
    from prefpaint.inpainting.sizes import paint_at_native_size

    seeds = [derive_seed("stereo", seed, number) for number in range(len(windows.warped))]
    fills = {
        name: paint_at_native_size(inpainter, windows.warped, windows.holes, seeds)
        for name, inpainter in inpainters.items()
    }
    pairs = zip(windows.warped, windows.holes, strict=True)
    return {**fills, "biharmonic": np.stack([classical_fill("biharmonic", image, hole) for image, hole in pairs])}


def stereo_metrics(
    windows: StereoWindows, fills: Mapping[str, np.ndarray], resamples: int, seed: int
) -> dict[str, float | int]:
    """Likeness of the filled pixels to what the right camera saw: PSNR (dB) and SSIM with 95 % intervals.

    Intervals are over windows, which overlap and are all of one picture: they say nothing about other pictures.

    Args:
        windows: of `stereo_windows`.
        fills: (N, S, S, 3) uint8 by method, base and aligned among them.
        resamples, seed: of the bootstrap.

    Returns:
        psnr_{method} and ssim_{method} with _low and _high, and their gain, aligned minus base, window by window.
    """
    from prefpaint.stats.bootstrap import bootstrap_mean

    found: dict[str, float | int] = {
        "windows": len(windows.holes),
        "filled_share": round(float(windows.holes.mean()), 6),
    }

    def add(key: str, values: np.ndarray) -> None:
        mean = bootstrap_mean(values, resamples, derive_seed("bootstrap", seed))
        for end, value in (("", mean.value), ("_low", mean.low), ("_high", mean.high)):
            found[key + end] = round(value, 6)

    for quantity, measure in (("psnr", hole_psnr), ("ssim", hole_ssim)):
        values = {
            name: np.array(
                [
                    float(measure(image[None], truth, hole)[0])
                    for image, truth, hole in zip(images, windows.truth, windows.holes, strict=True)
                ]
            )
            for name, images in fills.items()
        }
        for name, of_method in values.items():
            add(f"{quantity}_{name}", of_method)
        add(f"{quantity}_gain", values["aligned"] - values["base"])
    return found


def draw_stereo(windows: StereoWindows, fills: Mapping[str, np.ndarray], shown: int = 6) -> Any:
    """Warped windows, fills and the truth side by side; a matplotlib Figure."""
    from matplotlib.figure import Figure

    from prefpaint.masks.figures import show_hole

    columns = {"left view, warped": [show_hole(*one) for one in zip(windows.warped, windows.holes, strict=True)]}
    columns |= {name: list(images) for name, images in fills.items()} | {"true right view": list(windows.truth)}
    rows = min(shown, len(windows.holes))
    figure = Figure(figsize=(1.9 * len(columns), 1.95 * rows), layout="constrained")
    axes = figure.subplots(rows, len(columns), squeeze=False)
    for column, (name, images) in enumerate(columns.items()):
        for row in range(rows):
            axes[row][column].imshow(images[row], interpolation="nearest")
            axes[row][column].set_axis_off()
        axes[0][column].set_title(name, fontsize=9)
    return figure


def centred_square(image: np.ndarray, depth: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest centred square of a picture and its depth, brought to (side, side)."""
    height, width = image.shape[:2]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    cut = (slice(top, top + edge), slice(left, left + edge))
    picture = Image.fromarray(image[cut]).resize((side, side), Image.Resampling.LANCZOS)
    # Nearest neighbour: blended depth would invent surfaces between near and far.
    index = np.minimum(((np.arange(side) + 0.5) * edge / side).astype(int), edge - 1)
    return np.asarray(picture), depth[cut][np.ix_(index, index)]


def choose_photograph(
    regions: pd.DataFrame, depths: Container[str], name: str | None, stage: str = "novel_view"
) -> str:
    """Key of the photograph to show.

    Args:
        regions: photograph (its name), key, disparity (whether depth comes from a stereo pair).
        depths: keys of the photographs with a depth map.
        name: of the photograph; None for one whose depth was measured rather than estimated, or else the first.
        stage: whose parameter the name is.

    Raises:
        PrefPaintError: no photograph of this name has a depth map.
    """
    in_order = regions.sort_values(["disparity", "photograph"], ascending=[False, True])
    keys = {
        str(photograph): str(key)
        for photograph, key in zip(in_order["photograph"], in_order["key"], strict=True)
        if key in depths
    }
    if name is None and keys:
        return next(iter(keys.values()))
    if name not in keys:
        raise PrefPaintError(f"{stage}.photograph: {name} was not found; choose from {', '.join(sorted(keys))}")
    return keys[name]


def views_work(
    pipe: Any, image: np.ndarray, depth: np.ndarray, sampling: SamplingConfig, config: NovelViewConfig
) -> ImageWork:
    """The configured views of a picture of any size, one by one, at the model's size.

    Args:
        pipe: a `StableDiffusionInpaintPipeline`.
        image: (H, W, 3) uint8; its centred square is shown.
        depth: (H, W) float, positive, along the optical axis.
        sampling: the denoising chain.
        config: from where it is seen.

    Raises:
        PrefPaintError: see `novel_view`.
    """
    from prefpaint.inpainting.families.registry import native_size
    from prefpaint.inpainting.sampling import Inpainter, painting_digest

    square, deep = centred_square(image, depth, native_size(pipe))
    path = config.views or camera_path(config.frames, config.yaw, config.pitch)
    views = {f"frame_{number:04d}": view for number, view in enumerate(path)}
    common = fingerprint(
        painting_digest(pipe, sampling),
        config.model_dump(mode="json", include={"seed", "field_of_view"}),
        [sha256(np.ascontiguousarray(values).tobytes()).hexdigest() for values in (square, deep)],
    )

    def produce(missing: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        # Here, so that each of several processes has its own.
        inpainter = Inpainter(pipe, sampling)
        with Progress("novel_view", len(views), len(views) - len(missing)) as progress:
            for start in range(0, len(missing), sampling.batch):
                keys = missing[start : start + sampling.batch]
                seen = [views[key] for key in keys]
                yield from zip(
                    keys,
                    novel_view(inpainter, square, deep, seen, config.field_of_view, config.seed).frames,
                    strict=True,
                )
                progress.step(len(keys))

    stamps = {name: fingerprint(common, view) for name, view in views.items()}
    return ImageWork(stamps, list(views), produce, sampling.processes)
