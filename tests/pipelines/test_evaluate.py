"""The evaluate and report pipelines on a tiny real model, reward and trust; and the notebook that reads the results."""

import re
import shutil
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from nbclient import NotebookClient

from prefpaint.datasets import (
    FigureDataset,
    ImageFolderDataset,
    JSONDataset,
    TableDataset,
    TextDataset,
    WorkspaceDataset,
)
from prefpaint.errors import PrefPaintError
from prefpaint.evaluation.config import EvaluateConfig, LearnedScoresConfig, MethodConfig
from prefpaint.evaluation.samples import EDGE, OUTSIDE, original_edge
from prefpaint.evaluation.stlpips import outside_judges
from prefpaint.fills.boundary import boundary
from prefpaint.images import MARKER, ImageFolder, write_image
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.pipelines.evaluate.pipeline import create_pipeline as evaluate
from prefpaint.pipelines.report.pipeline import FIGURES
from prefpaint.pipelines.report.pipeline import create_pipeline as report
from prefpaint.preferences.simulated import NoiselessRater
from prefpaint.preferences.taste import Taste
from prefpaint.reporting.page import CAMERA
from tests.tiny import SIZE, TINY_MODEL, tiny_judge, tiny_prompts

PROJECT = Path(__file__).parents[2]
CONFIG = EvaluateConfig(resamples=100, gallery=2)
PROMPTS = 4
# Three prompts with their samples.
AT_A_TIME = 3 * 14


def make_prompts(folder: Path) -> tuple[pd.DataFrame, ImageFolder, ImageFolder]:
    """Four seen and four unseen prompts, every second one called a warp."""
    ids, source, source_masks = tiny_prompts(folder / "source", 2 * PROMPTS)
    images, masks = ImageFolder(folder / "images"), ImageFolder(folder / "masks", masks=True)
    rows = []
    for number, name in enumerate(ids):
        split = ("seen", "unseen")[number // PROMPTS]
        prompt_id = f"{split}_{number % PROMPTS:05d}"
        write_image(images.file(prompt_id), source[name])
        write_image(masks.file(prompt_id), source_masks[name])
        rows.append(
            {
                "prompt_id": prompt_id,
                "split": split,
                "pattern": ("outpaint_square", "warp")[number % 2],
                "image_sha256": images.checksum(prompt_id),
                "mask_sha256": masks.checksum(prompt_id),
            }
        )
    return pd.DataFrame(rows), images, masks


def make_inputs(folder: Path) -> dict[str, Any]:
    import torch

    from prefpaint.reward.config import ContrastBackboneConfig, MLPHeadConfig
    from prefpaint.reward.model import RewardModel
    from prefpaint.small_model.build import build_small_pipeline
    from prefpaint.trust.config import BoundConfig
    from prefpaint.trust.fit import Embedded, fit_trust
    from prefpaint.trust.worlds import World, worlds_table

    prompts, images, masks = make_prompts(folder)
    torch.manual_seed(0)
    head = MLPHeadConfig(width=16, heads=2, feedforward=16, hidden=16, embedding=8)
    rated = Embedded(
        np.random.default_rng(0).normal(size=(30, 8)), np.zeros(30), np.zeros(30), list(map(str, range(30)))
    )
    with_png = folder / "figure.png"
    write_image(with_png, np.zeros((4, 4, 3), np.uint8))
    figures = set(FIGURES) - {"evaluate_figure", "methods_figure"}
    return {
        "base_model": build_small_pipeline(TINY_MODEL, SIZE, seed=1),
        "aligned_model": build_small_pipeline(TINY_MODEL, SIZE, seed=2),
        "prompts": prompts,
        "prompt_images": images,
        "prompt_masks": masks,
        "reward_model": RewardModel(ContrastBackboneConfig(input_size=64, taps=(0, 1)), head).eval(),
        "trust": fit_trust(rated, rated, BoundConfig()),
        "bound_worlds": worlds_table([World(10, 2, 1.0)], seed=0, count=10),
        "preferences_metrics": {"raters": 3},
        "reward_metrics": {"test_ratings_spearman": 0.5},
        "bound_metrics": {"participation_ratio": 3.5},
        "align_metrics": {"iterations": 2},
        "extend_metrics": {"pictures": 8, "joints": 48, "joints_within_range": 0.875, "joints_above_range": 0.0625},
        "novel_view_metrics": {
            "windows": 24,
            "filled_share": 0.125,
            **{f"{key}{end}": 14.25 for key in ("psnr_base", "ssim_base") for end in ("", "_low", "_high")},
        },
        "reconstruct_metrics": dict.fromkeys(CAMERA, 1.0),
        **dict.fromkeys(("reconstruct_base_mesh", "reconstruct_aligned_mesh"), b"glTF"),
        **dict.fromkeys(figures, with_png.read_bytes()),
        "params:sampling": SamplingConfig(steps=2, batch=16),
        "params:evaluate": CONFIG,
        "taste": Taste().model_dump(),
        "judge": tiny_judge(),
    }


def run(inputs: dict[str, Any], output: Path) -> DataCatalog:
    catalog = DataCatalog({name: MemoryDataset(value, copy_mode="assign") for name, value in inputs.items()})
    catalog["evaluation_images"] = ImageFolderDataset(str(output / "evaluation_images"))
    catalog["evaluate_figure"] = FigureDataset(str(output / "evaluate.png"))
    catalog["methods_figure"] = FigureDataset(str(output / "methods.png"))
    catalog["evaluate_gallery"] = FigureDataset(str(output / "gallery.png"))
    catalog["evaluation_workspace"] = WorkspaceDataset(str(output / "workspace"))
    catalog["report"] = TextDataset(str(output / "report.html"))
    catalog["evaluation"] = TableDataset(str(output / "evaluation.parquet"))
    catalog["evaluate_table"] = TableDataset(str(output / "evaluate_table.parquet"))
    catalog["evaluate_metrics"] = JSONDataset(str(output / "evaluate_metrics.json"))
    SequentialRunner().run(evaluate() + report(), catalog)
    return catalog


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluate")


@pytest.fixture(scope="module")
def inputs(folder: Path) -> dict[str, Any]:
    return make_inputs(folder)


@pytest.fixture(scope="module")
def catalog(folder: Path, inputs: dict[str, Any]) -> DataCatalog:
    return run(inputs, folder / "output")


def test_every_sample_is_painted_and_judged(catalog: DataCatalog) -> None:
    evaluation, images = catalog.load("evaluation"), catalog.load("evaluation_images")
    assert len(evaluation) == 2 * PROMPTS * (2 * 2 * 3 + 2) == len(images)
    assert np.isfinite(evaluation[["reward", "width", "noiseless", "log_energy"]]).all(axis=None)
    classical = evaluation["method"].isin(["telea", "biharmonic"])
    assert evaluation.loc[classical, "hole_spread"].isna().all() and classical.sum() == 2 * PROMPTS * 2
    assert np.isfinite(evaluation.loc[~classical, "hole_spread"]).all()
    assert (evaluation.loc[evaluation["pattern"] == "warp", "hole_psnr"].isna()).all()
    assert np.isfinite(evaluation.loc[evaluation["pattern"] != "warp", "hole_psnr"]).all()
    assert np.isfinite(evaluation[list(EDGE)]).all(axis=None)
    for name in map(original_edge, EDGE):
        assert (evaluation[name].isna() == (evaluation["pattern"] == "warp")).all()
    for name in OUTSIDE:
        assert (evaluation[name].isna() == (evaluation["pattern"] == "warp")).all()


def test_distances_are_those_of_each_fill_and_its_own_original(catalog: DataCatalog, inputs: dict[str, Any]) -> None:
    evaluation, samples = catalog.load("evaluation"), catalog.load("evaluation_images")
    rows = evaluation[evaluation["pattern"] != "warp"].sample(6, random_state=0)
    for name, judge in outside_judges().items():
        expected = judge.distance(samples.stack(rows["image_id"]), inputs["prompt_images"].stack(rows["prompt_id"]))
        np.testing.assert_allclose(rows[name], expected, rtol=1e-5)
        assert (expected > 0).all()
    untouched = boundary(
        inputs["prompt_images"].stack(rows["prompt_id"]), inputs["prompt_masks"].stack(rows["prompt_id"])
    )
    for name in EDGE:
        # Sums over batches of another size may round differently.
        np.testing.assert_allclose(rows[original_edge(name)], getattr(untouched, name), rtol=1e-4)


def test_samples_are_those_of_the_recorded_seeds(catalog: DataCatalog, inputs: dict[str, Any]) -> None:
    from prefpaint.inpainting.sampling import Inpainter

    row = catalog.load("evaluation").query("method == 'aligned' and noise_set == 'B'").iloc[4]
    painted = Inpainter(inputs["aligned_model"], inputs["params:sampling"], "cpu").sample(
        inputs["prompt_images"].stack([row["prompt_id"]]),
        inputs["prompt_masks"].stack([row["prompt_id"]]),
        [int(row["seed"])],
    )
    np.testing.assert_array_equal(painted[0], catalog.load("evaluation_images")[row["image_id"]])


def test_the_noiseless_score_is_the_configured_taste(catalog: DataCatalog, inputs: dict[str, Any]) -> None:
    row = catalog.load("evaluation").iloc[7]
    expected = NoiselessRater(Taste(), tiny_judge()).score(
        catalog.load("evaluation_images").stack([row["image_id"]]), inputs["prompt_masks"].stack([row["prompt_id"]])
    )
    # float32 convolutions over a batch of another size.
    assert row["noiseless"] == pytest.approx(float(expected[0]), rel=1e-4)


def test_metrics_are_flat_and_say_how_many_prompts(catalog: DataCatalog) -> None:
    metrics = catalog.load("evaluate_metrics")
    assert metrics["seen_prompts"] == metrics["unseen_prompts"] == PROMPTS
    for judge in ("noiseless", "reward"):
        for noise in ("independent", "equal", "base_base"):
            for size in (1, 3):
                assert 0 <= metrics[f"unseen_{judge}_win_rate_{noise}_s{size}_low"] <= 1
    assert all(isinstance(value, (int, float)) for value in metrics.values())


def test_page_and_pictures_are_written(catalog: DataCatalog) -> None:
    page = catalog.load("report")
    assert "The raters are simulated" in page and "made worse" in page
    assert "8 pictures were widened with 48 joints" in page and "at 87.5\N{NO-BREAK SPACE}% of the joints" in page
    assert "14.250 to 14.250" in page and "12.5\N{NO-BREAK SPACE}% of 24 windows" in page
    assert catalog.load("evaluate_gallery").startswith(b"\x89PNG")
    assert catalog.load("evaluate_figure").startswith(b"\x89PNG")


def test_the_page_lists_all_numbers_in_one_order(catalog: DataCatalog) -> None:
    appendix = catalog.load("report").rpartition("Appendix: every number")[2]
    summaries = re.findall(r"<details><summary>([^:]+): \d+ numbers</summary>", appendix)
    assert summaries == [
        "Evaluation",
        "All methods",
        "Other people&#39;s models",
        "Sanity of the simulated raters",
        "Wider pictures",
        "Other views",
    ]


def test_a_second_run_paints_and_judges_nothing_and_gives_the_same_bytes(
    catalog: DataCatalog, inputs: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prefpaint.evaluation.samples._judge", lambda *_: pytest.fail("judged again"))
    output = folder / "output"
    stamps = {path.name: path.stat().st_mtime_ns for path in (output / "evaluation_images").glob("*.png")}
    first = {path.name: path.read_bytes() for path in output.iterdir() if path.is_file()}
    again = run(inputs, output)
    assert {path.name: path.stat().st_mtime_ns for path in (output / "evaluation_images").glob("*.png")} == stamps
    assert {path.name: path.read_bytes() for path in output.iterdir() if path.is_file()} == first
    assert again.load("evaluate_metrics") == catalog.load("evaluate_metrics")


def test_a_killed_run_goes_on_to_the_same_pictures(
    catalog: DataCatalog, inputs: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    whole = catalog.load("evaluation_images")
    shutil.copytree(whole.path, tmp_path / "evaluation_images")
    for number, name in enumerate(whole):
        if number % 3:
            ImageFolder(tmp_path / "evaluation_images").file(name).unlink()
    (tmp_path / "evaluation_images" / ".half.png.1.tmp").write_bytes(b"\x89PNG")
    mended = run(inputs, tmp_path).load("evaluation_images")
    assert {name: mended.checksum(name) for name in mended} == {name: whole.checksum(name) for name in whole}
    assert {path.name for path in mended.path.iterdir()} == {f"{name}.png" for name in whole} | {MARKER}


def test_a_killed_judgement_goes_on_to_the_same_numbers(
    catalog: DataCatalog, inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefpaint.evaluation import samples
    from prefpaint.evaluation.samples import judge_samples, make_judges, plan_samples

    outside = outside_judges()
    monkeypatch.setattr(samples, "IMAGES_AT_A_TIME", AT_A_TIME)
    plan = plan_samples(inputs["prompts"], CONFIG)
    judges = make_judges(inputs["reward_model"], inputs["trust"], NoiselessRater(Taste(), tiny_judge()), outside)
    folders = [catalog.load("evaluation_images"), inputs["prompt_images"], inputs["prompt_masks"]]
    judge, asked = samples._judge, []

    def counting(part: pd.DataFrame, *rest: Any) -> pd.DataFrame:
        asked.append(len(part))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return judge(part, *rest)

    monkeypatch.setattr(samples, "_judge", counting)
    with pytest.raises(KeyboardInterrupt):
        judge_samples(plan, *folders, judges, tmp_path / "workspace")
    assert len(list((tmp_path / "workspace").iterdir())) == 2
    resumed = judge_samples(plan, *folders, judges, tmp_path / "workspace")
    whole = -(-2 * PROMPTS // 3)
    assert len(asked) == 3 + whole - 2, "what was judged before the kill is not judged again"
    fresh = judge_samples(plan, *folders, judges, tmp_path / "other")
    pd.testing.assert_frame_equal(resumed, fresh, check_exact=True)
    # Other parts are other batches of the same network.
    pd.testing.assert_frame_equal(resumed, catalog.load("evaluation"), rtol=1e-4, atol=1e-5)


def test_what_changes_is_judged_afresh_and_nothing_else(
    catalog: DataCatalog, inputs: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefpaint.evaluation import samples
    from prefpaint.evaluation.samples import Judges, judge_samples, make_judges, plan_samples

    outside = {"stlpips_alex": outside_judges()["stlpips_alex"]}
    monkeypatch.setattr(samples, "IMAGES_AT_A_TIME", AT_A_TIME)
    judge, asked = samples._judge, []

    def counting(part: pd.DataFrame, *rest: Any) -> pd.DataFrame:
        asked.extend(part["prompt_id"].unique())
        return judge(part, *rest)

    monkeypatch.setattr(samples, "_judge", counting)
    plan = plan_samples(inputs["prompts"], CONFIG)
    painted = ImageFolder(shutil.copytree(catalog.load("evaluation_images").path, tmp_path / "painted"))

    def judged_with(judges: Judges) -> list[str]:
        """Prompts that were judged."""
        asked.clear()
        judge_samples(plan, painted, inputs["prompt_images"], inputs["prompt_masks"], judges, tmp_path / "workspace")
        assert len(list((tmp_path / "workspace").iterdir())) == 3, "parts of other pictures or judges are removed"
        return asked.copy()

    def judges(taste: Taste, **others: Any) -> Judges:
        return make_judges(inputs["reward_model"], inputs["trust"], NoiselessRater(taste, tiny_judge()), others)

    ids = list(plan["prompt_id"].unique())
    assert judged_with(judges(Taste(), **outside)) == ids
    assert judged_with(judges(Taste(), **outside)) == []
    assert judged_with(judges(Taste(seam=0.1), **outside)) == ids
    assert judged_with(judges(Taste(seam=0.1))) == ids
    row = plan[plan["prompt_id"] == ids[4]].iloc[0]
    write_image(painted.file(row["image_id"]), np.zeros((SIZE, SIZE, 3), np.uint8))
    assert judged_with(judges(Taste(seam=0.1))) == ids[3:6]


def test_other_code_judges_afresh(tmp_path: Path) -> None:
    from prefpaint.evaluation.samples import sources_digest

    (tmp_path / "room").mkdir()
    (tmp_path / "room/one.py").write_text("ONE = 1\n")
    before = sources_digest(tmp_path)
    (tmp_path / "room/one.txt").write_text("no code")
    assert sources_digest(tmp_path) == before
    (tmp_path / "room/one.py").write_text("ONE = 2\n")
    assert sources_digest(tmp_path) != before


def test_what_changes_is_painted_afresh_and_nothing_else(
    inputs: dict[str, Any], folder: Path, catalog: DataCatalog
) -> None:
    from prefpaint.evaluation.samples import evaluation_work

    def stamps(**changed: Any) -> dict[str, str]:
        given = {**inputs, **changed}
        loaders = {name: lambda name=name: given[f"{name}_model"] for name in ("base", "aligned")}
        parts = [given[name] for name in ("prompts", "prompt_images", "prompt_masks", "params:sampling")]
        found = evaluation_work(loaders, *parts, given["params:evaluate"]).fingerprint
        assert isinstance(found, dict)
        return found

    def changed(**what: Any) -> set[str]:
        """Methods of which every image is painted again; of no other method any is."""
        again = {name for name, stamp in stamps(**what).items() if before.get(name, stamp) != stamp}
        methods = {name.split("_")[0] for name in again}
        assert again == {name for name in before if name.split("_")[0] in methods}
        return methods

    before = stamps()
    sampled = {"base", "aligned"}
    assert changed(**{"params:sampling": SamplingConfig(steps=2, batch=3)}) == set(), "the batch changes no picture"
    for same in ({"best_of": (1, 10)}, {"splits": ("unseen",)}):
        assert changed(**{"params:evaluate": CONFIG.model_copy(update=same)}) == set()
    more = {**CONFIG.methods, "navier_stokes": MethodConfig(kind="navier_stokes")}
    assert changed(**{"params:evaluate": CONFIG.model_copy(update={"methods": more})}) == set()
    assert changed(aligned_model=inputs["base_model"]) == {"aligned"}
    assert changed(**{"params:sampling": SamplingConfig(steps=3, batch=16)}) == sampled
    assert changed(**{"params:evaluate": CONFIG.model_copy(update={"seed": 1})}) == sampled
    assert changed(prompts=inputs["prompts"].assign(mask_sha256="other")) == sampled | {"telea", "biharmonic"}
    one = inputs["prompts"].assign(mask_sha256=["other", *inputs["prompts"]["mask_sha256"][1:]])
    again = {name for name, stamp in stamps(prompts=one).items() if before[name] != stamp}
    assert again == {name for name in before if f"_{one['prompt_id'].iloc[0]}_" in name}


def test_a_wrong_score_is_met_before_anything_is_painted(
    inputs: dict[str, Any], catalog: DataCatalog, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    config = CONFIG.model_copy(update={"scores": LearnedScoresConfig(clip=str(tmp_path / "empty"))})
    with pytest.raises(PrefPaintError, match=r"evaluate\.scores\.clip"):
        run({**inputs, "params:evaluate": config}, tmp_path / "output")
    assert not (tmp_path / "output/evaluation_images").exists()


def test_with_ratings_of_people_nothing_claims_a_true_score(
    inputs: dict[str, Any], catalog: DataCatalog, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder / "output" / "evaluation_images", tmp_path / "evaluation_images")
    result = run({**inputs, "taste": {}}, tmp_path)
    assert not any("noiseless" in key for key in result.load("evaluate_metrics"))
    assert result.load("evaluation")["noiseless"].isna().all()
    assert "nobody has rated the pictures compared here" in result.load("report")


def test_the_notebook_answers_after_a_run(
    catalog: DataCatalog, inputs: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    for name in ("conf", "notebooks"):
        shutil.copytree(PROJECT / name, tmp_path / name)
    for name in ("pyproject.toml", ".telemetry"):
        shutil.copy(PROJECT / name, tmp_path / name)
    # Kedro wants a source folder; the kernel imports the package that is installed.
    (tmp_path / "src").mkdir()
    entries = yaml.safe_load((PROJECT / "conf/base/catalog.yml").read_text())
    made = {name: Path(catalog.get(name)._filepath) for name in ("evaluation", "evaluate_table", "evaluate_gallery")}
    made["evaluation_images"] = folder / "output" / "evaluation_images"
    for name, source in made.items():
        target = tmp_path / entries[name]["filepath"]
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)
    path = tmp_path / "notebooks" / "01_did_it_get_better.ipynb"
    notebook = nbformat.read(path, as_version=4)
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in notebook.cells), "kept stripped"
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": path.parent}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in shown) == 3
    text = " ".join(str(output.get("data", {}).get("text/plain", "")) + output.get("text", "") for output in shown)
    assert "simulated raters' noiseless score" in text
    assert "unseen" in text and "independent" in text
