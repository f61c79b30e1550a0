"""The preferences pipeline on a few small pictures."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from kedro.io import DataCatalog
from kedro.runner import SequentialRunner

from prefpaint.cli import user_message
from prefpaint.images import ImageFolder, write_image
from prefpaint.pipelines.preferences import create_pipeline
from prefpaint.preferences.config import PreferencesConfig
from prefpaint.preferences.simulated import noiseless_score
from prefpaint.preferences.taste import Taste

ROOT = Path(__file__).parents[2]
COUNTS = {"train": 6, "validation": 2, "test": 4, "seen": 1}
OUTPUTS = ("ratings", "scores", "normalisation", "noiseless", "preferences_metrics", "preferences_figure")


@pytest.fixture
def catalog(tmp_path: Path) -> DataCatalog:
    """Outputs as conf/base declares them, in a folder of the test's own; inputs in memory and in small files."""
    entries = yaml.safe_load((ROOT / "conf/base/catalog.yml").read_text())
    chosen = {name: entries[name] for name in (*OUTPUTS, "preference_rules")}
    for name, entry in chosen.items():
        entry["filepath"] = str((ROOT if name == "preference_rules" else tmp_path) / entry["filepath"])
        if "validator" in entry:
            entry["validator"]["options"]["filepath"] = str(ROOT / entry["validator"]["options"]["filepath"])
    catalog = DataCatalog.from_config(chosen)
    images, masks = ImageFolder(tmp_path / "images"), ImageFolder(tmp_path / "masks", masks=True)
    painted = ImageFolder(tmp_path / "painted")
    rng = np.random.default_rng(0)
    prompts, candidates = [], []
    for split, count in COUNTS.items():
        for number in range(count):
            prompt_id = f"{split}_{number:05d}"
            mask = np.zeros((32, 32), np.uint8)
            mask[:, 12:] = 1
            image = np.clip(rng.uniform(60, 200, 3) + rng.normal(0, 12, (32, 32, 3)), 0, 255).astype(np.uint8)
            write_image(images.file(prompt_id), image)
            write_image(masks.file(prompt_id), mask)
            prompts.append(
                {
                    "prompt_id": prompt_id,
                    "source": "embedded",
                    "pattern": ("outpaint_strip", "warp")[number % 2],
                    "split": split,
                    "image_sha256": images.checksum(prompt_id),
                    "mask_sha256": masks.checksum(prompt_id),
                }
            )
            for index in range(3 if split != "seen" else 0):
                candidate_id = f"{prompt_id}_{index}"
                worse = image * (1 - 0.25 * index) + rng.normal(0, 15 * index, image.shape)
                fill = np.where(mask[..., None] > 0, np.clip(worse, 0, 255), image).astype(np.uint8)
                write_image(painted.file(candidate_id), fill)
                candidates.append((candidate_id, prompt_id, index, 0, painted.checksum(candidate_id)))
    catalog["prompts"] = pd.DataFrame(prompts)
    catalog["candidates"] = pd.DataFrame(
        candidates, columns=["candidate_id", "prompt_id", "index", "seed", "sha256"]
    ).sample(frac=1, random_state=0)
    catalog["prompt_images"], catalog["prompt_masks"], catalog["candidate_images"] = images, masks, painted
    catalog["params:preferences"] = PreferencesConfig()
    return catalog


def run(catalog: DataCatalog) -> None:
    SequentialRunner().run(create_pipeline(), catalog)


def files(catalog: DataCatalog) -> dict[str, bytes]:
    paths = {name: Path(catalog[name]._describe()["filepath"]) for name in OUTPUTS}
    return {name: path.read_bytes() for name, path in paths.items() if path.exists()}


def test_simulated_ratings_become_scores(catalog: DataCatalog, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        run(catalog)
    assert any("SIMULATED, by simulated_1, simulated_2, simulated_3" in message for message in caplog.messages)
    ratings, scores, noiseless = (catalog.load(name) for name in ("ratings", "scores", "noiseless"))
    assert len(ratings) == 36 * 3 and ratings["rater"].str.startswith("simulated").all()
    assert ratings["rated_at"].iloc[[0, -1]].tolist() == [
        pd.Timestamp("2000-01-01T00:00:00Z"),
        pd.Timestamp("2000-01-01T00:01:47Z"),
    ]
    assert list(scores) == ["candidate_id", "prompt_id", "source", "pattern", "split", "raters", "raw", "score"]
    train = scores[scores["split"] == "train"].groupby("pattern")["score"]
    np.testing.assert_allclose(train.mean(), 0, atol=1e-9)
    np.testing.assert_allclose(train.std(ddof=0), 1)
    factors = {(f["source"], f["pattern"]): f for f in catalog.load("normalisation")}
    assert factors["embedded", "warp"]["count"] == 9
    # The pictures get worse with their index, and the raters see it.
    assert scores["score"].groupby(scores["candidate_id"].str[-1]).mean().is_monotonic_decreasing
    first = noiseless.iloc[0]
    image, mask = catalog.load("candidate_images"), catalog.load("prompt_masks")
    truth = noiseless_score(image.stack(["test_00000_0"]), mask.stack(["test_00000"]), Taste())[0]
    assert (first["candidate_id"], first["noiseless"]) == ("test_00000_0", pytest.approx(truth))
    norm = factors["embedded", "outpaint_strip"]
    assert first["noiseless_score"] == pytest.approx((truth - norm["mean"]) / norm["std"])

    check_metrics(json.loads(files(catalog)["preferences_metrics"]))


def check_metrics(metrics: dict[str, float]) -> None:
    assert all(isinstance(value, (int, float)) for value in metrics.values())
    assert (metrics["ratings"], metrics["raters"], metrics["simulated"]) == (108, 3, 1)
    assert (metrics["prompts_train"], metrics["candidates_test"], metrics["checked_rows"]) == (6, 12, 36)
    ceiling = {"reliability", "ceiling_spearman", "half_spearman", "half_pair_accuracy"}
    ceiling |= {"label_spearman", "label_pair_accuracy"}
    agreement = {"alpha_structure", "alpha_texture", "alpha_overall", "alpha_score", "rank_agreement"}
    spreads = {"score_spread_between_prompts", "score_spread_within_prompts"}
    assert agreement | spreads | ceiling | {f"{name}_test" for name in ceiling} <= set(metrics)
    assert metrics["label_pair_accuracy"] > 0.6


def test_same_seed_same_bytes_and_another_taste_other_scores(catalog: DataCatalog) -> None:
    run(catalog)
    written, before = files(catalog), catalog.load("scores")["score"]
    run(catalog)
    assert files(catalog) == written and set(written) == set(OUTPUTS)
    config = PreferencesConfig.model_validate({"simulated": {"taste": {"seam": 0, "colour": 0, "palette": 0}}})
    catalog["params:preferences"] = config
    run(catalog)
    assert np.corrcoef(before, catalog.load("scores")["score"])[0, 1] < 0.95


def people(catalog: DataCatalog, path: Path, raters: tuple[str, ...] = ("ann", "bob")) -> None:
    """Write ratings of people that prefer low indices, and configure them."""
    table = catalog.load("candidates")[["candidate_id", "index"]].merge(pd.DataFrame({"rater": raters}), how="cross")
    table["structure"] = table["texture"] = 5
    table["overall"] = 6 - 2 * table["index"] + (table["rater"] == "bob")
    table.assign(rated_at="2026-01-31T14:05:00Z").to_csv(path, index=False)
    catalog["params:preferences"] = PreferencesConfig(ratings_file=path)


def test_ratings_of_people(catalog: DataCatalog, tmp_path: Path) -> None:
    people(catalog, tmp_path / "mine.csv")
    run(catalog)
    noiseless, metrics = catalog.load("noiseless"), catalog.load("preferences_metrics")
    assert list(noiseless) == ["candidate_id", "noiseless", "noiseless_score"] and noiseless.empty
    assert set(catalog.load("ratings")["rater"]) == {"ann", "bob"}
    assert metrics["simulated"] == 0 and metrics["rank_agreement"] == 1
    assert not any(name.startswith("label_") for name in metrics)


def test_one_rater_leaves_agreement_out(catalog: DataCatalog, tmp_path: Path) -> None:
    people(catalog, tmp_path / "mine.csv", raters=("ann",))
    run(catalog)
    metrics = catalog.load("preferences_metrics")
    assert metrics["raters"] == 1 and "rank_agreement" not in metrics and "ceiling_spearman" not in metrics


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("rating of 9", "mine.csv, line 2: overall is 9; ratings are whole numbers from 0 to 7"),
        ("unknown candidate", "mine.csv, line 2: candidate nobody is unknown"),
        ("same twice", "mine.csv, line 74: rater ann has rated candidate"),
        ("missing column", "mine.csv: lacks the column texture"),
        ("changed picture", "every candidate's image is there with its recorded checksum"),
        ("equal ratings", "have the score 5.00, so there is no preference to learn"),
    ],
)
def test_bad_input_is_one_sentence_and_loses_nothing(
    catalog: DataCatalog, tmp_path: Path, fault: str, message: str
) -> None:
    for name in OUTPUTS:
        old = Path(catalog[name]._describe()["filepath"])
        old.parent.mkdir(parents=True, exist_ok=True)
        old.write_bytes(b"from an earlier run")
    path = tmp_path / "mine.csv"
    people(catalog, path)
    table = pd.read_csv(path)
    if fault == "rating of 9":
        table.loc[0, "overall"] = 9
    elif fault == "unknown candidate":
        table.loc[0, "candidate_id"] = "nobody"
    elif fault == "same twice":
        table = pd.concat([table, table.iloc[:1]])
    elif fault == "missing column":
        table = table.drop(columns="texture")
    elif fault == "changed picture":
        write_image(tmp_path / "painted" / "train_00000_0.png", np.zeros((32, 32, 3), np.uint8))
    elif fault == "equal ratings":
        table["overall"] = 5
    table.to_csv(path, index=False)
    with pytest.raises(Exception) as caught:
        run(catalog)
    said = user_message(caught.value)
    assert said is not None and message in said and "\n" not in said
    # Equal ratings are good ratings: they are kept, only scores cannot be made of them.
    kept = OUTPUTS[1:] if fault == "equal ratings" else OUTPUTS
    assert {files(catalog)[name] for name in kept} == {b"from an earlier run"}
