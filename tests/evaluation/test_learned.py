"""The paper's Table 2 on small models of the real classes, with random weights."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import transformers

from prefpaint.errors import PrefPaintError
from prefpaint.evaluation.config import EvaluateConfig, LearnedScoresConfig
from prefpaint.evaluation.learned import (
    NO_CHECKPOINT,
    SCORES,
    aesthetic_judge,
    blip_judge,
    check_checkpoints,
    clip_judge,
    imagereward_judge,
    inception_score,
    learned_metrics,
    learned_scores,
    logits_judge,
)
from prefpaint.images import ImageFolder, write_image
from tests.evaluation.test_imagereward import write_checkpoint

SIDE = 32


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """Folders clip, blip, imagereward, classifier, aesthetic (a label of that name) and regression (one output)."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models")
    size = {"height": SIDE, "width": SIDE}
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_base / "tokenizer")
    towers = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = {**towers, "image_size": SIDE, "patch_size": 8}
    clip = transformers.CLIPConfig(
        text_config={**towers, "vocab_size": len(tokenizer), "projection_dim": 8},
        vision_config=vision,
        projection_dim=8,
    )
    transformers.CLIPModel(clip).save_pretrained(folder / "clip")
    images = transformers.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=size)
    transformers.CLIPProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder / "clip")

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]", "a", "photograph"]
    vocabulary = {word: number for number, word in enumerate(words)}
    bert = transformers.BertTokenizerFast(vocab=vocabulary, model_max_length=512)
    blip = transformers.BlipConfig(
        text_config={**towers, "vocab_size": len(words), "encoder_hidden_size": 16},
        vision_config=vision,
        projection_dim=8,
        image_text_hidden_size=8,
    )
    transformers.BlipForImageTextRetrieval(blip).save_pretrained(folder / "blip")
    transformers.BlipProcessor(transformers.BlipImageProcessor(size=size), bert).save_pretrained(folder / "blip")

    (folder / "imagereward").mkdir()
    write_checkpoint(folder / "imagereward")

    for name, labels in (
        ("classifier", ["cat", "dog", "cup"]),
        ("aesthetic", ["not_aesthetic", "aesthetic"]),
        ("regression", ["score"]),
    ):
        config = transformers.ViTConfig(
            **vision,
            num_labels=len(labels),
            id2label=dict(enumerate(labels)),
            label2id={b: a for a, b in enumerate(labels)},
        )
        transformers.ViTForImageClassification(config).save_pretrained(folder / name)
        transformers.ViTImageProcessor(size=size).save_pretrained(folder / name)
    return folder


def pictures(count: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3)).astype(np.uint8)


def test_clip_is_the_cosine_of_the_models_own_embeddings(models: Path) -> None:
    found = clip_judge(str(models / "clip"), "a photograph")(pictures())
    model = transformers.CLIPModel.from_pretrained(models / "clip").eval()
    processor = transformers.AutoProcessor.from_pretrained(models / "clip")
    inputs = processor(text=["a photograph"], images=list(pictures()), return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits_per_image[:, 0] / model.logit_scale.exp()
    np.testing.assert_allclose(found, 100 * logits.clamp(min=0).numpy(), atol=1e-3)


def test_blip_gives_probabilities(models: Path) -> None:
    found = blip_judge(str(models / "blip"), "a photograph")(pictures())
    assert found.shape == (4,) and ((found > 0) & (found < 1)).all()


def test_an_aesthetic_model_has_one_output_or_a_label(models: Path) -> None:
    raw, labels = logits_judge("aesthetic", str(models / "aesthetic"))
    shares = np.exp(raw(pictures()))
    found = aesthetic_judge(str(models / "aesthetic"))(pictures())
    assert labels[1] == "aesthetic"
    np.testing.assert_allclose(found, shares[:, 1] / shares.sum(1), atol=1e-12)
    raw, _ = logits_judge("aesthetic", str(models / "regression"))
    np.testing.assert_array_equal(aesthetic_judge(str(models / "regression"))(pictures()), raw(pictures())[:, 0])
    with pytest.raises(PrefPaintError, match=r"has the labels cat, dog, cup; give a model with one output"):
        aesthetic_judge(str(models / "classifier"))


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
            rows.append((name, prompt, "seen", pattern, method, "A", 0))
    columns = ["image_id", "prompt_id", "split", "pattern", "method", "noise_set", "sample"]
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
        ("classifier", "clip", "clip is not a "),
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


def test_a_damaged_file_and_a_long_text(
    judged: tuple[pd.DataFrame, ImageFolder, ImageFolder], models: Path, tmp_path: Path
) -> None:
    shutil.copytree(models / "clip", tmp_path / "clip")
    weights = tmp_path / "clip/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    config = EvaluateConfig.model_validate({"scores": {"clip": str(tmp_path / "clip")}})
    with pytest.raises(PrefPaintError, match=r"evaluate\.scores\.clip: .*cannot be loaded"):
        learned_scores(*judged, config)
    for judge in (clip_judge, blip_judge, imagereward_judge):
        name = judge.__name__.removesuffix("_judge")
        assert np.isfinite(judge(str(models / name), "a photograph " * 300)(pictures())).all()


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
