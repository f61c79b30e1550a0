"""Throughput of `RewardModel.score` in batches against one image at a time through PIL.

The published code scores each sample by itself: candidate and prompt become PIL images, are resized on the CPU, turned
into tensors, and each goes through the tower as a batch of one. That is written out here as the baseline. Both sides
have the same weights, start from the same place (PNG files, or arrays in memory as in alignment) and must give the
same scores to 1e-3, in units in which the scores' standard deviation is 1.

    python benchmarks/scoring.py [--device cuda] [--precision bf16] [--threads 2] [--quick]
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from prefpaint.images import ImageFolder, write_image
from prefpaint.reward.backbones import CLIP_MEAN, CLIP_STD, ClipBackbone
from prefpaint.reward.config import ClipBackboneConfig, ContrastBackboneConfig, MLPHeadConfig
from prefpaint.reward.model import RewardModel

CANDIDATES = 8
TOLERANCE = 1e-3
REPEATS = 3
# As published.
HEAD = MLPHeadConfig(
    width=1024, heads=16, feedforward=1024, feature_dropout=0, activation=False, normalise=False, hidden=512
)


def make_images(folder: Path, prompts: int, side: int) -> tuple[ImageFolder, ImageFolder, list[tuple[str, str]]]:
    """Cloudy prompts with a hole on one side, candidates that fill it with other clouds, (candidate, prompt) ids."""
    rng = np.random.default_rng(0)
    images, masks, ids = ImageFolder(folder / "images"), ImageFolder(folder / "masks", masks=True), []

    def clouds() -> np.ndarray:
        cells = Image.fromarray(rng.integers(0, 256, (int(rng.integers(2, 24)),) * 2 + (3,), dtype=np.uint8))
        smooth = np.asarray(cells.resize((side, side), Image.Resampling.BICUBIC), np.float32)
        return np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)

    for number in range(prompts):
        mask = np.zeros((side, side), np.uint8)
        mask[:, int(side * rng.uniform(0.35, 0.4)) :] = 1
        prompt, picture = f"{number:04d}", clouds()
        write_image(masks.file(prompt), mask)
        for index in range(CANDIDATES):
            candidate = f"{prompt}_{index}"
            write_image(images.file(candidate), np.where(mask[:, :, None] > 0, clouds(), picture))
            ids.append((candidate, prompt))
    return images, masks, ids


def clip_model(device: str, precision: str, quick: bool) -> RewardModel:
    """The published structure around an untrained tower of ViT-B/32's size."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    small: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    tower = CLIPVisionModelWithProjection(CLIPVisionConfig(projection_dim=512, **(small if quick else {})))
    backbone = ClipBackboneConfig.model_validate({"frozen": 1.0, "precision": precision})
    return RewardModel(backbone, HEAD, tower=tower).to(device).eval()


def contrast_model(device: str) -> RewardModel:
    """The default backbone under an untrained head, whose cost is next to nothing."""
    return RewardModel(ContrastBackboneConfig(), MLPHeadConfig()).to(device).eval()


def rescale(model: RewardModel, rewards: np.ndarray) -> None:
    """Give rewards a standard deviation of 1: an untrained head's are so small that any tolerance would do."""
    with torch.no_grad():
        for head in model.heads:
            head.psi.weight.div_(float(rewards.std()))


def preprocess(picture: Image.Image, side: int) -> torch.Tensor:
    """CLIP's preprocessing: shorter side to `side`, bicubic, centre, tensor, normalise; (1, 3, side, side)."""
    scale = side / min(picture.size)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    pixels = torch.from_numpy(np.array(picture.crop((left, top, left + side, top + side)))).permute(2, 0, 1)
    return ((pixels.float() / 255 - torch.tensor(CLIP_MEAN)[:, None, None]) / torch.tensor(CLIP_STD)[:, None, None])[
        None
    ]


@torch.no_grad()
def clip_one(model: RewardModel, candidate: Image.Image, incomplete: Image.Image) -> float:
    """The published reward of one candidate: tower on the candidate, tower on the prompt, head."""
    tower: Any = model.backbone.tower
    embeds = [
        tower(pixel_values=preprocess(picture, tower.config.image_size).to(model.device)).image_embeds
        for picture in (candidate, incomplete)
    ]
    return float(model.read(torch.cat(embeds, 1))[0])


@torch.no_grad()
def contrast_one(model: RewardModel, candidate: Image.Image, mask: Image.Image) -> float:
    """The default reward of one candidate."""
    pixels = torch.from_numpy(np.array(candidate)).permute(2, 0, 1)[None].float() / 255
    hole = torch.from_numpy(np.array(mask))[None, None].float() / 255
    return float(model(pixels.to(model.device), hole.to(model.device))[0])


def timed(work: Callable[[], np.ndarray], device: str) -> tuple[np.ndarray, float]:
    """Scores and seconds."""
    started = time.perf_counter()
    scores = work()
    if device == "cuda":
        torch.cuda.synchronize()
    return scores, time.perf_counter() - started


def compare(
    name: str, model: RewardModel, folder: Path, prompts: int, side: int, batch: int, device: str, singles: int
) -> list[tuple[str, float, float, float]]:
    """Rows (what, one at a time, batched, largest difference of scores) from files and from memory.

    The baseline scores the first `singles` images only: it takes as long for each.
    """
    images, masks, ids = make_images(folder, prompts, side)
    candidates, holes = images.stack(c for c, _ in ids), masks.stack(p for _, p in ids)
    rescale(model, model.score(candidates, holes, batch)[0])
    # What the published code reads: the prompt with its hole blacked out, as a picture of its own.
    incomplete = {
        prompt: images[f"{prompt}_0"] * (1 - masks[prompt][:, :, None]) for prompt in dict(ids[::-1]).values()
    }
    for prompt, picture in incomplete.items():
        write_image(folder / f"incomplete_{prompt}.png", picture)
    clip, some = isinstance(model.backbone, ClipBackbone), ids[:singles]

    of_prompt = {prompt: number for number, (_, prompt) in enumerate(ids)}

    def first(number: int, candidate: str, files: bool) -> Image.Image:
        return Image.open(images.file(candidate)) if files else Image.fromarray(candidates[number])

    def second(prompt: str, files: bool) -> Image.Image:
        if clip:
            return Image.open(folder / f"incomplete_{prompt}.png") if files else Image.fromarray(incomplete[prompt])
        return Image.open(masks.file(prompt)) if files else Image.fromarray(holes[of_prompt[prompt]] * np.uint8(255))

    def one_by_one(files: bool) -> np.ndarray:
        one = clip_one if clip else contrast_one
        return np.array([one(model, first(n, c, files), second(p, files)) for n, (c, p) in enumerate(some)])

    def batched(files: bool) -> np.ndarray:
        if isinstance(model.backbone, ClipBackbone):
            # Every repetition embeds every prompt once.
            model.backbone.prompts.clear()
        if not files:
            return model.score(candidates, holes, batch)[0]
        parts = [ids[start : start + batch] for start in range(0, len(ids), batch)]
        read = ((images.stack(c for c, _ in part), masks.stack(p for _, p in part)) for part in parts)
        return np.concatenate([model.score(*both, batch)[0] for both in read])

    rows = []
    for files in (False, True):
        ours, theirs = [], []
        # In turns, and the quickest of each counts: what else the machine does falls on both.
        for _ in range(REPEATS):
            theirs.append(timed(partial(one_by_one, files), device))
            ours.append(timed(partial(batched, files), device))
        slow, rate = (len(runs[0][0]) / min(seconds for _, seconds in runs) for runs in (theirs, ours))
        difference = float(np.abs(ours[0][0][: len(some)] - theirs[0][0]).max())
        rows.append((f"{name}, from {'PNG files' if files else 'memory'}", slow, rate, difference))
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Measure and print; ends with an error when scores differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of the batched CLIP tower only")
    parser.add_argument("--threads", type=int, help="of torch; by default all cores")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: tells that it runs, not how fast")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    quick, device = options.quick, options.device
    prompts, batch, singles = (2, 8, 4) if quick else (4, 32, 8) if device == "cpu" else (128, 256, 64)
    with tempfile.TemporaryDirectory() as scratch:
        rows = compare(
            "CLIP ViT-B/32, 512 px",
            clip_model(device, options.precision, quick),
            Path(scratch) / "clip",
            prompts,
            96 if quick else 512,
            batch,
            device,
            singles,
        )
        rows += compare(
            "default backbone, 64 px",
            contrast_model(device),
            Path(scratch) / "contrast",
            prompts,
            64,
            batch,
            device,
            singles,
        )
    table = Table(title=f"Images per second, {device}, {torch.get_num_threads()} threads, {CANDIDATES} candidates each")
    for column in ("model", "one at a time", "batched", "ratio", "scores differ by"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for name, slow, rate, difference in rows:
        table.add_row(name, f"{slow:.3g}", f"{rate:.3g}", f"{rate / slow:.1f}", f"{difference:.1e}")
    Console(width=100).print(table)
    worst = max(difference for *_, difference in rows)
    if options.precision == "fp32" and worst > TOLERANCE:
        raise SystemExit(f"scores differ by {worst:.1e}, more than {TOLERANCE:.0e}")


if __name__ == "__main__":
    main()
