"""One iteration of alignment: the published loop, written out plainly here, against `Aligner` with its settings.

The plain way samples in fp32 with guidance in two UNet passes and DDIM steps one by one, scores one image at a time
through PIL, and trains with guidance in two passes under gradient checkpointing. Both texts are empty, so guidance
changes nothing but the cost. Both ways have the same weights, prompts, noise, trained steps, micro-batches, advantage
and clipped loss, and their gradients of the UNet must agree to 1e-4 relative in fp32.

    python benchmarks/align_step.py [--profile] [--quick]
    python benchmarks/align_step.py --device cuda --size-of sd15 --precision bf16 [--profile]
"""

import argparse
import copy
import functools
import gc
import multiprocessing
import resource
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from candidates import add_model_options, load, make_prompts, prepare_torch, seconds
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.ddpo import PolicyGradient
from prefpaint.alignment.loop import Aligner
from prefpaint.alignment.scorers import Prompts, Scores, TrustedReward
from prefpaint.images import ImageFolder, write_image
from prefpaint.inpainting.chain import Levels
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.families.family import Condition
from prefpaint.inpainting.sampling import Inpainter, Trajectory
from prefpaint.reward.backbones import CLIP_MEAN, CLIP_STD, ClipBackbone
from prefpaint.reward.config import ClipBackboneConfig, ContrastBackboneConfig, MLPHeadConfig
from prefpaint.reward.model import RewardModel
from prefpaint.trust.config import BoundConfig, GammaConfig
from prefpaint.trust.fit import Embedded, fit_trust
from prefpaint.trust.gamma import amplification

GUIDANCE = 7.0
TOLERANCE = 1e-4
# Equation 8, on the plain width.
GAMMA = GammaConfig(k=0.05, b=0.7, unit="raw")


@dataclass(frozen=True)
class Setup:
    """What is compared; small enough to be sent to another process."""

    model: Path
    size_of: str | None
    device: str
    precision: str
    threads: int | None
    quick: bool
    batch: int
    micro_batch: int
    steps: int
    trained_steps: int
    repeats: int
    profile: bool


@dataclass(frozen=True)
class Round:
    """What one iteration starts from: N prompts, a seed each, and which steps are trained."""

    images: np.ndarray
    masks: np.ndarray
    seeds: list[int]
    trained: list[int]


@dataclass
class Notes:
    """What `Aligner` did in one iteration."""

    images: list[np.ndarray] = field(default_factory=list)
    masks: list[np.ndarray] = field(default_factory=list)
    painted: list[np.ndarray] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    trained: set[int] = field(default_factory=set)
    scores: Scores | None = None

    def round(self) -> Round:
        """The same iteration for the plain way."""
        return Round(np.concatenate(self.images), np.concatenate(self.masks), self.seeds, sorted(self.trained))


class NotedInpainter(Inpainter):
    """An `Inpainter` that writes down what it is asked."""

    notes: Notes

    def rollout(
        self, images: np.ndarray, masks: np.ndarray, seeds: Sequence[int], *given: Any, **named: Any
    ) -> Trajectory:
        """As usual."""
        self.notes.images.append(images)
        self.notes.masks.append(masks)
        self.notes.seeds += seeds
        result = super().rollout(images, masks, seeds, *given, **named)
        self.notes.painted.append(result.images)
        return result

    def predict(
        self, network: Any, latents: Tensor, level: Levels, condition: Condition, guided: bool = True
    ) -> Tensor:
        """As usual; steps that are predicted with gradients are trained ones."""
        if torch.is_grad_enabled():
            height, width = (self.family.factor * side for side in latents.shape[-2:])
            times = self.schedule(height, width).levels.time.tolist()
            self.notes.trained |= {times.index(time) for time in level.time.tolist()}
        return super().predict(network, latents, level, condition, guided)


def reward_model(setup: Setup, images: np.ndarray, masks: np.ndarray) -> TrustedReward:
    """Untrained: the default backbone, or at Stable Diffusion's size the published tower; V from the prompts."""
    torch.manual_seed(1)
    if setup.size_of is None:
        model = RewardModel(ContrastBackboneConfig(), MLPHeadConfig())
    else:
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

        small: dict[str, Any] = {
            "hidden_size": 64,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
        }
        tower = CLIPVisionModelWithProjection(CLIPVisionConfig(projection_dim=512, **(small if setup.quick else {})))
        backbone = ClipBackboneConfig.model_validate({"frozen": 1.0, "precision": setup.precision})
        model = RewardModel(backbone, MLPHeadConfig(width=1024, heads=16, feedforward=1024), tower=tower)
    model.to(setup.device).eval()
    _, z = model.score(images, masks)
    if isinstance(model.backbone, ClipBackbone):
        model.backbone.prompts.clear()
    rated = Embedded(z, z[:, 0], z[:, 0], [str(number) for number in range(len(z))])
    # λ of the order of ‖z‖², so that the widths of unseen pictures are of the order of 1.
    bound = BoundConfig(ridge=float(np.square(z).sum(1).mean()) + 1e-6, noise=1.0)
    trust = fit_trust(rated, rated, bound, members=np.zeros((2, z.shape[1])))
    return TrustedReward(model, trust, amplification(trust, GAMMA), batch=setup.batch)


class Ours:
    """`Aligner` with the published settings."""

    def __init__(self, setup: Setup, pipe: Any, folder: Path, reward: TrustedReward, prompts: tuple[Any, Any]) -> None:
        images, masks = ImageFolder(folder / "images"), ImageFolder(folder / "masks", masks=True)
        ids = [f"{number:04d}" for number in range(setup.batch)]
        for name, image, mask in zip(ids, *prompts, strict=True):
            write_image(images.file(name), image)
            write_image(masks.file(name), mask)
        chain = SamplingConfig.model_validate(
            {"steps": setup.steps, "guidance": GUIDANCE, "precision": setup.precision, "batch": setup.batch}
        )
        self.inpainter = NotedInpainter(pipe, chain, setup.device)
        self.inpainter.notes = Notes()
        self.reward = reward
        config = AlignConfig(
            mode="ddpo",
            prompts=setup.batch,
            candidates=1,
            advantage="batch",
            steps=setup.steps,
            trained_steps=setup.trained_steps,
            least_sigma=0.0,
            lr=2e-6,
            clip=1e-4,
            average=0.0,
            gradient_norm=None,
            hole_only=False,
            rollout_batch=setup.micro_batch,
            micro_batch=setup.micro_batch,
        )
        method = PolicyGradient(self.inpainter, self.score, Prompts(ids, images, masks), config)
        self.aligner = Aligner(self.inpainter, method, config)
        self.gradient: list[Tensor] = []

    def score(self, images: np.ndarray, masks: np.ndarray, texts: Sequence[str] = ()) -> Scores:
        """Scores of a batch, noted."""
        self.inpainter.notes.scores = self.reward(images, masks)
        return self.inpainter.notes.scores

    def keep_gradient(self) -> None:
        """Have the next iteration leave its gradient behind: the optimiser drops it after its step."""

        def keep(*_: Any) -> None:
            masters = self.aligner.policy.masters
            self.gradient = [value.grad.detach().clone() for value in masters if value.grad is not None]

        self.aligner.policy.optimizer.register_step_pre_hook(keep)

    def iterate(self) -> dict[str, float]:
        """One iteration."""
        self.inpainter.notes = Notes()
        return self.aligner.iterate()


class Plain:
    """The published loop: DDPO's, with PrefPaint's reward and γ, and nothing of `prefpaint` in sampling or training.

    Its optimiser steps once per iteration; the published accumulation bug is omitted, because gradients are compared.
    """

    def __init__(self, setup: Setup, pipe: Any, reward: TrustedReward) -> None:
        from diffusers import DDIMScheduler

        self.setup, self.reward = setup, reward
        self.pipe = pipe.to(setup.device, torch.float32)
        self.unet = pipe.unet.train().requires_grad_(True)
        self.unet.enable_gradient_checkpointing()
        pipe.vae.requires_grad_(False)
        self.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
        self.scheduler.set_timesteps(setup.steps)
        self.optimizer = torch.optim.AdamW(self.unet.parameters(), lr=2e-6, betas=(0.9, 0.999), weight_decay=0.01)
        tokens = pipe.tokenizer(
            "", padding="max_length", max_length=pipe.tokenizer.model_max_length, return_tensors="pt"
        ).input_ids.to(setup.device)
        with torch.no_grad():
            self.text = pipe.text_encoder(tokens)[0]
        self.inverse = torch.linalg.inv(torch.from_numpy(reward.trust.factor @ reward.trust.factor.T))
        self.gradient: list[Tensor] = []

    def predict(self, latents: Tensor, timestep: Tensor, mask: Tensor, known: Tensor) -> Tensor:
        """Guidance: one pass without the text, one with it, both in one call of twice the size."""
        inputs = torch.cat([latents, mask, known], 1)
        texts = self.text.expand(len(latents), -1, -1)
        both = self.unet(torch.cat([inputs] * 2), timestep, torch.cat([texts] * 2)).sample
        without, with_text = both.chunk(2)
        return without + GUIDANCE * (with_text - without)

    def step(
        self, predicted: Tensor, timestep: int, sample: Tensor, noise: Tensor | None, after: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """DDIM with η = 1 and the mean log-density of the step: to a fresh sample, or to `after` when given."""
        scheduler = self.scheduler
        previous = timestep - scheduler.config.num_train_timesteps // self.setup.steps
        alpha = scheduler.alphas_cumprod[timestep]
        alpha_previous = scheduler.alphas_cumprod[previous] if previous >= 0 else scheduler.final_alpha_cumprod
        if scheduler.config.prediction_type == "v_prediction":
            clean = alpha**0.5 * sample - (1 - alpha) ** 0.5 * predicted
            epsilon = alpha**0.5 * predicted + (1 - alpha) ** 0.5 * sample
        else:
            epsilon = predicted
            clean = (sample - (1 - alpha) ** 0.5 * epsilon) / alpha**0.5
        sigma = ((1 - alpha_previous) / (1 - alpha) * (1 - alpha / alpha_previous)) ** 0.5
        mean = alpha_previous**0.5 * clean + (1 - alpha_previous - sigma**2).clamp(min=0) ** 0.5 * epsilon
        if after is None:
            assert noise is not None
            after = mean + sigma * noise
        density = -((after.detach() - mean) ** 2) / (2 * sigma**2) - sigma.log() - 0.5 * np.log(2 * np.pi)
        return after, density.mean(dim=(1, 2, 3))

    @torch.no_grad()
    def sample(self, images: np.ndarray, masks: np.ndarray, seeds: Sequence[int]) -> dict[str, Any]:
        """Chains of some prompts in fp32."""
        pipe, device = self.pipe, self.setup.device
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        factor = 2 ** (len(pipe.vae.config.block_out_channels) - 1)
        shape = (pipe.unet.config.out_channels, images.shape[1] // factor, images.shape[2] // factor)

        def draw() -> Tensor:
            return torch.stack([torch.randn(shape, generator=generator) for generator in generators]).to(device)

        latents = draw()
        holes = torch.from_numpy(masks).to(device)[:, None].float()
        pixels = (torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1) * (1 - holes)
        posterior = pipe.vae.encode(pixels).latent_dist
        known = (posterior.mean + posterior.std * draw()) * pipe.vae.config.scaling_factor
        mask = F.interpolate(holes, shape[1:])
        chain, log_probs = [latents], []
        for timestep in self.scheduler.timesteps:
            predicted = self.predict(chain[-1], timestep.to(device), mask, known)
            after, log_prob = self.step(predicted, int(timestep), chain[-1], draw(), None)
            chain.append(after)
            log_probs.append(log_prob)
        decoded = pipe.vae.decode(chain[-1] / pipe.vae.config.scaling_factor).sample
        painted = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        pasted = np.where(masks[..., None] > 0, painted, images)
        return {"mask": mask, "known": known, "chain": chain, "log_probs": log_probs, "images": pasted}

    @torch.no_grad()
    def score_one(self, candidate: Image.Image, incomplete: Image.Image, hole: Image.Image) -> tuple[float, float]:
        """Reward and γ of one image."""
        model, device = self.reward.model, self.setup.device

        def pixels(picture: Image.Image) -> Tensor:
            return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255

        if isinstance(model.backbone, ClipBackbone):
            tower = model.backbone.tower
            side = tower.config.image_size
            embeds = []
            for picture in (candidate, incomplete):
                values = pixels(picture.resize((side, side), Image.Resampling.BICUBIC))[0]
                values = (values - torch.tensor(CLIP_MEAN)[:, None, None]) / torch.tensor(CLIP_STD)[:, None, None]
                embeds.append(tower(pixel_values=values[None].to(device)).image_embeds)
            reward, z = model.read(torch.cat(embeds, 1))
        else:
            holes = torch.from_numpy(np.array(hole))[None, None].float() / 255
            reward, z = model(pixels(candidate).to(device), holes.to(device))
        wide = z[0].double().cpu()
        width = float((wide @ self.inverse @ wide).sqrt())
        return float(reward[0]), float(np.exp(GAMMA.b - GAMMA.k * width))

    def score(self, images: np.ndarray, masks: np.ndarray) -> Scores:
        """One image at a time, each through PIL."""
        found = []
        for image, mask in zip(images, masks, strict=True):
            incomplete = Image.fromarray(image * (1 - mask[:, :, None]))
            found.append(self.score_one(Image.fromarray(image), incomplete, Image.fromarray(mask * np.uint8(255))))
        rewards, gammas = np.array(found).T
        return Scores(rewards, np.zeros(len(rewards)), gammas)

    def iterate(self, start: Round, given: Scores | None = None, keep: bool = False) -> np.ndarray:
        """One iteration; returns its images.

        Args:
            start: what to sample and to train.
            given: scores to train on instead of its own, which are computed all the same.
            keep: leave the gradient behind.
        """
        micro, count = self.setup.micro_batch, len(start.seeds)
        slices = [slice(first, first + micro) for first in range(0, count, micro)]
        parts = [self.sample(start.images[rows], start.masks[rows], start.seeds[rows]) for rows in slices]
        images = np.concatenate([part["images"] for part in parts])
        scores = self.score(images, start.masks)
        used = given or scores
        rewards = torch.from_numpy(np.asarray(used.reward, np.float64))
        advantages = ((rewards - rewards.mean()) / rewards.std(unbiased=False)).clamp(-5, 5).float()
        gammas = torch.from_numpy(np.asarray(used.gamma, np.float64)).float()
        half = self.setup.precision == "bf16"
        for rows, part in zip(slices, parts, strict=True):
            advantage = advantages[rows].to(self.setup.device)
            gamma = gammas[rows].to(self.setup.device)
            for index in start.trained:
                timestep, before = self.scheduler.timesteps[index], part["chain"][index]
                with torch.autocast(self.setup.device, torch.bfloat16) if half else nullcontext():
                    predicted = self.predict(before, timestep.to(before.device), part["mask"], part["known"])
                _, log_prob = self.step(predicted.float(), int(timestep), before, None, part["chain"][index + 1])
                ratio = torch.exp(log_prob - part["log_probs"][index])
                unclipped = -advantage * ratio
                clipped = -advantage * ratio.clamp(1 - 1e-4, 1 + 1e-4)
                loss = (gamma * torch.maximum(unclipped, clipped)).sum() / (count * len(start.trained))
                loss.backward()
        if keep:
            self.gradient = [value.grad.detach().clone() for value in self.unet.parameters()]
        self.optimizer.step()
        self.optimizer.zero_grad()
        return images


@dataclass(frozen=True)
class Agreement:
    """How far the two ways are apart in one iteration in fp32.

    Attributes:
        gradient: norm of the difference over norm, over all weights of the UNet.
        reward: largest difference for the same images, in standard deviations of the rewards.
        levels: largest difference of the sampled images, of 255 grey levels.
        clipped: share of samples whose gradient our clipping cuts off.
    """

    gradient: float
    reward: float
    levels: int
    clipped: float


def release() -> None:
    """Return memory that is no longer used to the GPU."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def agreement(setup: Setup) -> Agreement:
    """One iteration both ways from the same weights.

    Ours hands its scores to the plain way: a pixel that rounding takes to the next grey level moves a reward by 1e-4 of
    the rewards' spread, which has nothing to do with the gradient. Rewards are compared separately, on the same images.
    """
    setup = replace(setup, precision="fp32")
    pipe, side = load(setup.model, setup.size_of, setup.quick)
    prompts = make_prompts(setup.batch, side)
    reward = reward_model(setup, *prompts)
    with tempfile.TemporaryDirectory() as scratch:
        ours = Ours(setup, copy.deepcopy(pipe), Path(scratch), reward, prompts)
        ours.keep_gradient()
        row, notes = ours.iterate(), ours.inpainter.notes
    mine = [value.cpu() for value in ours.gradient]
    del ours
    release()
    assert notes.scores is not None
    plain = Plain(setup, pipe, reward)
    ours_painted = np.concatenate(notes.painted)
    rewards = plain.score(ours_painted, np.concatenate(notes.masks)).reward
    painted = plain.iterate(notes.round(), notes.scores, keep=True)
    theirs = [value.cpu() for value in plain.gradient]
    difference = sum(float((a - b).double().square().sum()) for a, b in zip(mine, theirs, strict=True))
    norm = sum(float(value.double().square().sum()) for value in theirs)
    return Agreement(
        (difference / norm) ** 0.5,
        float(np.abs(rewards - notes.scores.reward).max() / notes.scores.reward.std()),
        int(np.abs(painted.astype(int) - ours_painted).max()),
        row["clipped"],
    )


@dataclass(frozen=True)
class Figures:
    """What one way costs.

    Attributes:
        rate: images sampled, scored and trained on per second.
        memory: most memory, in GB: allocated on the GPU, or growth of the process from before the model was loaded.
        profile: table of the costliest operations, or empty.
    """

    rate: float
    memory: float
    profile: str


def _high_water() -> float:
    """Most memory this process has held, in GB; macOS counts in bytes, Linux in kilobytes."""
    unit = 1e9 if sys.platform == "darwin" else 1e9 / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def measure(way: str, setup: Setup) -> Figures:
    """Time and memory of one way, in a process of its own."""
    prepare_torch(setup.device, setup.threads)
    if setup.device == "cuda" and setup.precision == "bf16":
        # Favours the plain way, whose fp32 sampling profits.
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
    before = _high_water()
    pipe, side = load(setup.model, setup.size_of, setup.quick)
    prompts = make_prompts(setup.batch, side)
    reward = reward_model(setup, *prompts)
    with tempfile.TemporaryDirectory() as scratch:
        if way == "ours":
            ours = Ours(setup, pipe, Path(scratch), reward, prompts)

            def work(number: int) -> Any:
                return ours.iterate()
        else:
            plain, rng = Plain(setup, pipe, reward), np.random.default_rng(0)

            def work(number: int) -> Any:
                trained = sorted(rng.choice(setup.steps, setup.trained_steps, replace=False).tolist())
                seeds = range(number * setup.batch, (number + 1) * setup.batch)
                return plain.iterate(Round(*prompts, list(seeds), trained))

        work(0)
        best = min(seconds(functools.partial(work, number + 1), setup.device) for number in range(setup.repeats))
        memory = torch.cuda.max_memory_allocated() / 1e9 if setup.device == "cuda" else _high_water() - before
        profile = profiled(functools.partial(work, setup.repeats + 1), setup.device) if setup.profile else ""
    return Figures(setup.batch / best, memory, profile)


def profiled(work: Any, device: str) -> str:
    """Table of the operations that one iteration spends most time in."""
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    with profile(activities=activities) as found:
        work()
    table = found.key_averages().table(
        sort_by=f"self_{device}_time_total", row_limit=15, max_name_column_width=50, max_src_column_width=20
    )
    return str(table)


def needed_flops(setup: Setup) -> float:
    """FLOPs of the UNet that an iteration cannot do without, per image.

    One pass per sampled step; per trained step one forward and a backward pass of twice its cost. No second pass for
    guidance, nothing computed twice for checkpointing; VAE and reward model not counted.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    pipe, side = load(setup.model, setup.size_of, setup.quick)
    latent = side // 2 ** (len(pipe.vae.config.block_out_channels) - 1)
    unet = pipe.unet.to(setup.device)
    inputs = torch.zeros(1, unet.config.in_channels, latent, latent, device=setup.device)
    text = torch.zeros(1, pipe.tokenizer.model_max_length, unet.config.cross_attention_dim, device=setup.device)
    # The plain form of attention: fused kernels are not all known to the counter.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        unet(inputs, 1, text)
    return float(counter.get_total_flops()) * (setup.steps + 3 * setup.trained_steps)


def matmul_peak(device: str, precision: str) -> float:
    """FLOP per second of a large matrix product, the quickest of ten."""
    size = 8192 if device == "cuda" else 1024
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    torch.matmul(a, b)
    return 2 * size**3 / min(seconds(lambda: torch.matmul(a, b), device) for _ in range(10))


def in_own_process(way: str, setup: Setup) -> Figures:
    """`measure`, so that neither memory nor a warmed allocator of one way reaches the other."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (way, setup))


def parse(arguments: list[str] | None) -> Setup:
    """Options, with defaults that fit the machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_options(parser)
    parser.add_argument("--batch", type=int, default=16, help="images per iteration, as published")
    parser.add_argument("--micro-batch", type=int, help="images per UNet call, of both; by default 16, and 4 on a GPU")
    parser.add_argument("--steps", type=int, help="sampled; by default 10, and 50 as published on a GPU")
    parser.add_argument("--trained-steps", type=int, help="by default 2, and 5 as published on a GPU")
    parser.add_argument("--repeats", type=int, default=2, help="of which the quickest counts")
    parser.add_argument("--profile", action="store_true", help="where ours spends its time, operation by operation")
    given = parser.parse_args(arguments)
    gpu = given.device == "cuda"
    sizes: dict[str, int] = {
        "batch": given.batch,
        "micro_batch": given.micro_batch or (4 if gpu else 16),
        "steps": given.steps or (50 if gpu else 10),
        "trained_steps": given.trained_steps or (5 if gpu else 2),
        "repeats": given.repeats,
    }
    if given.quick:
        # A divisor of 1000: with others the stock scheduler's steps do not follow on each other, and ours do.
        sizes = {"batch": 4, "micro_batch": 2, "steps": 4, "trained_steps": 2, "repeats": 1}
    return Setup(**{**vars(given), **sizes})


def main(arguments: list[str] | None = None) -> None:
    """Measure and print; ends with an error when the gradients differ."""
    setup = parse(arguments)
    prepare_torch(setup.device, setup.threads)
    # Before this process holds anything: a child's high-water mark begins where its parent's is.
    found = {way: in_own_process(way, setup) for way in ("plain", "ours")}
    same = agreement(setup)
    release()
    flops = needed_flops(setup)
    release()
    peak = matmul_peak(setup.device, setup.precision)

    table = Table(
        title=f"{setup.batch} images, {setup.steps} steps of which {setup.trained_steps} are trained, "
        f"{setup.precision}, {setup.device}, {torch.get_num_threads()} threads"
    )
    for column in ("", "images per second", "ratio", "peak memory, GB", "share of matmul peak"):
        table.add_column(column, justify="right" if column else "left")
    for way, name in (("plain", "published loop"), ("ours", "Aligner")):
        rate = found[way].rate
        table.add_row(
            name,
            f"{rate:.3g}",
            f"{rate / found['plain'].rate:.2f}",
            f"{found[way].memory:.2f}",
            f"{100 * rate * flops / peak:.0f} %",
        )
    console = Console(width=110)
    console.print(table)
    console.print(
        f"In fp32 gradients differ by {same.gradient:.1e} of their norm, sampled images by {same.levels} of 255 "
        f"grey levels, rewards of the same images by {same.reward:.1e} of their spread; {100 * same.clipped:.0f} % of "
        "samples clipped."
    )
    console.print(
        f"UNet, per image: {flops / 1e9:.4g} GFLOP needed; {setup.precision} matmul peak {peak / 1e12:.3g} TFLOP/s."
    )
    if found["ours"].profile:
        # Wider than a console: printed as it is.
        print(found["ours"].profile)
    if same.gradient > TOLERANCE:
        raise SystemExit(f"gradients differ by {same.gradient:.1e} of their norm, more than {TOLERANCE:.0e}")


if __name__ == "__main__":
    main()
