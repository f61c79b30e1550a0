"""Slices: the pipelines `masks` and `candidates` on a catalog made here, with files where results are looked at."""

from pathlib import Path

import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from prefpaint.datasets import DiffusersPipelineDataset, ImageFolderDataset, JSONDataset, TableDataset, WorkspaceDataset
from prefpaint.inpainting.candidates import CandidatesConfig
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.masks.config import MasksConfig
from prefpaint.photographs.config import PhotographsConfig
from prefpaint.pipelines.candidates import pipeline as candidates
from prefpaint.pipelines.masks import pipeline as masks

COUNTS = {"train": 2, "validation": 1, "test": 1, "seen": 1, "unseen": 1}


def run_masks(folder: Path, seed: int = 0) -> DataCatalog:
    catalog = DataCatalog(
        {
            **{
                name: ImageFolderDataset(str(folder / name), masks=name in ("prompt_masks", "own_holes"))
                for name in (
                    *("photographs", "own_holes", "depth_maps", "prompt_images", "prompt_masks", "candidate_images"),
                )
            },
            "params:photographs": MemoryDataset(PhotographsConfig(size=32, crop_side=(40, 100))),
            "params:masks": MemoryDataset(MasksConfig(seed=seed, prompts=COUNTS)),
            "masks_preview": MemoryDataset(),
            "photograph_report": JSONDataset(str(folder / "report.json")),
            **{name: TableDataset(str(folder / name)) for name in ("prompts", "candidates")},
            "caption_workspace": WorkspaceDataset(str(folder / "captions")),
        }
    )
    SequentialRunner().run(masks.create_pipeline(), catalog)
    return catalog


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> DataCatalog:
    return run_masks(tmp_path_factory.mktemp("slice"))


def run_candidates(catalog: DataCatalog, base: Path, batch: int) -> pd.DataFrame:
    catalog["base_model"] = DiffusersPipelineDataset(str(base))
    catalog["params:sampling"] = MemoryDataset(SamplingConfig(steps=2, batch=batch))
    catalog["params:candidates"] = MemoryDataset(CandidatesConfig())
    catalog["candidates_preview"] = MemoryDataset()
    SequentialRunner().run(candidates.create_pipeline(), catalog)
    return catalog["candidates"].load()


def test_masks_make_what_their_table_says(made: DataCatalog) -> None:
    prompts = made["prompts"].load()
    assert prompts["split"].value_counts().to_dict() == COUNTS
    assert list(made["prompt_images"].load()) == sorted(prompts["prompt_id"]) == list(made["prompt_masks"].load())
    assert made["photograph_report"].load() == {"photographs": 8, "skipped": []}
    assert len(made["masks_preview"].load().axes) >= len(prompts)


def test_the_same_seed_gives_the_same_prompts(made: DataCatalog, tmp_path: Path) -> None:
    pd.testing.assert_frame_equal(run_masks(tmp_path)["prompts"].load(), made["prompts"].load())


def test_candidates_are_three_per_rated_prompt_with_their_seeds(made: DataCatalog, tiny_base: Path) -> None:
    table = run_candidates(made, tiny_base, batch=4)
    prompts, painted = made["prompts"].load(), made["candidate_images"].load()
    assert set(table["prompt_id"]) == {"train_00000", "train_00001", "validation_00000", "test_00000"}
    assert (table.groupby("prompt_id").size() == 3).all() and table["seed"].is_unique
    assert list(painted) == sorted(table["candidate_id"])
    images, holes = made["prompt_images"].load(), made["prompt_masks"].load()
    for row in table.itertuples():
        known = holes[row.prompt_id] == 0
        assert (painted[row.candidate_id][known] == images[row.prompt_id][known]).all(), "known pixels are pasted back"
        assert painted.checksum(row.candidate_id) == row.sha256
    assert table["sha256"].is_unique, "every candidate is another"
    assert prompts.set_index("prompt_id").loc["seen_00000", "split"] == "seen"


def test_another_batch_needs_no_new_candidates_and_another_base_does(
    made: DataCatalog, tiny_base: Path, tmp_path: Path
) -> None:
    from prefpaint.small_model.build import build_small_pipeline
    from tests.tiny import SIZE, TINY_MODEL

    first = run_candidates(made, tiny_base, batch=4)
    folder = made["candidate_images"].load().path
    times = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.png")}
    pd.testing.assert_frame_equal(run_candidates(made, tiny_base, batch=3), first)
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*.png")} == times

    DiffusersPipelineDataset(str(tmp_path / "other")).save(build_small_pipeline(TINY_MODEL, SIZE, 1))
    other = run_candidates(made, tmp_path / "other", batch=4)
    assert not set(other["sha256"]) & set(first["sha256"])
