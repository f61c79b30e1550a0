"""What `make demo` must have left behind in a clone: `check_demo.py <clone>`."""

import json
import sys
from pathlib import Path

import numpy as np
from diffusers import AutoPipelineForInpainting
from huggingface_hub import metadata_load
from PIL import Image

import prefpaint
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.families.registry import native_size
from prefpaint.inpainting.sampling import Inpainter

MEGABYTE = 1_000_000


def check_metrics(folder: Path) -> None:
    """Every win rate and accuracy is a share, and they are there."""
    metrics = json.loads((folder / "evaluate_metrics.json").read_text())
    rates = {name: value for name, value in metrics.items() if "win_rate" in name}
    assert rates, "evaluate_metrics.json: no win rate"
    assert all(0 <= value <= 1 for value in rates.values()), rates
    for name in ("preferences", "reward", "bound", "align", "methods", "extend", "novel_view"):
        values = json.loads((folder / f"{name}_metrics.json").read_text())
        assert values and all(np.isfinite(value) for value in values.values()), name


def check_report(page: Path) -> None:
    """One file that needs no other."""
    text = page.read_text(encoding="utf-8")
    assert text.lstrip().lower().startswith("<!doctype html"), page
    assert "data:image/png;base64," in text and len(text) < 20 * MEGABYTE, page
    assert 'src="http' not in text and 'href="http' not in text.replace('href="https://arxiv.org', ""), page


def check_applications(data: Path) -> None:
    """Pictures became wider and keep what they were; the camera moved."""
    originals = sorted((data / "07_model_output/extend_originals").glob("*.png"))
    assert originals, "no picture was widened"
    for file in originals:
        narrow = np.asarray(Image.open(file))
        wide = np.asarray(Image.open(data / "07_model_output/extended_images" / file.name))
        places = range(wide.shape[1] - narrow.shape[1] + 1)
        assert any(np.array_equal(wide[:, x : x + narrow.shape[1]], narrow) for x in places), file
    with Image.open(data / "08_reporting/novel_view.gif") as animation:
        assert getattr(animation, "n_frames", 1) > 1, "the animation stands still"


def check_model(folder: Path) -> None:
    """Stock diffusers loads it, it paints the same picture twice from one seed, and known pixels stay."""
    pipe = AutoPipelineForInpainting.from_pretrained(folder)
    inpainter = Inpainter(pipe, SamplingConfig(steps=4))
    size = native_size(pipe)
    image = np.full((1, size, size, 3), 90, np.uint8)
    mask = np.triu(np.ones((1, size, size), np.uint8))
    painted = [inpainter.sample(image, mask, [0]) for _ in range(2)]
    assert np.array_equal(*painted), "the same seed gave two pictures"
    assert (painted[0][mask == 0] == 90).all() and painted[0][mask > 0].std() > 0, "the wrong part was painted"


def check_card(card: Path, metrics: Path) -> None:
    """The card's front matter says the win rates of the metrics file."""
    results = metadata_load(card)["model-index"][0]["results"]
    measured = json.loads(metrics.read_text())
    for split, result in zip(("seen", "unseen"), results, strict=True):
        assert result["metrics"][0]["value"] == measured[f"{split}_noiseless_win_rate_independent_s1"], card


if __name__ == "__main__":
    clone = Path(sys.argv[1]).resolve()
    assert clone in Path(prefpaint.__file__).resolve().parents, "the demo did not run the clone's own code"
    check_metrics(clone / "data/08_reporting")
    check_report(clone / "data/08_reporting/report.html")
    check_applications(clone / "data")
    check_model(clone / "data/06_models/release")
    check_card(clone / "data/06_models/release/README.md", clone / "data/08_reporting/evaluate_metrics.json")
    print("the demo's results are in order")
