"""Extending a collection of pictures: which, in what order, and how visible the joints are."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from prefpaint.applications import detail, matching
from prefpaint.applications.best import Chooser
from prefpaint.applications.extend import KEPT, KEPT_COLOURS, extend, plan_layout, wanted_size
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
    from prefpaint.photographs.collection import keyed_files
    from prefpaint.photographs.sources import read_image

    if config.folder is None:
        chosen = choose_pictures(prompts, config.images)
        stamp = fingerprint({name: images.checksum(name) for name in chosen})
        return ImageWork(stamp, chosen, lambda missing: ((name, images[name]) for name in missing))
    files = keyed_files(config.folder, "extend.folder")
    stats = {key: path.stat() for key, path in files.items()}
    stamps = {key: fingerprint(stat.st_size, stat.st_mtime_ns, config.longest_side) for key, stat in stats.items()}

    def produce(missing: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        for key in missing:
            try:
                yield key, np.asarray(read_image(files[key], config.longest_side))
            except PrefPaintError as error:
                logger.warning("%s; it is skipped", error)

    return ImageWork(stamps, list(files), produce)


def _constants(room: ModuleType) -> dict[str, Any]:
    """The constants of a module by their names: pictures made with others are stale."""
    return {name: value for name, value in vars(room).items() if name.isupper()}


def extend_work(
    pipe: Any,
    originals: ImageFolder,
    sampling: SamplingConfig,
    config: ExtendConfig,
    chooser: Chooser | None = None,
) -> ImageWork:
    """The extended pictures, one after another.

    Args:
        pipe: a `StableDiffusionInpaintPipeline`.
        originals: what is to be widened.
        sampling: the denoising chain.
        config: how wide, and how. Pictures that are already as wide are skipped with a warning.
        chooser: prefers one of several samples.

    Raises:
        PrefPaintError: every picture is already as wide.
    """
    from prefpaint.inpainting.checkpoint import module_digest
    from prefpaint.inpainting.sampling import Inpainter, painting_digest

    sizes = pd.Series({name: originals.size(name) for name in originals}, dtype=object)
    if sizes.empty and config.folder is not None:
        raise PrefPaintError(f"extend.folder: no picture in {config.folder} can be read; give other pictures")
    refused = {}
    for name, (width, height) in sizes.items():
        try:
            wanted_size(height, width, config)
        except PrefPaintError as error:
            refused[str(name)] = str(error)
            logger.warning("%s: %s; it is skipped", name, error)
    if len(refused) == len(sizes) > 0:
        name, reason = next(iter(refused.items()))
        raise PrefPaintError(f"none of {len(sizes)} pictures can be widened; {name}: {reason}")
    names = [str(name) for name in sizes.index if name not in refused]
    common = fingerprint(
        painting_digest(pipe, sampling),
        config.model_dump(mode="json", include={"seed", "width", "aspect", "height", "overlap", "refinements"}),
        [config.samples, module_digest(chooser.reward)] if chooser and config.samples > 1 else [],
        [KEPT, KEPT_COLOURS, *(_constants(room) for room in (detail, matching))],
    )
    stamps = {name: fingerprint(common, originals.checksum(name)) for name in names}

    def produce(missing: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        # Here, so that each of several processes has its own.
        inpainter = Inpainter(pipe, sampling)
        with Progress("extend", len(names), len(names) - len(missing)) as progress:
            for name in missing:
                seed = derive_seed("extend", config.seed, name)
                yield name, extend(inpainter, originals[name], seed, config, chooser)[0]
                progress.step(1)

    return ImageWork(stamps, names, produce, sampling.processes)


@dataclass(frozen=True)
class Joints:
    """The joints of one picture.

    Attributes:
        columns, rows: places x and y; the joint lies before them.
        visible: how visible those between columns are, alongside the original; and those between rows, if any.
    """

    columns: list[int]
    rows: list[int]
    visible: list[Visibility]


def find_joints(originals: ImageFolder, extended: ImageFolder, family: Any, config: ExtendConfig) -> dict[str, Joints]:
    """Where the joints of extended pictures lie, and how visible they are, by picture.

    Args:
        originals, extended: before and after.
        family: of the model.
        config: what `extended` was made with.
    """
    found = {}
    for name in extended:
        original, whole = originals[name], extended[name]
        height, width = original.shape[:2]
        layout = plan_layout(height, width, family, config)
        box, visible = layout.original, []
        if layout.columns:
            strip = whole[box.top : box.top + box.height]
            visible.append(seam_visibility(strip, layout.columns, original))
        if layout.rows:
            strip = whole[:, box.left : box.left + box.width]
            visible.append(seam_visibility(strip.swapaxes(0, 1), layout.rows, original.swapaxes(0, 1)))
        found[name] = Joints(layout.columns, layout.rows, visible)
    return found


def extend_metrics(found: Sequence[Joints]) -> dict[str, float | int]:
    """How visible the joints are, over all pictures."""
    seen = [visible for one in found for visible in one.visible]
    steps = [value for one in seen for value in one.joints]
    if not steps:
        return {"pictures": 0, "joints": 0}
    return {
        "pictures": len(found),
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


def draw_extended(originals: ImageFolder, extended: ImageFolder, found: dict[str, Joints]) -> Any:
    """Original and extended picture, joints marked by ticks; the first `SHOWN` pictures.

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
        figure.text(0.5, 0.5, "no prompt shows a whole picture, so none was extended", ha="center")
        return figure
    axes = figure.subplots(len(shown), 2, squeeze=False, width_ratios=(1, 4))
    for (left, right), (name, joints) in zip(axes, shown, strict=True):
        left.imshow(originals[name], interpolation="nearest")
        left.set_title(name, fontsize=8)
        left.set_axis_off()
        right.imshow(extended[name], interpolation="nearest")
        right.set_xticks([x - 0.5 for x in joints.columns], [""] * len(joints.columns))
        right.set_yticks([y - 0.5 for y in joints.rows], [""] * len(joints.rows))
        colour = [above for one in joints.visible for above in one.colour_above]
        texture = [above for one in joints.visible for above in one.texture_above]
        title = f"{len(joints.columns) + len(joints.rows)} joints"
        if colour:
            title += f"; colour stands out at {sum(colour)}, texture at {sum(texture)}"
        right.set_title(title, fontsize=8)
    return figure
