"""Ratings at the paper's size: from the store to validated, normalised scores.

    python benchmarks/ratings.py

51,000 ratings of 17,000 prompts with three candidates each, in SQLite, with image files of their own (16 px, so that
what is measured is ours and not the disk's). The baseline is hashing those files, which any check of them must do.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import yaml
from rich.console import Console
from rich.table import Table

from prefpaint.datasets.expectations import Suite, check, link_tables
from prefpaint.images import ImageFolder, write_image
from prefpaint.preferences.collecting import stored_preferences
from prefpaint.preferences.comparisons import no_comparisons
from prefpaint.preferences.exchange import read_preferences, to_csv
from prefpaint.preferences.schema import CRITERIA
from prefpaint.preferences.scoring import apply_normalisation, fit_normalisation, score_candidates
from prefpaint.preferences.store import RatingStore

T = TypeVar("T")
RULES = Path(__file__).parents[1] / "conf/base/expectations"
SIDE = 16


def make(folder: Path, prompts: int) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, ImageFolder]]:
    """Prompts, candidates and their files."""
    folders = {name: ImageFolder(folder / name, masks=name == "masks") for name in ("images", "masks", "fills")}
    rng = np.random.default_rng(0)
    rows, candidates = [], []
    for number in range(prompts):
        name = f"train_{number:05d}"
        write_image(folders["images"].file(name), rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
        write_image(folders["masks"].file(name), (rng.random((SIDE, SIDE)) < 0.5).astype(np.uint8))
        sums = (folders["images"].checksum(name), folders["masks"].checksum(name))
        pattern = ("warp", "outpaint_square", "outpaint_strip")[number % 3]
        rows.append((name, "coco", "train", pattern, *sums))
        for index in range(3):
            candidate = f"{name}_{index}"
            write_image(folders["fills"].file(candidate), rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
            candidates.append((candidate, name, folders["fills"].checksum(candidate)))
    columns = ["prompt_id", "source", "split", "pattern", "image_sha256", "mask_sha256"]
    prompt_table = pd.DataFrame(rows, columns=columns)
    return prompt_table, pd.DataFrame(candidates, columns=["candidate_id", "prompt_id", "sha256"]), folders


def main() -> None:
    """Run and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=17_000)
    parser.add_argument("--quick", action="store_true", help="Only see whether it runs.")
    given = parser.parse_args()
    if given.quick:
        given.prompts = 60
    spent: list[tuple[str, float]] = []

    def clock(title: str, work: Callable[[], T]) -> T:
        started = time.perf_counter()
        done = work()
        spent.append((title, time.perf_counter() - started))
        return done

    suites = {
        name: Suite.model_validate(yaml.safe_load((RULES / f"{name}.yml").read_text()))
        for name in ("ratings", "preferences", "scores")
    }
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prompts, candidates, folders = make(folder, given.prompts)
        rng = np.random.default_rng(1)
        said = candidates[["candidate_id"]].assign(
            rater="ann", rated_at=pd.Timestamp("2026-01-01", tz="UTC").as_unit("us")
        )
        for name in CRITERIA:
            said[name] = rng.integers(0, 8, len(said))
        (folder / "ratings.csv").write_text(to_csv(said))
        store = RatingStore(folder / "store")
        read = clock(
            "import: read and check the CSV file", lambda: read_preferences(folder / "ratings.csv", candidates)
        )
        clock("import: into the store", lambda: store.add_ratings(read.ratings))
        import great_expectations  # noqa: F401

        def hash_files() -> None:
            for images in folders.values():
                for key in images:
                    images.checksum(key)

        clock("baseline: hashing the files", hash_files)
        baseline = spent[-1][1]
        stored = clock("read the store", lambda: stored_preferences(store, candidates))
        assert stored is not None
        ratings = stored[0]
        linked = clock(
            "link prompts, candidates, ratings and files",
            lambda: link_tables(prompts, candidates, ratings, folders["images"], folders["masks"], folders["fills"]),
        )
        clock("great_expectations: across tables and files", lambda: check(linked, suites["preferences"]))

        def normalise() -> Any:
            scores = score_candidates(ratings, no_comparisons(), candidates, prompts)
            return scores.assign(score=apply_normalisation(scores["raw"], scores, fit_normalisation(scores)))

        scores = clock("weigh and normalise", normalise)
        clock("great_expectations: ratings", lambda: check(ratings, suites["ratings"]))
        clock("great_expectations: scores", lambda: check(scores, suites["scores"]))
        store.close()
    table = Table("step", "seconds", "× baseline")
    for title, seconds in spent:
        table.add_row(title, f"{seconds:.2f}", f"{seconds / baseline:.2f}")
    ours = sum(seconds for title, seconds in spent if not title.startswith(("import", "baseline")))
    table.add_row(
        f"[bold]{len(ratings):,} ratings, store to scores", f"[bold]{ours:.2f}", f"[bold]{ours / baseline:.2f}"
    )
    Console().print(table)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
