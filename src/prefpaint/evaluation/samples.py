"""The samples a comparison needs: which, with which seed, how they are made and how they are judged."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from prefpaint import distributed
from prefpaint.config import derive_seed, fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.evaluation.config import EvaluateConfig
from prefpaint.files import whole_file
from prefpaint.fills.appearance import Appearance, appearance
from prefpaint.fills.boundary import boundary
from prefpaint.fills.differences import hole_psnr, hole_spread, hole_ssim
from prefpaint.images import ImageFolder, ImageWork
from prefpaint.inpainting.classical import classical_fill
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.masks.words import text_prompts
from prefpaint.preferences.simulated import NoiselessRater
from prefpaint.progress import Progress

logger = logging.getLogger(__name__)

# Gives an inpainting pipeline.
Loader = Callable[[], Any]

METHODS = ("base", "aligned")
NOISE_SETS = ("A", "B")
# Judged together: 100 MB of pictures at 512 px.
IMAGES_AT_A_TIME = 128
FLAWS = tuple(one.name for one in fields(Appearance))
# Of `fills.boundary.Boundary`; of the hidden original's own pixels under the names of `original_edge`.
EDGE = ("seam_ratio", "colour_step")
# Distances to the original, of `stlpips.outside_judges`.
OUTSIDE = ("stlpips_alex", "stlpips_vgg")


class Scorer(Protocol):
    """Anything that rewards fills, such as `reward.model.RewardModel`."""

    def score(
        self, images: np.ndarray, masks: np.ndarray, batch: int = 64, texts: Sequence[str] = ()
    ) -> tuple[np.ndarray, np.ndarray]: ...


class Widths(Protocol):
    """Anything that turns embeddings into trust widths, such as `trust.fit.Trust`."""

    def widths(self, z: np.ndarray) -> np.ndarray: ...


class OutsideJudge(Protocol):
    """Anything that says how unlike their originals pictures look, such as `stlpips.ShiftTolerantLPIPS`."""

    def distance(self, images: np.ndarray, originals: np.ndarray) -> np.ndarray: ...


def original_edge(name: str) -> str:
    """The column that holds what a measure of `EDGE` gives for the hidden original."""
    return f"original_{name}"


def has_chance(method: str, config: EvaluateConfig) -> bool:
    """Whether a method paints a different picture from different noise."""
    return method in METHODS or config.methods[method].kind == "checkpoint"


def plan_samples(prompts: pd.DataFrame, config: EvaluateConfig) -> pd.DataFrame:
    """One row per image to be made; for deterministic methods one per prompt.

    All methods get the same seeds within a noise set, so equal noise is a comparison inside a set and
    independent noise one across the two.

    Args:
        prompts: columns prompt_id, split, pattern and, where there are words, text_prompt.
        config: splits, samples, seed.

    Returns:
        Columns image_id, prompt_id, split, pattern, text_prompt, method, noise_set, sample, seed; by method first.

    Raises:
        PrefPaintError: a split has no prompts.
    """
    for split in config.splits:
        if not (prompts["split"] == split).any():
            raise PrefPaintError(
                f"prompts: none in split {split}; run `kedro run --pipeline=masks` with masks.prompts set"
            )
    chosen = prompts[prompts["split"].isin(config.splits)].sort_values("prompt_id")
    words = text_prompts(chosen)
    rows = [
        {
            "image_id": f"{method}_{noise_set}_{prompt.prompt_id}_{sample}",
            "prompt_id": prompt.prompt_id,
            "split": prompt.split,
            "pattern": prompt.pattern,
            "text_prompt": words[prompt.prompt_id],
            "method": method,
            "noise_set": noise_set,
            "sample": sample,
            "seed": derive_seed("evaluate", config.seed, prompt.prompt_id, noise_set, sample),
        }
        for method in (*METHODS, *config.methods)
        for prompt in chosen.itertuples()
        for noise_set in (NOISE_SETS if has_chance(method, config) else NOISE_SETS[:1])
        for sample in range(config.samples if has_chance(method, config) else 1)
    ]
    return pd.DataFrame(rows)


def method_loaders(config: EvaluateConfig) -> dict[str, Loader]:
    """How to load the further checkpoints to compare, by method.

    A loader raises `PrefPaintError`, naming the method, if its checkpoint is missing or not an inpainting model.
    """
    from prefpaint.inpainting.checkpoint import load_pipeline

    def loader(name: str, checkpoint: str) -> Loader:
        def load() -> Any:
            try:
                return load_pipeline(checkpoint)
            except PrefPaintError as error:
                raise PrefPaintError(f"evaluate.methods.{name}: {error}") from error

        return load

    return {
        name: loader(name, method.checkpoint) for name, method in config.methods.items() if method.kind == "checkpoint"
    }


def _method_prints(
    loaders: Mapping[str, Loader],
    images: ImageFolder,
    prompts: pd.DataFrame,
    sampling: SamplingConfig,
    config: EvaluateConfig,
) -> dict[str, str]:
    """Fingerprint of what each method paints with; one checkpoint is in memory at a time."""
    from prefpaint.inpainting.families.registry import family_of, native_size
    from prefpaint.inpainting.sampling import painting_digest
    from prefpaint.inpainting.sizes import painted_shape

    shapes = images.shapes(prompts["prompt_id"].tolist())
    prints = {}
    for name, load in loaders.items():
        pipe = load()
        if name not in METHODS:
            resized = sum(shape != painted_shape(*shape, family_of(pipe)) for shape in shapes)
            if resized:
                side = native_size(pipe)
                logger.info("%s paints at %d px: %d of %d prompts are resized for it", name, side, resized, len(shapes))
        prints[name] = fingerprint(painting_digest(pipe, sampling), config.seed)
        # Before the next is loaded.
        del pipe
    classical = {name: method.kind for name, method in config.methods.items() if method.kind != "checkpoint"}
    return prints | classical


def evaluation_work(
    loaders: Mapping[str, Loader],
    prompts: pd.DataFrame,
    images: ImageFolder,
    masks: ImageFolder,
    sampling: SamplingConfig,
    config: EvaluateConfig,
    device: str = "auto",
) -> ImageWork:
    """The images to be compared.

    An image is painted again when its method or its prompt changes; another method beside it, more prompts or a larger
    S leave it as it is.

    Args:
        loaders: for each method that samples, what gives its inpainting pipeline.
        prompts: the manifest, with checksums.
        images, masks: of the prompts.
        sampling: the denoising chain.
        config: which and how many.
        device: torch device.

    Raises:
        PrefPaintError: a split has no prompts, or a checkpoint is missing or not an inpainting model.
    """
    from prefpaint.inpainting.sampling import Inpainter
    from prefpaint.inpainting.sizes import paint_at_native_size

    plan = plan_samples(prompts, config).set_index("image_id")
    used = prompts[prompts["prompt_id"].isin(plan["prompt_id"])]
    methods = _method_prints(loaders, images, used, sampling, config)
    sums = used.set_index("prompt_id")[["image_sha256", "mask_sha256"]].agg(" ".join, axis=1)
    shapes = dict(zip(used["prompt_id"], images.shapes(used["prompt_id"].tolist()), strict=True))
    stamps = {
        str(image_id): fingerprint(methods[method], sums[prompt_id], text, shapes[prompt_id])
        for image_id, method, prompt_id, text in plan[["method", "prompt_id", "text_prompt"]].itertuples()
    }

    def produce(missing: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        todo = plan.loc[list(missing)]
        with Progress("evaluate: paint", len(plan), len(plan) - len(todo)) as progress:
            for method, rows in todo.groupby("method", sort=False):
                if method not in loaders:
                    for image_id, prompt_id in rows["prompt_id"].items():
                        kind = config.methods[str(method)].kind
                        yield str(image_id), classical_fill(kind, images[prompt_id], masks[prompt_id])  # type: ignore[arg-type]
                        progress.step()
                    continue
                pipe = loaders[str(method)]()
                inpainter = Inpainter(pipe, sampling, device)
                # What was aligned paints as it was aligned, at the prompts' size.
                paint = inpainter.sample if method in METHODS else partial(paint_at_native_size, inpainter)
                for places in images.batches(rows["prompt_id"].tolist(), sampling.batch):
                    part = rows.iloc[places]
                    painted = paint(
                        images.stack(part["prompt_id"]),
                        masks.stack(part["prompt_id"]),
                        part["seed"].tolist(),
                        part["text_prompt"].tolist(),
                    )
                    yield from zip(part.index, painted, strict=True)
                    progress.step(len(part))
                # Free memory and accelerator for the next; in bfloat16 the inpainter has a copy.
                pipe.to("cpu")
                del inpainter, pipe

    return ImageWork(stamps, list(plan.index), produce, sampling.processes)


@dataclass(frozen=True)
class Judges:
    """The judges of the fills.

    Attributes:
        reward, trust: what alignment used.
        rater: the simulated raters without their noise; None when people rated.
        digest: changes whenever one of them would say something else, or the code changes.
        outside: who compares fills with hidden originals and has no part in any training or choice; by column of
            `OUTSIDE`. A missing one leaves its column without values.
    """

    reward: Scorer
    trust: Widths
    rater: NoiselessRater | None
    digest: str
    outside: Mapping[str, OutsideJudge] = field(default_factory=dict)


def sources_digest(folder: Path) -> str:
    """Digest of all Python files in a folder and below it."""
    files = sorted(folder.rglob("*.py"))
    return fingerprint([[file.relative_to(folder).as_posix(), sha256(file.read_bytes()).hexdigest()] for file in files])


def make_judges(reward: Any, trust: Any, rater: NoiselessRater | None, outside: Mapping[str, Any]) -> Judges:
    """Judges of what alignment used and of what it did not.

    Args:
        reward: a `reward.model.RewardModel`.
        trust: a `trust.fit.Trust`.
        rater: the simulated raters without their noise, if any.
        outside: of `stlpips.outside_judges`.
    """
    from prefpaint.inpainting.checkpoint import module_digest

    others = {name: module_digest(judge) for name, judge in outside.items()}
    opinion = rater.digest() if rater else None
    # Judging reaches into half of the package: what other code judged is judged again.
    code = sources_digest(Path(__file__).parents[1])
    digest = fingerprint(module_digest(reward), trust.digest(), opinion, others, code)
    return Judges(reward, trust, rater, digest, outside)


def judge_samples(
    plan: pd.DataFrame,
    samples: ImageFolder,
    images: ImageFolder,
    masks: ImageFolder,
    judges: Judges,
    workspace: Path,
) -> pd.DataFrame:
    """Everything that is measured on each planned image.

    Some prompts at a time are judged together. A part whose pictures and judges are those of an earlier call is read
    from the workspace instead; what belongs to no part of this call is removed from there.

    Args:
        plan: of `plan_samples`.
        samples: the images made, by image id.
        images, masks: prompts by prompt id.
        judges: who judges.
        workspace: folder in which judged parts are kept.

    Returns:
        The plan plus float64 columns reward, width, noiseless (0-7), the flaws of
        `fills.appearance.Appearance`, seam_ratio and colour_step (grey levels) of `fills.boundary.Boundary` (NaN for
        holes without an edge) and original_seam_ratio and original_colour_step, the same of the original's pixels,
        hole_psnr (dB) and hole_ssim against the original (these four NaN for warps, which
        have none), stlpips_alex and stlpips_vgg, the whole picture's distance to the original (at least 0; NaN for
        warps and for pictures too small for the network), and hole_spread (grey levels). noiseless is NaN without
        simulated raters.
    """
    prompt_ids = plan["prompt_id"].unique()
    at_a_time = max(1, IMAGES_AT_A_TIME * len(prompt_ids) // len(plan))
    parts: dict[Path, pd.DataFrame] = {}
    main = distributed.is_main()
    with Progress("evaluate: judge", len(prompt_ids)) as progress:
        for start in range(0, len(prompt_ids), at_a_time):
            ids = prompt_ids[start : start + at_a_time]
            part = plan[plan["prompt_id"].isin(ids)]
            sums = [[folder.checksum(key) for key in ids] for folder in (images, masks)]
            stamp = fingerprint(
                judges.digest, part.to_dict("list"), *sums, [samples.checksum(k) for k in part["image_id"]]
            )
            kept = workspace / f"{stamp}.parquet"
            earlier = _kept_part(kept) if main else None
            if earlier is not None:
                parts[kept] = earlier
            else:
                parts[kept] = _judge(part, samples, images, masks, judges)
                if main:
                    with whole_file(kept) as temporary:
                        parts[kept].to_parquet(temporary)
            progress.step(len(ids))
    if main:
        for path in set(workspace.glob("*.parquet")) - set(parts):
            path.unlink()
    return pd.concat(parts.values()).loc[plan.index]


def _kept_part(kept: Path) -> pd.DataFrame | None:
    """A part that was judged before; None where there is none, or only half of one."""
    try:
        return pd.read_parquet(kept)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        logger.warning("%s: is damaged or cut short, and its pictures are judged again", kept)
        return None


def _judge(
    part: pd.DataFrame, samples: ImageFolder, images: ImageFolder, masks: ImageFolder, judges: Judges
) -> pd.DataFrame:
    """The measures of some images, those of one shape at a time."""
    alike = (part.iloc[places] for places in samples.batches(part["image_id"].tolist(), len(part)))
    return pd.concat([_judge_alike(some, samples, images, masks, judges) for some in alike]).loc[part.index]


def _judge_alike(
    part: pd.DataFrame, samples: ImageFolder, images: ImageFolder, masks: ImageFolder, judges: Judges
) -> pd.DataFrame:
    fills, holes = samples.stack(part["image_id"]), masks.stack(part["prompt_id"])
    rewards, embeddings = judges.reward.score(fills, holes, texts=part["text_prompt"].tolist())
    seen, edge = appearance(fills, holes), boundary(fills, holes)
    measured = part.assign(
        reward=rewards.astype(np.float64),
        width=judges.trust.widths(embeddings),
        noiseless=float("nan") if judges.rater is None else judges.rater.score(fills, holes, seen),
        **{name: getattr(seen, name).numpy().astype(np.float64) for name in FLAWS},
        **{name: getattr(edge, name) for name in EDGE},
        **dict.fromkeys(["hole_psnr", "hole_ssim", "hole_spread", *map(original_edge, EDGE), *OUTSIDE], float("nan")),
    )
    position = pd.Series(range(len(part)), index=part.index)
    for _, group in part.groupby(["prompt_id", "method", "noise_set"], sort=False):
        rows = position[group.index].to_numpy()
        hole = holes[rows[0]]
        measured.loc[group.index, "hole_spread"] = hole_spread(fills[rows], hole)
        if group["pattern"].iloc[0] != "warp":
            original = images[group["prompt_id"].iloc[0]]
            measured.loc[group.index, "hole_psnr"] = hole_psnr(fills[rows], original, hole)
            measured.loc[group.index, "hole_ssim"] = hole_ssim(fills[rows], original, hole)
    # All fills of a prompt at once: the original is then looked at once.
    for prompt_id, group in part[part["pattern"] != "warp"].groupby("prompt_id", sort=False):
        rows, original = position[group.index].to_numpy(), images.stack([str(prompt_id)])
        untouched = boundary(original, holes[rows[:1]])
        for name in EDGE:
            measured.loc[group.index, original_edge(name)] = getattr(untouched, name)[0]
        for name, judge in judges.outside.items():
            measured.loc[group.index, name] = judge.distance(fills[rows], original)
    return measured
