"""The paper's Table 2 on small models of the real classes, with random weights."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prefpaint.errors import PrefPaintError
from prefpaint.evaluation.config import EvaluateConfig, LearnedScoresConfig
from prefpaint.evaluation.learned import (
    NO_CHECKPOINT,
    SCORES,
    check_checkpoints,
    inception_score,
    learned_metrics,
    learned_scores,
)
from prefpaint.images import ImageFolder, write_image
from prefpaint.judges.outside_models import clip_judge
from tests.judges.outside_models import SIDE, write_models


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    return write_models(tmp_path_factory.mktemp("models"), tiny_base / "tokenizer")


def test_inception_score_by_hand() -> None:
    # Sure of three classes, each as often: exp(log 3) = 3. The same answer for all: 1.
    sure = np.repeat(np.eye(3) * 1000, 4, 0)
    assert inception_score(sure, 0) == pytest.approx(3.0, rel=1e-6)
    assert inception_score(np.tile([1.0, 2.0, 3.0], (12, 1)), 0) == pytest.approx(1.0, rel=1e-6)


@pytest.fixture
def judged(tmp_path: Path) -> tuple[pd.DataFrame, ImageFolder, ImageFolder]:
    """Two prompts with a hidden original and one without; `aligned` is the original itself."""
    samples, images = ImageFolder(tmp_path / "samples"), ImageFolder(tmp_path / "images")
    rows = []
    for number, (prompt, pattern) in enumerate((("a", "outpaint_strip"), ("b", "outpaint_square"), ("c", "warp"))):
        original = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
        write_image(images.file(prompt), original)
        for method, picture in (("base", 255 - original), ("aligned", original)):
            name = f"{method}_{prompt}"
            write_image(samples.file(name), picture)
            rows.append((name, prompt, "seen", pattern, "" if prompt == "a" else "a cat", method, "A", 0))
    columns = ["image_id", "prompt_id", "split", "pattern", "text_prompt", "method", "noise_set", "sample"]
    table = pd.DataFrame(rows, columns=columns)
    return table, samples, images


def test_nothing_named_nothing_run(judged: tuple[pd.DataFrame, ImageFolder, ImageFolder]) -> None:
    table = learned_scores(*judged, EvaluateConfig())
    assert table.set_index("score")["status"].to_dict() == dict.fromkeys(SCORES, NO_CHECKPOINT)
    assert table["value"].isna().all() and learned_metrics(table) == {}


def test_what_is_named_is_run_for_every_method(
    judged: tuple[pd.DataFrame, ImageFolder, ImageFolder], models: Path
) -> None:
    scores = {name: str(models / name) for name in ("clip", "blip", "aesthetic", "classifier", "imagereward")}
    config = EvaluateConfig.model_validate({"scores": scores, "resamples": 100})
    table = learned_scores(*judged, config)
    assert set(table["score"]) == set(SCORES) and (table["status"] == "run").all()
    metrics = learned_metrics(table)
    assert metrics["seen_classification_accuracy_aligned"] == 1.0, "the original is classified as the original"
    accuracy = table[(table["score"] == "classification_accuracy") & (table["method"] == "base")].iloc[0]
    assert accuracy["prompts"] == 2, "a view change has no original"
    assert metrics["seen_clip_base_low"] <= metrics["seen_clip_base"] <= metrics["seen_clip_base_high"]
    assert metrics["seen_inception_score_base"] >= 1 and "seen_inception_score_base_low" not in metrics
    pd.testing.assert_frame_equal(learned_scores(*judged, config), table)


def test_a_picture_is_compared_with_its_own_words(
    judged: tuple[pd.DataFrame, ImageFolder, ImageFolder], models: Path
) -> None:
    table, samples, images = judged
    judge = clip_judge("clip", str(models / "clip"))
    config = EvaluateConfig.model_validate({"scores": {"clip": str(models / "clip"), "text": "a dog"}})
    found = learned_metrics(learned_scores(table, samples, images, config))["seen_clip_base"]
    pictures = samples.stack(f"base_{prompt}" for prompt in "abc")
    assert found == pytest.approx(judge(pictures, ["a dog", "a cat", "a cat"]).mean())
    assert found != pytest.approx(judge(pictures, ["a dog"] * 3).mean())


@pytest.mark.parametrize("name", ["clip", "blip", "aesthetic", "classifier", "imagereward"])
def test_a_checkpoint_that_cannot_be_loaded_is_named(
    judged: tuple[pd.DataFrame, ImageFolder, ImageFolder], tmp_path: Path, name: str
) -> None:
    (tmp_path / "empty").mkdir()
    config = EvaluateConfig.model_validate({"scores": {name: str(tmp_path / "empty")}})
    with pytest.raises(PrefPaintError, match=rf"evaluate\.scores\.{name}: .*empty cannot be loaded") as caught:
        learned_scores(*judged, config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("classifier", "clip", "clip is not a CLIPForImageClassification: it lacks "),
        ("clip", "classifier", "classifier is not a CLIPModel: it lacks "),
        ("blip", "clip", "clip is not a BlipForImageTextRetrieval: it lacks "),
    ],
)
def test_a_checkpoint_of_another_kind_is_not_filled_up_at_random(
    judged: tuple[pd.DataFrame, ImageFolder, ImageFolder], models: Path, name: str, given: str, said: str
) -> None:
    config = EvaluateConfig.model_validate({"scores": {name: str(models / given)}})
    with pytest.raises(PrefPaintError, match=rf"evaluate\.scores\.{name}: .*{said}") as caught:
        learned_scores(*judged, config)
    assert "\n" not in str(caught.value)


def test_a_damaged_file_is_named(
    judged: tuple[pd.DataFrame, ImageFolder, ImageFolder], models: Path, tmp_path: Path
) -> None:
    shutil.copytree(models / "clip", tmp_path / "clip")
    weights = tmp_path / "clip/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    config = EvaluateConfig.model_validate({"scores": {"clip": str(tmp_path / "clip")}})
    with pytest.raises(PrefPaintError, match=r"evaluate\.scores\.clip: .*cannot be loaded"):
        learned_scores(*judged, config)


def test_checkpoints_are_checked_by_themselves(models: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    scores = {"clip": str(models / "clip"), "classifier": str(models / "classifier")}
    check_checkpoints(LearnedScoresConfig.model_validate(scores))
    with pytest.raises(PrefPaintError, match=r"evaluate\.scores\.classifier: .*empty cannot be loaded"):
        check_checkpoints(LearnedScoresConfig.model_validate(scores | {"classifier": str(tmp_path / "empty")}))


def test_inception_scores_are_of_equally_many_pictures(
    judged: tuple[pd.DataFrame, ImageFolder, ImageFolder], models: Path
) -> None:
    table, samples, images = judged
    config = EvaluateConfig.model_validate({"scores": {"classifier": str(models / "classifier")}})
    once = learned_metrics(learned_scores(table, samples, images, config))
    # More samples of one method, among them pictures of the other, change nothing about its score.
    more = table[table["method"] == "base"].assign(sample=1, image_id=[f"aligned_{prompt}" for prompt in "abc"])
    twice = learned_scores(pd.concat([table, more], ignore_index=True), samples, images, config)
    assert learned_metrics(twice)["seen_inception_score_base"] == once["seen_inception_score_base"]
    assert learned_metrics(twice)["seen_classification_accuracy_base"] != once["seen_classification_accuracy_base"]
