"""Throughput of `Inpainter.sample` against the stock `StableDiffusionInpaintPipeline` call with its default guidance.

Both texts are empty, so that guidance mixes two equal predictions: the stock call runs the UNet twice per step, ours
once, and the images are the same. They are compared inside the holes, where they are painted, as decoded numbers on
[0, 1] before they are rounded to grey levels, and must agree to 1e-3.

    python benchmarks/candidates.py [--model FOLDER | --size-of sd15] [--device cuda] [--precision bf16] [--quick]
"""

import argparse
import copy
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from full_size import SIZES, Size, random_pipeline
from PIL import Image
from rich.console import Console
from rich.table import Table

from prefpaint.inpainting.checkpoint import load_pipeline
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.sampling import Inpainter, paste_known
from prefpaint.small_model.build import build_small_pipeline
from prefpaint.small_model.config import SmallModelConfig

EMBEDDED = Path(__file__).resolve().parents[1] / "data" / "06_models" / "base"
TOLERANCE = 1e-3


def embedded_with_four_channels() -> tuple[Any, int]:
    """Random weights of the embedded model's sizes, 64 px, but for its latents: the stock call takes four channels."""
    return build_small_pipeline(SmallModelConfig(latent_channels=4), 64, seed=0), 64


def load(model: Path, size_of: str | None, quick: bool) -> tuple[Any, int]:
    """The pipeline in fp32 on the CPU, and the side of its images in pixels."""
    if size_of is not None:
        size: Size = "tiny" if quick else "full"
        return random_pipeline(size_of, size), SIZES[size_of][size].side
    pipe: Any = load_pipeline(model)
    return pipe, int(pipe.unet.config.sample_size) * 2 ** (len(pipe.vae.config.block_out_channels) - 1)


def make_prompts(count: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Clouds (N, side, side, 3) uint8 whose right part is missing, masks (N, side, side) uint8."""
    rng = np.random.default_rng(0)
    images, masks = np.empty((count, side, side, 3), np.uint8), np.zeros((count, side, side), np.uint8)
    for number in range(count):
        cells = Image.fromarray(rng.integers(0, 256, (int(rng.integers(2, 24)),) * 2 + (3,), dtype=np.uint8))
        smooth = np.asarray(cells.resize((side, side), Image.Resampling.BICUBIC), np.float32)
        images[number] = np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255)
        masks[number, :, int(side * rng.uniform(0.35, 0.4)) :] = 1
    return images, masks


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Options that say which model, where and in what precision."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", type=Path, default=EMBEDDED, help="checkpoint folder; by default the embedded model")
    which.add_argument(
        "--size-of", choices=("sd15",), help="random weights of Stable Diffusion 1.5 inpainting's size, 512 px"
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--threads", type=int, help="of torch; by default all cores")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: tells that it runs, not how fast")


def prepare_torch(device: str, threads: int | None) -> None:
    """Thread count; and fp32 means fp32: TF32 alone would differ by more than the tolerances."""
    if threads:
        torch.set_num_threads(threads)
    if device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False


def seconds(work: Callable[[], Any], device: str) -> float:
    """How long a call takes, with what it left running on the GPU."""
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def stock(pipe: Any, images: np.ndarray, masks: np.ndarray, seeds: Sequence[int], steps: int) -> np.ndarray:
    """The stock call on a batch, with its default guidance; (N, H, W, 3) in [0, 1]."""
    painted = pipe(
        prompt=[""] * len(images),
        image=[Image.fromarray(image) for image in images],
        mask_image=[Image.fromarray(mask * np.uint8(255)) for mask in masks],
        height=images.shape[1],
        width=images.shape[2],
        num_inference_steps=steps,
        eta=1.0,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
        output_type="np",
    ).images
    return np.asarray(painted)


@torch.no_grad()
def unrounded(inpainter: Inpainter, images: np.ndarray, masks: np.ndarray, seeds: Sequence[int]) -> np.ndarray:
    """What `Inpainter.sample` rounds and pastes, (N, H, W, 3) in [0, 1]."""
    latents = inpainter.rollout(images, masks, seeds).latents[-1]
    return np.asarray(inpainter.decode_pixels(latents).permute(0, 2, 3, 1).cpu().numpy())


def main(arguments: list[str] | None = None) -> None:
    """Measure and print; ends with an error when the images differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_options(parser)
    parser.add_argument("--images", type=int, help="in one batch; by default 32, and 16 of Stable Diffusion's size")
    parser.add_argument("--steps", type=int, help="by default 6 as in the demo, and 50 of Stable Diffusion's size")
    parser.add_argument("--repeats", type=int, default=3, help="of which the quickest counts")
    options = parser.parse_args(arguments)
    prepare_torch(options.device, options.threads)
    count = options.images or (2 if options.quick else 16 if options.size_of else 32)
    steps = options.steps or (2 if options.quick else 50 if options.size_of else 6)

    if options.model == EMBEDDED and not options.size_of:
        theirs, side = embedded_with_four_channels()
    else:
        theirs, side = load(options.model, options.size_of, options.quick)
    ours = Inpainter(
        copy.deepcopy(theirs), SamplingConfig(steps=steps, batch=count, precision=options.precision), options.device
    )
    theirs.to(options.device, ours.dtype, silence_dtype_warnings=True)
    theirs.set_progress_bar_config(disable=True)
    images, masks = make_prompts(count, side)
    seeds = range(count)

    # The comparison warms both up. In turns, so that whatever else the machine does hits both.
    expected, found = stock(theirs, images, masks, seeds, steps), unrounded(ours, images, masks, seeds)
    difference = float(np.abs(expected - found)[masks > 0].max())
    pasted = paste_known((expected * 255).round().astype(np.uint8), images, masks)
    levels = int(np.abs(pasted.astype(int) - ours.sample(images, masks, seeds)).max())
    slow = quick = float("inf")
    for _ in range(1 if options.quick else options.repeats):
        slow = min(slow, seconds(lambda: stock(theirs, images, masks, seeds, steps), options.device))
        quick = min(quick, seconds(lambda: ours.sample(images, masks, seeds), options.device))

    table = Table(
        title=f"{count} images of {side} px, {steps} steps, {options.precision}, {options.device}, "
        f"{torch.get_num_threads()} threads"
    )
    for column in ("", "images per second", "ratio"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("stock pipeline, default guidance", f"{count / slow:.2f}", "1.00")
    table.add_row("Inpainter.sample", f"{count / quick:.2f}", f"{slow / quick:.2f}")
    console = Console(width=100)
    console.print(table)
    console.print(f"Images differ by {difference:.1e} on [0, 1] before rounding, by {levels} of 255 grey levels after.")
    if options.precision == "fp32" and difference > TOLERANCE:
        raise SystemExit(f"images differ by {difference:.1e}, more than {TOLERANCE:.0e}")


if __name__ == "__main__":
    main()
