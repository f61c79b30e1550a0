"""The preferences pipeline on a few small pictures."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from kedro.io import DataCatalog
from kedro.runner import SequentialRunner

from prefpaint.commands.base import user_message
from prefpaint.images import ImageFolder, write_image
from prefpaint.pipelines.preferences import create_pipeline
from prefpaint.preferences.config import PreferencesConfig
from prefpaint.preferences.schema import RATING_COLUMNS
from prefpaint.preferences.simulated import NoiselessRater
from prefpaint.preferences.store import RatingStore
from prefpaint.preferences.taste import Taste
from tests.running import Kept
from tests.tiny import tiny_judge

ROOT = Path(__file__).parents[2]
# The judge of these tests has learned nothing: what is written down decides.
WRITTEN = Taste(likeness=0.01, leniency=2.0, seam=0.5, colour=3.0, palette=2.5, texture=0.45)
COUNTS = {"train": 6, "validation": 2, "test": 4, "seen": 1}
OUTPUTS = (
    "ratings",
    "comparisons",
    "taste",
    "scores",
    "normalisation",
    "noiseless",
    "preferences_metrics",
    "preferences_figure",
)


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
    catalog["rating_store"] = Kept(RatingStore(tmp_path / "store"), copy_mode="assign")
    catalog["judge"] = Kept(tiny_judge(), copy_mode="assign")
    catalog["params:preferences"] = PreferencesConfig.model_validate({"simulated": {"taste": WRITTEN.model_dump()}})
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
    rater = NoiselessRater(WRITTEN, tiny_judge())
    truth = rater.score(image.stack(["test_00000_0"]), mask.stack(["test_00000"]))[0]
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
    other = WRITTEN.model_copy(update={"seam": 0.0, "colour": 0.0, "palette": 0.0})
    catalog["params:preferences"] = PreferencesConfig.model_validate({"simulated": {"taste": other.model_dump()}})
    run(catalog)
    assert np.corrcoef(before, catalog.load("scores")["score"])[0, 1] < 0.95


def people(catalog: DataCatalog, raters: tuple[str, ...] = ("ann", "bob"), overall: int | None = None) -> None:
    """Store ratings of people that prefer low indices, or call everything the same."""
    candidates = catalog.load("candidates")
    table = candidates[["candidate_id", "index", "sha256"]].merge(pd.DataFrame({"rater": raters}), how="cross")
    table["structure"] = table["texture"] = 5
    table["overall"] = 6 - 2 * table["index"] + (table["rater"] == "bob") if overall is None else overall
    table["rated_at"] = pd.Timestamp("2026-01-31T14:05:00Z").as_unit("us")
    catalog.load("rating_store").add_ratings(table[[*RATING_COLUMNS, "sha256"]])


def test_ratings_of_people(catalog: DataCatalog) -> None:
    people(catalog)
    run(catalog)
    noiseless, metrics = catalog.load("noiseless"), catalog.load("preferences_metrics")
    assert list(noiseless) == ["candidate_id", "noiseless", "noiseless_score"] and noiseless.empty
    assert catalog.load("taste") == {}
    assert set(catalog.load("ratings")["rater"]) == {"ann", "bob"}
    assert metrics["simulated"] == 0 and metrics["rank_agreement"] == 1
    assert not any(name.startswith("label_") for name in metrics)


def test_one_rater_leaves_agreement_out(catalog: DataCatalog) -> None:
    people(catalog, raters=("ann",))
    run(catalog)
    metrics = catalog.load("preferences_metrics")
    assert metrics["raters"] == 1 and "rank_agreement" not in metrics and "ceiling_spearman" not in metrics


def test_comparisons_alone_become_scores(catalog: DataCatalog) -> None:
    candidates = catalog.load("candidates").sort_values("candidate_id")
    first = candidates[candidates["index"] < 2].groupby("prompt_id")
    pairs = first.agg(candidate_a=("candidate_id", "first"), candidate_b=("candidate_id", "last")).reset_index()
    sums = candidates.set_index("candidate_id")["sha256"]
    pairs = pairs.assign(preferred="a", rater="ann", rated_at=pd.Timestamp("2026-01-31T14:05:00Z").as_unit("us"))
    pairs["sha256_a"], pairs["sha256_b"] = pairs["candidate_a"].map(sums), pairs["candidate_b"].map(sums)
    catalog.load("rating_store").add_comparisons(pairs.drop(columns="prompt_id"))
    run(catalog)
    scores, metrics = catalog.load("scores"), catalog.load("preferences_metrics")
    assert len(scores) == 24 and (metrics["ratings"], metrics["comparisons"], metrics["raters"]) == (0, 12, 1)
    assert (scores.groupby(scores["candidate_id"].str[-1])["score"].mean() > 0).to_dict() == {"0": True, "1": False}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("changed picture", "every candidate's image exists with its recorded checksum"),
        ("equal ratings", "have the score 5.00, so there is no preference to learn"),
        ("other pictures", "the rating store holds only ratings of other candidates"),
        ("damaged store", "ratings.sqlite: the rating store cannot be used (file is not a database)"),
    ],
)
def test_bad_input_is_one_sentence_and_loses_nothing(
    catalog: DataCatalog, tmp_path: Path, fault: str, message: str
) -> None:
    for name in OUTPUTS:
        old = Path(catalog[name]._describe()["filepath"])
        old.parent.mkdir(parents=True, exist_ok=True)
        old.write_bytes(b"from an earlier run")
    people(catalog, overall=5 if fault == "equal ratings" else None)
    if fault == "changed picture":
        write_image(tmp_path / "painted" / "train_00000_0.png", np.zeros((32, 32, 3), np.uint8))
    elif fault == "other pictures":
        catalog["candidates"] = catalog.load("candidates").assign(sha256="another")
    elif fault == "damaged store":
        store = catalog.load("rating_store")
        store.close()
        store.file.write_bytes(b"dear diary" * 100)
    with pytest.raises(Exception) as caught:
        run(catalog)
    said = user_message(caught.value)
    assert said is not None and message in said and "\n" not in said
    # Equal ratings are good ratings: they are kept, only scores cannot be made of them.
    made = {"ratings", "comparisons", "taste"} if fault == "equal ratings" else set()
    assert {files(catalog)[name] for name in set(OUTPUTS) - made} == {b"from an earlier run"}
