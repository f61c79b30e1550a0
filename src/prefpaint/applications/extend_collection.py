"""Widening a collection of pictures: which, in what order, and how visible the joints are."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from prefpaint.applications.extend import AGAIN, REACH, extend, plan_layout, wanted_width
from prefpaint.applications.extend_config import ExtendConfig
from prefpaint.applications.seams import Visibility, seam_visibility
from prefpaint.config import derive_seed, fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder, ImageWork
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.progress import Progress

logger = logging.getLogger(__name__)

# Pictures in the figure.
SHOWN = 12
# Pixels of the widened pictures that are painted together.
PIXELS_AT_ONCE = 2**25


def choose_pictures(prompts: pd.DataFrame, count: int) -> list[str]:
    """Whole pictures of photographs nothing was aligned on: prompt ids, as many photographs as possible.

    Args:
        prompts: prompt_id, split, pattern, photograph; all kinds but warps keep the whole original.
        count: how many.

    Returns:
        None of them where all holes are warps: those prompts show no whole picture.
    """
    fit = (prompts["split"] == "unseen") & (prompts["pattern"] != "warp")
    ordered = prompts[fit].sort_values("prompt_id")
    if ordered.empty:
        logger.warning("no prompt of split unseen shows a whole picture (masks.patterns), so none is widened")
    turn = ordered.groupby("photograph").cumcount()
    return list(ordered.assign(turn=turn).sort_values(["turn", "photograph"])["prompt_id"].head(count))


def originals_work(prompts: pd.DataFrame, images: ImageFolder, config: ExtendConfig) -> ImageWork:
    """The pictures that are to be widened: the user's own, or those of `choose_pictures`.

    Files that are not images are skipped with a warning.

    Raises:
        PrefPaintError: the folder is missing or holds no image.
    """
    from prefpaint.photographs.collection import photograph_key
    from prefpaint.photographs.sources import image_files, read_image

    if config.folder is None:
        chosen = choose_pictures(prompts, config.images)
        stamp = fingerprint({name: images.checksum(name) for name in chosen})
        return ImageWork(stamp, chosen, lambda missing: ((name, images[name]) for name in missing))
    paths = image_files(config.folder, "extend.folder")
    names = [path.relative_to(config.folder) for path in paths]
    # Without its ending a name is nicer, unless two files differ in nothing else.
    plain = [name.with_suffix("") for name in names]
    keys = [short if plain.count(short) == 1 else name for short, name in zip(plain, names, strict=True)]
    files = {photograph_key(key.as_posix()): path for key, path in zip(keys, paths, strict=True)}
    stats = {key: path.stat() for key, path in files.items()}
    stamps = {key: fingerprint(stat.st_size, stat.st_mtime_ns, config.longest_side) for key, stat in stats.items()}

    def produce(missing: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        for key in missing:
            try:
                yield key, np.asarray(read_image(files[key], config.longest_side))
            except PrefPaintError as error:
                logger.warning("%s; it is skipped", error)

    return ImageWork(stamps, list(files), produce)


def extend_work(pipe: Any, originals: ImageFolder, sampling: SamplingConfig, config: ExtendConfig) -> ImageWork:
    """The widened pictures; pictures of one size are painted together.

    Args:
        pipe: a `StableDiffusionInpaintPipeline`.
        originals: what is to be widened.
        sampling: the denoising chain.
        config: how wide, and how. Pictures that are already as wide are skipped with a warning.

    Raises:
        PrefPaintError: every picture is already as wide.
    """
    from prefpaint.inpainting.families.registry import native_size
    from prefpaint.inpainting.sampling import Inpainter, painting_digest

    sizes = pd.Series({name: originals.size(name) for name in originals}, dtype=object)
    if sizes.empty and config.folder is not None:
        raise PrefPaintError(f"extend.folder: no picture in {config.folder} can be read; give other pictures")
    refused = {}
    for name, (width, height) in sizes.items():
        try:
            wanted_width(height, width, config)
        except PrefPaintError as error:
            refused[str(name)] = str(error)
            logger.warning("%s: %s; it is skipped", name, error)
    if len(refused) == len(sizes) > 0:
        name, reason = next(iter(refused.items()))
        raise PrefPaintError(f"none of {len(sizes)} pictures can be widened; {name}: {reason}")
    names = [str(name) for name in sizes.index if name not in refused]
    common = fingerprint(
        painting_digest(pipe, sampling),
        config.model_dump(mode="json", include={"seed", "width", "aspect", "overlap"}),
        [AGAIN, REACH],
    )
    stamps = {name: fingerprint(common, originals.checksum(name)) for name in names}

    def produce(missing: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        # Here, so that each of several processes has its own.
        inpainter, side = Inpainter(pipe, sampling), native_size(pipe)
        with Progress("extend", len(names), len(names) - len(missing)) as progress:
            for size, group in sizes[list(missing)].groupby(sizes, sort=False):
                width, height = size
                layout = plan_layout(height, width, side, config)
                # Painted at the model's height, put together at the picture's own.
                pixels = max(layout.wanted * height, layout.total * side)
                together = min(sampling.batch, max(1, PIXELS_AT_ONCE // pixels))
                for start in range(0, len(group), together):
                    keys = [str(key) for key in group.index[start : start + together]]
                    seeds = [derive_seed("extend", config.seed, key) for key in keys]
                    yield from zip(keys, extend(inpainter, originals.stack(keys), seeds, config).images, strict=True)
                    progress.step(len(keys))

    return ImageWork(stamps, names, produce, sampling.processes)


def find_joints(
    originals: ImageFolder, extended: ImageFolder, side: int, config: ExtendConfig
) -> dict[str, tuple[list[int], Visibility]]:
    """Where the joints of widened pictures lie, and how visible they are, by picture.

    Args:
        originals, extended: before and after.
        side: of the model's windows, pixels.
        config: what `extended` was made with.
    """
    found = {}
    for name in extended:
        width, height = originals.size(name)
        joints = plan_layout(height, width, side, config).joints
        found[name] = joints, seam_visibility(extended[name], joints, originals[name])
    return found


def extend_metrics(seen: Sequence[Visibility]) -> dict[str, float | int]:
    """How visible the joints are, over all pictures."""
    steps = [value for one in seen for value in one.joints]
    if not steps:
        return {"pictures": 0, "joints": 0}
    return {
        "pictures": len(seen),
        "joints": len(steps),
        "joints_within_range": round(sum(one.inside for one in seen) / len(steps), 6),
        "joints_above_range": round(float(np.mean([v > one.high for one in seen for v in one.joints])), 6),
        "joints_told": sum(len(one.colour_above) for one in seen),
        **{
            name: round(float(np.mean(values)), 6)
            for name, values in (
                ("joints_colour_above", [v for one in seen for v in one.colour_above]),
                ("joints_texture_above", [v for one in seen for v in one.texture_above]),
                ("inside_colour_above", [v for one in seen for v in one.colour_inside]),
                ("inside_texture_above", [v for one in seen for v in one.texture_inside]),
            )
            if values
        },
        "joint_step": round(float(np.mean(steps)), 6),
        "range_low": round(float(np.mean([one.low for one in seen])), 6),
        "range_high": round(float(np.mean([one.high for one in seen])), 6),
    }


def draw_extended(originals: ImageFolder, extended: ImageFolder, found: dict[str, tuple[list[int], Visibility]]) -> Any:
    """Original and widened picture, joints marked by ticks; the first `SHOWN` pictures.

    Args:
        originals, extended: before and after.
        found: of `find_joints`.

    Returns:
        A matplotlib Figure.
    """
    from matplotlib.figure import Figure

    shown = list(found.items())[:SHOWN]
    figure = Figure(figsize=(11, 2.0 * max(1, len(shown))), layout="constrained")
    if not shown:
        figure.text(0.5, 0.5, "no prompt shows a whole picture, so none was widened", ha="center")
        return figure
    axes = figure.subplots(len(shown), 2, squeeze=False, width_ratios=(1, 4))
    for (left, right), (name, (joints, visible)) in zip(axes, shown, strict=True):
        left.imshow(originals[name], interpolation="nearest")
        left.set_title(name, fontsize=8)
        left.set_axis_off()
        right.imshow(extended[name], interpolation="nearest")
        right.set_xticks([x - 0.5 for x in joints], [""] * len(joints))
        right.set_yticks([])
        title = f"steps at {visible.inside} of {len(joints)} joints like other columns"
        if visible.colour_above:
            title += f"; colour stands out at {sum(visible.colour_above)}, texture at {sum(visible.texture_above)}"
        right.set_title(title, fontsize=8)
    return figure
