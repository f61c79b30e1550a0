"""Sampling and one alignment iteration of a family's full-size model, with random weights in bfloat16, on one GPU.

The plain loop is diffusers' own call, one picture at a time; `Inpainter.rollout` samples as many steps in batches. Both
have the family's native size, an empty text, and no second pass for guidance, so that batches alone differ. The
iteration is mode nft on an adapter, with a CLIP reward of the published size, untrained.

    python benchmarks/families.py --family sd15          # sdxl, sd3, flux_fill; needs a GPU
    python benchmarks/families.py --family sd15 --size tiny    # anywhere; tells that it runs, not how fast
"""

import argparse
import gc
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from align_step import matmul_peak
from candidates import make_prompts, seconds
from full_size import SIZES, Size, random_pipeline
from PIL import Image
from rich.console import Console
from rich.table import Table
from scoring import clip_model
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.loop import Aligner
from prefpaint.alignment.matching import ForwardProcess
from prefpaint.alignment.nft import _NFT
from prefpaint.alignment.policy import Policy
from prefpaint.alignment.rollouts import Rollout
from prefpaint.alignment.scorers import PlainReward, Prompts, Scorer, Scores
from prefpaint.images import ImageFolder, write_image
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.sampling import Inpainter, Trajectory

GUIDANCE = 1.0
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
PARTS = ("rollout", "scoring", "training")
# Pictures per call of the network: in sampling, and in training with gradient checkpointing.
BATCHES: dict[str, tuple[int, int]] = {"sd15": (16, 16), "sdxl": (8, 4), "sd3": (8, 4), "flux_fill": (8, 2)}


@dataclass(frozen=True)
class Setup:
    """What is measured.

    Attributes:
        pictures: of the plain loop.
        batch: pictures of a rollout.
        prompts, candidates: of an iteration.
        micro_batch: pictures per call of the network in training.
    """

    family: str
    size: Size
    device: str
    steps: int
    trained_steps: int
    pictures: int
    batch: int
    prompts: int
    candidates: int
    micro_batch: int

    @property
    def side(self) -> int:
        """Of pictures, in pixels."""
        return SIZES[self.family][self.size].side

    @property
    def precision(self) -> Literal["bf16", "fp32"]:
        """What is measured is bfloat16; CPUs without instructions for it take minutes even for tiny models."""
        return "bf16" if self.device == "cuda" else "fp32"


@dataclass
class Clock:
    """Seconds that the parts of an iteration took, with what they left running on the GPU."""

    device: str
    spent: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Add what the block takes."""
        self._wait()
        started = time.perf_counter()
        yield
        self._wait()
        self.spent[part] += time.perf_counter() - started

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()


class TimedInpainter(Inpainter):
    """An `Inpainter` whose rollouts are timed."""

    clock: Clock

    def rollout(self, *given: Any, **named: Any) -> Trajectory:
        """As usual."""
        with self.clock.of("rollout"):
            return super().rollout(*given, **named)


@dataclass(frozen=True)
class TimedScorer:
    """A scorer that is timed."""

    scorer: Scorer
    clock: Clock

    def __call__(self, images: np.ndarray, masks: np.ndarray, texts: Sequence[str] = ()) -> Scores:
        with self.clock.of("scoring"):
            return self.scorer(images, masks, texts)


class TimedProcess(ForwardProcess):
    """Mode nft whose updates are timed."""

    clock: Clock

    def update(self, policy: Policy, rollout: Rollout, iteration: int) -> dict[str, float]:
        """As usual."""
        with self.clock.of("training"):
            return super().update(policy, rollout, iteration)


@dataclass(frozen=True)
class Cost:
    """Of some pictures.

    Attributes:
        rate: pictures per second.
        memory: most that was allocated on the GPU meanwhile, in GB; 0 on a CPU.
    """

    rate: float
    memory: float


@dataclass(frozen=True)
class Figures:
    """What a family costs.

    Attributes:
        plain, rollout, iteration: the three things that are measured.
        parts: seconds of the iteration by part.
        parameters: of the network.
        flops: of one pass of the network over one picture.
        peak: of a large matrix product in the same precision, FLOP per second.
    """

    plain: Cost
    rollout: Cost
    iteration: Cost
    parts: dict[str, float]
    parameters: int
    flops: float
    peak: float


def release() -> None:
    """Return memory that is no longer used to the GPU."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def cost(work: Callable[[], Any], pictures: int, device: str) -> Cost:
    """Of one call."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    spent = seconds(work, device)
    return Cost(pictures / spent, torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else 0.0)


def one_by_one(pipe: Any, images: np.ndarray, masks: np.ndarray, steps: int) -> None:
    """The plain loop."""
    for seed, (image, mask) in enumerate(zip(images, masks, strict=True)):
        pipe(
            prompt="",
            image=Image.fromarray(image),
            mask_image=Image.fromarray(mask * np.uint8(255)),
            height=image.shape[0],
            width=image.shape[1],
            strength=1.0,
            num_inference_steps=steps,
            guidance_scale=GUIDANCE,
            generator=torch.Generator().manual_seed(seed),
        )


@torch.no_grad()
def flops_of_a_pass(inpainter: Inpainter, image: np.ndarray, mask: np.ndarray) -> float:
    """FLOPs of the network on one picture (H, W, 3) with its mask (H, W)."""
    noise = inpainter.draw_noise([0], inpainter.latent_shape(*mask.shape))
    condition = inpainter.condition(image[None], mask[None], noise[1])
    level = inpainter.schedule(*mask.shape).levels[0]
    # The plain form of attention: fused kernels are not all known to the counter.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        inpainter.predict(inpainter.network, noise[0], level, condition)
    return float(counter.get_total_flops())


def make_aligner(setup: Setup, inpainter: TimedInpainter, folder: Path) -> Aligner:
    """Mode nft with an adapter, on prompts written to a folder."""
    images, masks = ImageFolder(folder / "images"), ImageFolder(folder / "masks", masks=True)
    ids = [f"{number:04d}" for number in range(setup.prompts)]
    for name, image, mask in zip(ids, *make_prompts(setup.prompts, setup.side), strict=True):
        write_image(images.file(name), image)
        write_image(masks.file(name), mask)
    config = AlignConfig(
        mode="nft",
        tune="lora",
        trust="none",
        prompts=setup.prompts,
        candidates=setup.candidates,
        steps=setup.steps,
        trained_steps=setup.trained_steps,
        rollout_batch=setup.batch,
        micro_batch=setup.micro_batch,
        gradient_checkpointing=True,
    )
    reward = PlainReward(clip_model(setup.device, setup.precision, quick=setup.size == "tiny"), batch=setup.batch)
    scorer = TimedScorer(reward, inpainter.clock)
    method = TimedProcess(inpainter, scorer, Prompts(ids, images, masks), config, _NFT(config))
    method.clock = inpainter.clock
    return Aligner(inpainter, method, config)


def measure(setup: Setup) -> Figures:
    """Everything, each after a first time that does not count."""
    device = setup.device
    peak = matmul_peak(device, setup.precision)
    pipe = random_pipeline(setup.family, setup.size, device, DTYPES[setup.precision])
    images, masks = make_prompts(setup.batch, setup.side)

    def plain() -> None:
        one_by_one(pipe, images[: setup.pictures], masks[: setup.pictures], setup.steps)

    plain()
    of_plain = cost(plain, setup.pictures, device)

    # The inpainter copies what it samples with: two of the largest would leave no room for anything else.
    pipe.to("cpu")
    release()
    chain = SamplingConfig(
        steps=setup.steps,
        eta=0.0,
        guidance=GUIDANCE,
        batch=setup.batch,
        precision=setup.precision,
        # Decoding large pictures at once needs more memory than the network.
        vae_slicing=setup.side > 512,
    )
    inpainter = TimedInpainter(pipe, chain, device)
    inpainter.clock = Clock(device)

    def rollout() -> None:
        inpainter.rollout(images, masks, range(setup.batch))

    rollout()
    of_rollout = cost(rollout, setup.batch, device)
    flops = flops_of_a_pass(inpainter, images[0], masks[0])
    parameters = sum(value.numel() for value in inpainter.network.parameters())
    release()

    with tempfile.TemporaryDirectory() as scratch:
        aligner = make_aligner(setup, inpainter, Path(scratch))
        aligner.iterate()
        inpainter.clock.spent = dict.fromkeys(PARTS, 0.0)
        of_iteration = cost(aligner.iterate, setup.prompts * setup.candidates, device)
    return Figures(of_plain, of_rollout, of_iteration, inpainter.clock.spent, parameters, flops, peak)


def parse(arguments: list[str] | None) -> Setup:
    """Options, with defaults that fit one H100."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=tuple(SIZES), required=True)
    parser.add_argument("--size", choices=("full", "tiny"), default="full")
    parser.add_argument("--steps", type=int, help="of a chain; by default 10, and 2 of a tiny model")
    parser.add_argument("--batch", type=int, help="pictures per rollout; lower it where memory is too small")
    parser.add_argument("--micro-batch", type=int, help="pictures per pass in training; likewise")
    given = parser.parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    full = given.size == "full"
    if full and device == "cpu":
        raise SystemExit(f"--size full: the models of {given.family} need a GPU, and there is none; use --size tiny")
    batch, micro_batch = BATCHES[given.family] if full else (2, 2)
    return Setup(
        family=given.family,
        size=given.size,
        device=device,
        steps=given.steps or (10 if full else 2),
        trained_steps=2 if full else 1,
        pictures=4 if full else 1,
        batch=given.batch or batch,
        prompts=4 if full else 1,
        candidates=4 if full else 2,
        micro_batch=given.micro_batch or micro_batch,
    )


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    setup = parse(arguments)
    found = measure(setup)
    table = Table(
        title=f"{setup.family}, {setup.size}, {setup.side} px, {setup.steps} steps, {setup.precision}, {setup.device}"
        + (f" ({torch.cuda.get_device_name()})" if setup.device == "cuda" else "")
    )
    for column in ("", "images per second", "ratio", "share of matmul peak", "peak memory, GB"):
        table.add_column(column, justify="right" if column else "left")
    # An adapter's backward pass needs no gradients of the frozen weights: it costs as much as a forward pass.
    trained = setup.steps + 2 * setup.trained_steps
    for name, row, passes in (
        ("diffusers' own call, one at a time", found.plain, setup.steps),
        (f"Inpainter.rollout, {setup.batch} at a time", found.rollout, setup.steps),
        ("alignment iteration, nft with an adapter", found.iteration, trained),
    ):
        share = 100 * row.rate * passes * found.flops / found.peak
        memory = f"{row.memory:.1f}" if setup.device == "cuda" else "not measured"
        table.add_row(name, f"{row.rate:.3g}", f"{row.rate / found.plain.rate:.2f}", f"{share:.1f} %", memory)
    console = Console(width=120)
    console.print(table)
    samples = setup.prompts * setup.candidates
    whole = samples / found.iteration.rate
    split = ", ".join(f"{part} {spent:.3g} s ({100 * spent / whole:.0f} %)" for part, spent in found.parts.items())
    console.print(
        f"Iteration of {samples} images, {setup.trained_steps} steps of each trained: {whole:.3g} s; {split}."
    )
    console.print(
        f"Network: {found.parameters / 1e9:.4g} billion parameters, {found.flops / 1e12:.4g} TFLOP per pass and image; "
        f"{setup.precision} matmul peak {found.peak / 1e12:.3g} TFLOP/s."
    )


if __name__ == "__main__":
    main()
