"""The embedded base on photographs it was not trained on: its goals, with Telea's fill and the codec alone.

    python benchmarks/base.py data/01_raw/pretraining/held_out     # the 40 kept out of pretraining
    python benchmarks/base.py                                      # the photographs inside the wheels

Outpainting holes, half squares and half strips, at the demo's sampler. Training and choices never see this table.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from prefpaint.evaluation.stlpips import outside_judges
from prefpaint.fills.appearance import appearance
from prefpaint.fills.differences import hole_psnr
from prefpaint.inpainting.checkpoint import load_pipeline
from prefpaint.inpainting.classical import classical_fill
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.sampling import Inpainter, paste_known
from prefpaint.masks.config import MaskConfig
from prefpaint.masks.prompts import make_prompt
from prefpaint.photographs.crops import Box, cut, sample_crop
from prefpaint.photographs.sources import embedded_photographs
from prefpaint.small_model.examples import load_photographs

ROOT = Path(__file__).parents[1]
SHARES = (0.4, 1.0)
PATTERNS = ("outpaint_square", "outpaint_strip")


def make_prompts(photographs: Sequence[np.ndarray], count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Crops (N, size, size, 3) uint8 and holes (N, size, size) uint8; the photographs take turns."""
    images, masks = [], []
    for index in range(count):
        rng = np.random.default_rng(index)
        image = photographs[index % len(photographs)]
        height, width = image.shape[:2]
        low, high = (round(share * min(height, width)) for share in SHARES)
        crop = cut(image, sample_crop(Box(0, 0, width, height), (1, 1), (low, high), rng), (size, size))
        prompt = make_prompt(crop, crop[..., 0], PATTERNS[index % 2], MaskConfig(), index)  # type: ignore[arg-type]
        images.append(crop)
        masks.append(prompt.mask)
    return np.stack(images), np.stack(masks)


@torch.no_grad()
def conditional_mean(inpainter: Inpainter, images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """What the network predicts from pure noise, before any sampling; (N, H, W, 3) uint8."""
    parts = []
    for start in range(0, len(images), inpainter.config.batch):
        rows = slice(start, start + inpainter.config.batch)
        shape = inpainter.latent_shape(images.shape[1], images.shape[2])
        noise = inpainter.draw_noise(range(start, start + len(images[rows])), shape)
        first = inpainter.schedule(*images.shape[1:3]).levels[0]
        condition = inpainter.condition(images[rows], masks[rows], noise[1])
        velocity = inpainter.predict(inpainter.network, noise[0], first, condition)
        # Without any signal at the first timestep v is the clean latent with its sign turned.
        parts.append(paste_known(inpainter.decode(-velocity), images[rows], masks[rows]))
    return np.concatenate(parts)


@torch.no_grad()
def codec_alone(inpainter: Inpainter, images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Originals encoded, decoded and pasted into their holes; (N, H, W, 3) uint8."""
    parts = []
    for start in range(0, len(images), inpainter.config.batch):
        rows = slice(start, start + inpainter.config.batch)
        shape = (len(images[rows]), *inpainter.latent_shape(images.shape[1], images.shape[2]))
        latents = inpainter.encode(inpainter.pixels(images[rows]), torch.zeros(shape, device=inpainter.device))
        parts.append(paste_known(inpainter.decode(latents), images[rows], masks[rows]))
    return np.concatenate(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="of photographs; without one, those inside the wheels")
    parser.add_argument("--base", type=Path, default=ROOT / "data/06_models/base")
    parser.add_argument("--prompts", type=int, default=160)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(arguments)
    photographs = load_photographs(options.folder) if options.folder else [p.image for p in embedded_photographs()]
    sampling = yaml.safe_load((ROOT / "conf/base/parameters_candidates.yml").read_text())["sampling"]
    pipe: Any = load_pipeline(options.base)
    inpainter = Inpainter(pipe, SamplingConfig.model_validate(sampling))
    count = 4 if options.quick else options.prompts
    size = int(pipe.vae.config.sample_size)
    images, masks = make_prompts(photographs, count, size)
    fills = {
        "original": images,
        "Telea": np.stack([classical_fill("telea", *one) for one in zip(images, masks, strict=True)]),
        "codec alone": codec_alone(inpainter, images, masks),
        "conditional mean": conditional_mean(inpainter, images, masks),
        "base": inpainter.sample(images, masks, list(range(count))),
    }
    outside = {
        name: {fill: judge.distance(pictures, images) for fill, pictures in fills.items()}
        for name, judge in outside_judges().items()
    }
    print(f"{count} prompts of {len(photographs)} photographs, {sampling['steps']} steps, eta {sampling['eta']}\n")
    closer = " | ".join(f"{name}, closer than Telea" for name in outside)
    print(f"| fill | hole PSNR, dB | {closer} | colour step | seam | log energy |")
    print("| --- " * (5 + len(outside)) + "|")
    for fill, pictures in fills.items():
        seen = appearance(pictures, masks)
        pairs = zip(pictures, images, masks, strict=True)
        psnr = np.mean([hole_psnr(picture[None], image, mask)[0] for picture, image, mask in pairs])
        cells = [f"{100 * (of[fill] < of['Telea']).mean():.0f} %" for of in outside.values()]
        looks = [f"{float(getattr(seen, name).mean()):.2f}" for name in ("colour", "seam", "log_energy")]
        print(f"| {fill} | {psnr:.2f} | {' | '.join([*cells, *looks])} |")


if __name__ == "__main__":
    main()
