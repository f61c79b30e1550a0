"""A user's own folder with odd names, sub-folders, mixed sizes and kinds; numbers as docs/your-data.md has them."""

import json
import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from PIL import Image, ImageDraw

from prefpaint.applications.novel_view import choose_photograph
from prefpaint.datasets import DiffusersPipelineDataset, ImageFolderDataset, TableDataset, WorkspaceDataset
from prefpaint.datasets.expectations import ExpectationValidator
from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder, complete_folder
from prefpaint.inpainting.candidates import CandidatesConfig
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.masks.collection import plan_prompts
from prefpaint.masks.config import MasksConfig
from prefpaint.photographs.collection import photograph_key, photograph_regions, photograph_work
from prefpaint.photographs.config import PhotographsConfig
from prefpaint.photographs.own_holes import COLUMNS
from prefpaint.photographs.sources import EMBEDDED_NAMES
from prefpaint.pipelines.candidates import pipeline as candidates
from prefpaint.pipelines.masks import pipeline as masks
from prefpaint.reward.model import RewardModel
from tests.conftest import REPOSITORY, Project, make_project
from tests.judges.outside_models import write_clip
from tests.masks.checkpoints import write_blip

# Pictures of the scikit-image wheel that are not among the embedded photographs.
SCENES = ("brick", "camera", "clock_motion", "coins", "grass", "gravel", "ihc", "microaneurysms", "moon", "page")
NAMES = ("IMG {}.JPG", "Grüße {}.jpeg", "sommer/Tag {} (1).png", "sommer/Übersee/{}.TIFF", "a.b..{}.webp", "{}%#'.bmp")
# The first indented block of the page: what a reader copies.
COPIED = yaml.safe_load(re.findall(r"(?:^    .+\n)+", (REPOSITORY / "docs/your-data.md").read_text(), re.MULTILINE)[0])
RECIPE = COPIED["masks"]["prompts"]


def own_folder(folder: Path, count: int) -> list[str]:
    """Fill a folder with different photographs of 140 to 300 px, one grey and one see-through; their names."""
    from skimage import data

    rng = np.random.default_rng(0)
    names = []
    for number in range(count):
        scene = Image.open(Path(data.__file__).parent / f"{SCENES[number % len(SCENES)]}.png").convert("RGB")
        # Another part and another tint of the scene each time it comes.
        width, height = (int(side) for side in rng.integers(140, 300, 2))
        left, top = int(rng.integers(0, scene.width // 2)), int(rng.integers(0, scene.height // 2))
        pixels = np.asarray(scene.crop((left, top, left + width, top + height)).resize((width, height)))
        picture = Image.fromarray((pixels * rng.uniform(0.6, 1, 3)).astype(np.uint8))
        if number == 1:
            picture = picture.convert("L")
        elif number == 2:
            picture.putalpha(Image.linear_gradient("L").resize(picture.size))
        name = NAMES[number % len(NAMES)].format(number)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(folder / name)
        names.append(name)
    return names


def run_masks(folder: Path, source: PhotographsConfig, config: MasksConfig) -> DataCatalog:
    """The pipeline `masks`, its table checked as in the project."""
    catalog = DataCatalog(
        {
            **{
                name: ImageFolderDataset(str(folder / name), masks=name in ("prompt_masks", "own_holes"))
                for name in (
                    *("photographs", "own_holes", "depth_maps", "prompt_images", "prompt_masks", "candidate_images"),
                )
            },
            "params:photographs": MemoryDataset(source),
            "params:masks": MemoryDataset(config),
            **{
                name: MemoryDataset()
                for name in ("photograph_table", "annotation_table", "photograph_report", "masks_preview")
            },
            **{name: TableDataset(str(folder / name)) for name in ("prompts", "candidates")},
            "caption_workspace": WorkspaceDataset(str(folder / "captions")),
        }
    )
    SequentialRunner().run(masks.create_pipeline(), catalog)
    ExpectationValidator(str(REPOSITORY / "conf/base/expectations/prompts.yml")).validate(catalog["prompts"].load())
    return catalog


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> tuple[Project, list[str]]:
    """A project in which everything has run on twelve photographs, and their names."""
    folder = tmp_path_factory.mktemp("own")
    names = own_folder(folder / "Meine Bilder", 12)
    (folder / "Meine Bilder/brief.png").write_text("no picture")
    project = make_project(folder / "project", tiny_base)
    (folder / "Meine Bilder/Kopie.JPG").write_bytes((folder / "Meine Bilder" / names[0]).read_bytes())
    project.set(
        photographs={"folder": str(folder / "Meine Bilder"), "source": "holiday", "size": 48, "crop_side": [0, 0]},
        masks={"prompts": {"train": 10, "validation": 4, "test": 4, "seen": 6, "unseen": 4}},
        novel_view={"frames": 5, "crops": 2, "resamples": 100},
    )
    done = project.run("run")
    assert done.returncode == 0, done.stderr
    assert "brief.png: cannot be read" in done.stderr
    assert "Kopie.JPG: is the same picture as IMG 0.JPG" in done.stderr
    assert "8 photographs are too few to divide" in done.stderr
    return project, names


def test_a_run_on_an_own_folder_uses_that_folder_alone(finished: tuple[Project, list[str]]) -> None:
    project, names = finished
    data = project.path / "data"
    prompts = pd.read_parquet(data / "03_primary/prompts.parquet")
    assert set(prompts["source"]) == {"holiday"} and set(prompts["photograph"]) <= set(names)
    assert set(pd.read_parquet(data / "02_intermediate/photographs.parquet")["photograph"]) == set(names)
    assert not {path.stem for path in (data / "02_intermediate/photographs").glob("*.png")} & set(EMBEDDED_NAMES)
    left_out = json.loads((data / "08_reporting/photographs.json").read_text())["skipped"]
    assert {one["name"] for one in left_out} == {"brief.png", "Kopie.JPG"}


def test_a_run_on_an_own_folder_goes_to_the_end(finished: tuple[Project, list[str]]) -> None:
    data = finished[0].path / "data"
    assert (data / "06_models/release/README.md").exists()
    assert "data:image/png;base64," in (data / "08_reporting/report.html").read_text()
    with Image.open(data / "08_reporting/novel_view.gif") as animation:
        assert getattr(animation, "n_frames", 1) == 5


def test_own_masks_and_words_go_to_the_end(tmp_path: Path, tiny_base: Path) -> None:
    folder = tmp_path / "mine"
    names = own_folder(folder, 6)
    rows = ["image,mask,text_prompt"]
    for number, name in enumerate(names):
        with Image.open(folder / name) as opened:
            mask = Image.new("L", opened.size)
        ImageDraw.Draw(mask).ellipse([30, 40, 90 + number, 100], fill=255)
        mask.save(tmp_path / f"{number}.png")
        rows.append(f"{name},{number}.png,{'a red car' if number % 2 else ''}")
    (tmp_path / "words.csv").write_text("\n".join([*rows, "nobody.jpg,0.png,", ""]))
    project = make_project(tmp_path / "project", tiny_base)
    project.set(
        photographs={"folder": str(folder), "annotations": str(tmp_path / "words.csv"), "crop_side": [100, 140]},
        sampling={"guidance": 2.0},
        reward={"text": {"checkpoint": str(write_clip(tmp_path / "clip", tiny_base / "tokenizer"))}},
        masks={"prompts": {"train": 6, "validation": 4, "test": 4, "seen": 4, "unseen": 4}},
    )
    done = project.run("run")
    assert done.returncode == 0, done.stderr
    assert "words.csv, row 8: image 'nobody.jpg' was not found" in done.stderr
    assert "no prompt has a hole" not in done.stderr, "other kinds of holes were not asked for"
    data = project.path / "data"
    prompts = pd.read_parquet(data / "03_primary/prompts.parquet")
    assert set(prompts["pattern"]) == {"own"} and set(prompts["text_prompt"]) == {"", "a red car"}
    evaluation = pd.read_parquet(data / "07_model_output/evaluation.parquet")
    words = prompts.set_index("prompt_id")["text_prompt"]
    assert (evaluation["text_prompt"] == evaluation["prompt_id"].map(words)).all()
    reward = RewardModel.from_pretrained(data / "06_models/reward")
    fills, holes = (
        ImageFolder(data / "04_feature/candidate_images"),
        ImageFolder(data / "03_primary/prompt_masks", True),
    )
    rows = pd.read_parquet(data / "07_model_output/embeddings.parquet").head(8)
    told = [words[name] for name in rows["prompt_id"]]
    again = [
        reward.score(fills.stack(rows["candidate_id"]), holes.stack(rows["prompt_id"]), 64, texts)[0]
        for texts in (told, [""] * len(rows))
    ]
    # Batches of another size: the last bits differ.
    np.testing.assert_allclose(again[0], rows["reward"], atol=1e-5)
    np.testing.assert_array_equal(again[0] == again[1], [not text for text in told])
    metrics = json.loads((data / "08_reporting/methods_metrics.json").read_text())
    assert metrics["unseen_own_prompts"] == 4 and not any("warping" in key for key in metrics)
    assert "kinds of hole it was trained on (`own`)" in (data / "06_models/release/README.md").read_text()


def test_an_own_photograph_is_chosen_by_its_name(finished: tuple[Project, list[str]]) -> None:
    project, names = finished
    data = project.path / "data/02_intermediate"
    regions, depths = pd.read_parquet(data / "photographs.parquet"), ImageFolder(data / "depth")
    for name in names:
        assert choose_photograph(regions, depths, name) == photograph_key(name)
    assert choose_photograph(regions, depths, None) == photograph_key(min(names))
    with pytest.raises(PrefPaintError, match=r"brief\.png was not found; choose from .*Grüße"):
        choose_photograph(regions, depths, "brief.png")


def test_the_recipe_with_one_crop_of_each_photograph(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own_folder(tmp_path / "own", 12)
    source = PhotographsConfig(folder=tmp_path / "own", source="holiday", size=32, crop_side=(0, 0))
    with caplog.at_level(logging.WARNING):
        catalog = run_masks(tmp_path, source, MasksConfig(prompts=RECIPE))
    prompts = catalog["prompts"].load()
    counts = prompts["split"].value_counts()
    assert all(0 < counts[split] <= asked for split, asked in RECIPE.items())
    assert not prompts.duplicated(["image_sha256", "mask_sha256"]).any()
    assert "12 photographs (one crop of each) do not give" in caplog.text and "400 for train" in caplog.text


def test_photographs_without_words_get_captions(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = own_folder(tmp_path / "own", 6)
    (tmp_path / "words.csv").write_text(f"image,text_prompt\n{names[0]},a red car\n{names[1]},a red car\n")
    source = PhotographsConfig(
        folder=tmp_path / "own", annotations=tmp_path / "words.csv", size=32, crop_side=(60, 120)
    )
    few = MasksConfig(
        prompts={"train": 8, "validation": 4, "test": 4, "seen": 4, "unseen": 4},
        captions={"checkpoint": str(write_blip(tmp_path / "blip")), "tokens": 5},
    )
    with caplog.at_level(logging.INFO):
        prompts = run_masks(tmp_path, source, few)["prompts"].load()
    words = prompts["text_prompt"].groupby(prompts["text_source"]).unique()
    own = prompts["photograph"].isin(names[:2])
    assert set(prompts.loc[own, "text_source"]) == {"own"} and list(words["own"]) == ["a red car"]
    # A caption of a model with random weights may be empty.
    made = prompts["text_source"] == "caption"
    assert not (own & made).any() and made.sum() > 8 and len(words["caption"]) > 1 and "" not in words["caption"]
    assert (prompts["text_prompt"] == "").equals(prompts["text_source"] == "")
    assert f"Text prompts: {own.sum()} of your own, {made.sum()} captions" in caplog.text
    assert "text_source" not in run_masks(tmp_path, source, MasksConfig(prompts=few.prompts))["prompts"].load()


def test_what_the_page_says_is_valid() -> None:
    assert PhotographsConfig(**COPIED["photographs"]).size == 512
    assert MasksConfig(**COPIED["masks"]).prompts == RECIPE
    assert RECIPE == {"train": 400, "validation": 60, "test": 60, "seen": 128, "unseen": 128}


@pytest.mark.parametrize("crop_side", [(0, 0), (40, 120)])
def test_the_recipe_on_sixty_photographs(
    crop_side: tuple[int, int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own_folder(tmp_path / "own", 60)
    source = PhotographsConfig(folder=tmp_path / "own", source="holiday", size=32, crop_side=crop_side)
    photographs = ImageFolder(tmp_path / "photographs")
    complete_folder(photographs, photograph_work(source))
    regions, _ = photograph_regions(source, photographs)
    with caplog.at_level(logging.WARNING):
        plan = plan_prompts(regions, pd.DataFrame(columns=COLUMNS), photographs, source, MasksConfig(prompts=RECIPE))
    of_photograph = plan.replace({"split": {"seen": "train"}}).groupby("photograph")["split"].nunique()
    assert (of_photograph == 1).all(), "whole photographs are divided"
    counts = plan["split"].value_counts().to_dict()
    if crop_side == (0, 0):
        # Of 39 rated photographs 25 are for train: 200 views of the 264 that train and seen ask for.
        warps = plan[plan["pattern"] == "warp"]["split"].value_counts()
        assert warps["train"] + warps["seen"] == 25 * 8
        assert warps["train"] / warps["seen"] == pytest.approx(400 / 128, rel=0.2), "both are cut alike"
        assert {split: counts[split] for split in ("validation", "test", "unseen")} == {
            split: RECIPE[split] for split in ("validation", "test", "unseen")
        }
        assert f"{counts['train']} of 400 for train, {counts['seen']} of 128 for seen" in caplog.text
    else:
        assert counts == RECIPE and caplog.text == ""


def test_sixty_photographs_get_candidates(tmp_path: Path, tiny_base: Path) -> None:
    own_folder(tmp_path / "own", 60)
    source = PhotographsConfig(folder=tmp_path / "own", source="holiday", size=32, crop_side=(0, 0))
    few = MasksConfig(prompts={"train": 8, "validation": 2, "test": 2, "seen": 2, "unseen": 2})
    catalog = run_masks(tmp_path, source, few)
    catalog["base_model"] = DiffusersPipelineDataset(str(tiny_base))
    catalog["params:sampling"] = MemoryDataset(SamplingConfig(steps=2, batch=8))
    catalog["params:candidates"] = MemoryDataset(CandidatesConfig())
    catalog["candidates_preview"] = MemoryDataset()
    SequentialRunner().run(candidates.create_pipeline(), catalog)
    table = catalog["candidates"].load()
    assert (table.groupby("prompt_id").size() == 3).all() and table["prompt_id"].nunique() == 12


def test_what_is_skipped_is_said_in_sentences(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from prefpaint.pipelines.masks.nodes import list_regions

    mine = tmp_path / "mine"
    mine.mkdir()
    rng = np.random.default_rng(0)
    for number in range(4):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3)).astype(np.uint8)).save(mine / f"{number}.png")
    Image.open(mine / "0.png").resize((90, 90)).save(mine / "0 again.avif", quality=90)
    Image.fromarray(np.full((40, 40), np.nan, np.float32)).save(mine / "nan.tif")
    for name in ("raw.cr2", "notes.txt", "._0.png", "Thumbs.db", "\x1b[2J.nef"):
        (mine / name).write_bytes(b"x")
    config = PhotographsConfig(folder=mine)
    photographs, holes = ImageFolder(tmp_path / "made"), ImageFolder(tmp_path / "holes")
    complete_folder(photographs, photograph_work(config))
    list_regions(config, photographs, holes)
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == 4 and all(line.isprintable() for line in said)
    assert said[0].startswith("1 photographs are near-duplicates of others (1 groups: 0 again.avif and 0.png)")
    assert "nan.tif: 1600 of its 1600 pixels are NaN or infinite" in said[1] + said[2]
    assert said[-1].startswith(f"{mine}: skipped 3 other files (")
    assert "notes.txt, raw.cr2" in said[-1] and r"\x1b[2J.nef" in said[-1]
