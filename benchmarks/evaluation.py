"""Evaluation of base, aligned model and two classical fills: time, and memory against the number of prompts.

    python benchmarks/evaluation.py [--prompts 32 128 512] [--samples 3] [--quick]

Every number of prompts has a process of its own. The models are the embedded base, twice, and an untrained reward on
the default backbone; what is measured does not depend on their weights. The baseline is painting the samples, which any
evaluation must do. Ends with an error when peak memory grows by more than a fifth from the fewest prompts to the most.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from rich.console import Console
from rich.table import Table

from prefpaint.evaluation.config import EvaluateConfig
from prefpaint.images import ImageFolder, complete_folder, write_image

BASE = Path(__file__).parents[1] / "data/06_models/base"
SIDE = 64
# From the fewest prompts to sixteen times as many; the allocator alone makes up to a tenth between runs.
GROWTH = 0.2


class Lengths:
    """Stands in for trust widths, whose own cost `trust.py` measures."""

    def widths(self, z: np.ndarray) -> np.ndarray:
        """Lengths of embeddings (N, d), (N,)."""
        return np.sqrt(np.square(z.astype(np.float64)).sum(1))


def make_prompts(folder: Path, count: int) -> tuple[pd.DataFrame, ImageFolder, ImageFolder]:
    """Clouds with a hole on one side: the manifest, images, masks."""
    rng = np.random.default_rng(0)
    images, masks, rows = ImageFolder(folder / "images"), ImageFolder(folder / "masks", masks=True), []
    for number in range(count):
        name = f"seen_{number:05d}"
        cells = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[:, 24:] = 1
        write_image(images.file(name), np.asarray(cells.resize((SIDE, SIDE), Image.Resampling.BICUBIC)))
        write_image(masks.file(name), mask)
        pattern = ("outpaint_strip", "warp")[number % 2]
        rows.append((name, "seen", pattern, images.checksum(name), masks.checksum(name)))
    columns = ["prompt_id", "split", "pattern", "image_sha256", "mask_sha256"]
    return pd.DataFrame(rows, columns=columns), images, masks


def evaluate(count: int, samples: int, steps: int) -> dict[str, Any]:
    """One evaluation in this process: seconds per part, and the process's high-water mark."""
    from prefpaint.evaluation.measures import measure
    from prefpaint.evaluation.methods import compare_methods
    from prefpaint.evaluation.samples import Judges, evaluation_work, judge_samples, plan_samples
    from prefpaint.fills.config import JudgeModelConfig
    from prefpaint.fills.likeness import PhotographJudge
    from prefpaint.inpainting.checkpoint import load_pipeline
    from prefpaint.inpainting.config import SamplingConfig
    from prefpaint.preferences.simulated import NoiselessRater
    from prefpaint.preferences.taste import Taste
    from prefpaint.reward.config import ContrastBackboneConfig, MLPHeadConfig
    from prefpaint.reward.model import RewardModel

    config = EvaluateConfig(splits=("seen",), best_of=tuple(sorted({1, samples})))
    base, aligned = load_pipeline(BASE), load_pipeline(BASE)
    loaders = {"base": lambda: base, "aligned": lambda: aligned}
    with tempfile.TemporaryDirectory() as place:
        prompts, images, masks = make_prompts(Path(place), count)
        painted = ImageFolder(Path(place) / "painted")
        started = time.perf_counter()
        complete_folder(painted, evaluation_work(loaders, prompts, images, masks, SamplingConfig(steps=steps), config))
        filled = time.perf_counter()
        reward = RewardModel(ContrastBackboneConfig(), MLPHeadConfig()).eval()
        plan = plan_samples(prompts, config)
        rater = NoiselessRater(Taste(), PhotographJudge(JudgeModelConfig()).eval())
        judges = Judges(reward, Lengths(), rater, "")
        judged = judge_samples(plan, painted, images, masks, judges, Path(place))
        seen = time.perf_counter()
        measure(judged, config)
        compare_methods(judged, config)
        done = time.perf_counter()
    return {
        "prompts": count,
        "samples": len(plan),
        "paint": filled - started,
        "judge": seen - filled,
        "tables": done - seen,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main() -> None:
    """Run and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, nargs="+", default=[32, 128, 512])
    parser.add_argument("--samples", type=int, default=3, help="S: the best of so many against one of the base.")
    parser.add_argument("--steps", type=int, default=10, help="Of the denoising chain.")
    parser.add_argument("--quick", action="store_true", help="Only see whether it runs.")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.quick:
        given.prompts, given.samples, given.steps = [16, 32], 2, 2
    if given.one is not None:
        print(json.dumps(evaluate(given.one, given.samples, given.steps)))
        return
    found = []
    for count in sorted(given.prompts):
        call = [sys.executable, __file__, "--one", str(count)]
        call += ["--samples", str(given.samples), "--steps", str(given.steps)]
        output = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True).stdout
        found.append(json.loads(output.splitlines()[-1]))
    table = Table("prompts", "pictures", "paint, s", "judge, s", "tables", "whole", "× paint", "MB")
    for one in found:
        whole = one["paint"] + one["judge"] + one["tables"]
        seconds = [f"{one[part]:.1f}" for part in ("paint", "judge", "tables")]
        row = [str(one["prompts"]), str(one["samples"]), *seconds, f"{whole:.1f}", f"{whole / one['paint']:.2f}"]
        table.add_row(*row, f"{one['megabytes']:.0f}")
    Console().print(table)
    grown = found[-1]["megabytes"] / found[0]["megabytes"] - 1
    print(f"peak memory grows by {100 * grown:.1f} % from {found[0]['prompts']} to {found[-1]['prompts']} prompts")
    if grown > GROWTH:
        sys.exit("memory is not flat in the number of prompts")


if __name__ == "__main__":
    main()
