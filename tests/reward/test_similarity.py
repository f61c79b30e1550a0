"""Similarity to words as a feature of the reward, by a small real CLIP with random weights."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from prefpaint.alignment.scorers import PlainReward
from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder, write_image
from prefpaint.inpainting.checkpoint import module_digest
from prefpaint.reward.config import (
    ContrastBackboneConfig,
    HeadConfig,
    KernelHeadConfig,
    MLPHeadConfig,
    RewardConfig,
    TextConfig,
)
from prefpaint.reward.metrics import rank_correlation
from prefpaint.reward.model import RewardModel, to_tensors
from prefpaint.reward.similarity import TextSimilarity
from prefpaint.reward.training import RatedImages, train_reward
from tests.judges.outside_models import SIDE, pictures, write_clip, write_models

TEXTS = ["a photograph", "", "a cat", "a photograph"]
WORDS = ("a cat", "the sea at night", "an old roof", "two dogs")
BACKBONE = ContrastBackboneConfig(input_size=64, taps=(0, 1))
KERNEL = KernelHeadConfig(embedding=128, components=64)
MLP = MLPHeadConfig(width=32, heads=2, feedforward=32, hidden=32, embedding=16)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """With weights so large that pictures and words differ."""
    folder = write_clip(tmp_path_factory.mktemp("clip") / "clip", tiny_base / "tokenizer")
    model, generator = transformers.CLIPModel.from_pretrained(folder), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.copy_(0.4 * torch.randn(weight.shape, generator=generator))
    model.save_pretrained(folder)
    return folder


def rated(folder: Path, clip: Path, prompts: int, seed: int, heard: float = 1.0) -> RatedImages:
    """Three fills of each prompt, of three colours and a little noise; the score is their similarity to the words."""
    rng = np.random.default_rng(seed)
    images, masks = ImageFolder(folder / "images"), ImageFolder(folder / "masks", masks=True)
    ids, prompt_ids, texts = [], [], {}
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[6:26, 6:26] = 1
    for prompt in range(prompts):
        ground = np.full((SIDE, SIDE, 3), 128.0) + rng.normal(0, 10, (SIDE, SIDE, 3))
        write_image(masks.file(f"p{prompt}"), mask)
        texts[f"p{prompt}"] = WORDS[prompt % len(WORDS)] if rng.uniform() < heard else ""
        for index in range(3):
            fill = rng.uniform(0, 255, 3) + rng.normal(0, 10, (SIDE, SIDE, 3))
            picture = np.where(mask[..., None] > 0, fill, ground).clip(0, 255).astype(np.uint8)
            write_image(images.file(f"p{prompt}_{index}"), picture)
            ids.append(f"p{prompt}_{index}")
            prompt_ids.append(f"p{prompt}")
    data = RatedImages(images, masks, ids, prompt_ids, np.zeros(len(ids), np.float32), texts)
    rows = range(len(ids))
    pixels, _ = to_tensors(*data.load(rows), torch.device("cpu"))
    with torch.no_grad():
        cosines = TextSimilarity(TextConfig(checkpoint=str(clip)), 1).cosines(pixels, data.texts_of(rows)).numpy()
    known = cosines[np.isfinite(cosines)]
    return replace(data, scores=np.nan_to_num((cosines - known.mean()) / known.std()).astype(np.float32))


def config(clip: Path | None, head: HeadConfig = KERNEL, **others: Any) -> RewardConfig:
    text = TextConfig(checkpoint=str(clip)) if clip else TextConfig()
    return RewardConfig(backbone=BACKBONE, head=head, text=text, **{"epochs": 12, "lr": 2e-3, "batch": 8, **others})


@pytest.fixture(scope="module")
def trained(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RewardModel, RatedImages]:
    """A reward that reads words, and candidates that it was not fitted to."""
    folder = tmp_path_factory.mktemp("trained")
    train, held_out = rated(folder / "train", clip, 60, 0, 0.8), rated(folder / "validation", clip, 30, 1, 0.8)
    return train_reward(train, held_out, config(clip))[0], held_out


def scores(model: RewardModel, data: RatedImages, texts: list[str] | None = None) -> np.ndarray:
    rows = range(len(data.candidate_ids))
    return model.score(*data.load(rows), texts=data.texts_of(rows) if texts is None else texts)[0]


def test_the_cosine_is_clips_own(clip: Path) -> None:
    pixels, _ = to_tensors(pictures(), np.zeros((4, SIDE, SIDE), np.uint8), torch.device("cpu"))
    found = TextSimilarity(TextConfig(checkpoint=str(clip)), 1).cosines(pixels, TEXTS)
    model = transformers.CLIPModel.from_pretrained(clip).eval()
    processor = transformers.AutoProcessor.from_pretrained(clip)
    inputs = processor(text=TEXTS, images=list(pictures()), return_tensors="pt", padding=True, truncation=True)
    with torch.no_grad():
        wanted = (model(**inputs).logits_per_image / model.logit_scale.exp()).diagonal()
    assert found.isnan().tolist() == [False, True, False, False]
    # float32 through a few layers with large weights.
    np.testing.assert_allclose(found[[0, 2, 3]], wanted[[0, 2, 3]], atol=1e-4)


def test_the_feature_by_hand(clip: Path) -> None:
    text = TextSimilarity(TextConfig(checkpoint=str(clip), weight=0.8), 9)
    nothing = float("nan")
    text.fit(torch.tensor([0.1, nothing, 0.3]))
    # Mean 0.2, deviation √0.02 (one of two values is free); √(9 · 0.8 / 0.2) = 6.
    feature = text.feature(torch.tensor([0.2, nothing, 0.3]))
    assert feature[:, 0].tolist() == pytest.approx([0, 0, 6 * 0.1 / 0.02**0.5], abs=1e-5)


@pytest.mark.parametrize("cosines", [[0.1, float("nan")], [float("nan")] * 3, [0.1, 0.1, 0.1 + 1e-7]])
def test_where_no_words_were_rated_words_do_not_count(
    clip: Path, cosines: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    text = TextSimilarity(TextConfig(checkpoint=str(clip)), 9)
    text.fit(torch.tensor(cosines))
    assert text.feature(torch.tensor([0.5, float("nan"), -0.5])).tolist() == [[0], [0], [0]]
    assert "rated candidates have words, and their similarities do not differ" in caplog.text


@pytest.mark.parametrize(
    ("head", "others"), [(KERNEL, {}), (KERNEL, {"ensemble": 2}), (MLP, {}), (MLP, {"objective": "pairwise"})]
)
def test_a_taste_for_words_is_learned(clip: Path, tmp_path: Path, head: HeadConfig, others: dict[str, Any]) -> None:
    train, held_out = rated(tmp_path / "train", clip, 60, 0), rated(tmp_path / "validation", clip, 30, 1)
    hears, _ = train_reward(train, held_out, config(clip, head, **others))
    deaf, _ = train_reward(train, held_out, config(None, head, **others))
    told, guessed = (rank_correlation(scores(model, held_out), held_out.scores) for model in (hears, deaf))
    assert told > 0.8 and told > guessed + 0.15, (told, guessed)
    again, _ = train_reward(train, held_out, config(clip, head, **others))
    assert module_digest(again) == module_digest(hears)


def test_the_backbone_may_be_trained_beside_it(clip: Path, tmp_path: Path) -> None:
    train, held_out = rated(tmp_path / "train", clip, 20, 0), rated(tmp_path / "validation", clip, 10, 1)
    given = config(clip, MLP, epochs=3).model_copy(update={"backbone": BACKBONE.model_copy(update={"frozen": 0.5})})
    model, _ = train_reward(train, held_out, given)
    assert model.text is not None
    before = transformers.CLIPModel.from_pretrained(clip).state_dict()
    assert all(torch.equal(value, before[name]) for name, value in model.text.clip.state_dict().items())
    assert np.isfinite(scores(model, held_out)).all()


def test_words_move_the_score_and_none_is_neutral(trained: tuple[RewardModel, RatedImages]) -> None:
    model, data = trained
    count = len(data.candidate_ids)
    cat, roof, none = (scores(model, data, [text] * count) for text in ("a cat", "an old roof", ""))
    assert np.abs(cat - roof).mean() > 0.1
    # Without words the feature is that of a candidate of mean similarity.
    pixels, holes = to_tensors(*data.load(range(count)), torch.device("cpu"))
    with torch.no_grad():
        assert model.text is not None
        middle = torch.cat([model.backbone(pixels, holes), torch.zeros(count, 1)], 1)
        # One pass of all pictures against two of 64: the last bits differ.
        np.testing.assert_allclose(none, model.read(middle)[0], atol=1e-4)
    # Others beside it do not matter.
    mixed = scores(model, data, ["a cat", ""] * (count // 2))
    np.testing.assert_allclose(mixed, np.where(np.arange(count) % 2, none, cat), atol=1e-5)


def test_texts_left_out_are_an_error(trained: tuple[RewardModel, RatedImages]) -> None:
    model, data = trained
    with pytest.raises(ValueError, match="0 texts for 3 images: this reward needs one for each"):
        model.score(*data.load(range(3)))
    with pytest.raises(ValueError, match="1 texts for 3 images"):
        model(*to_tensors(*data.load(range(3)), torch.device("cpu")), ["a cat"])


def test_what_is_saved_scores_the_same_without_the_checkpoint(
    trained: tuple[RewardModel, RatedImages], clip: Path, tmp_path: Path
) -> None:
    model, data = trained
    model.save_pretrained(tmp_path / "reward")
    hidden = shutil.move(clip, tmp_path / "elsewhere")
    try:
        loaded = RewardModel.from_pretrained(tmp_path / "reward")
    finally:
        shutil.move(hidden, clip)
    assert module_digest(loaded) == module_digest(model)
    np.testing.assert_array_equal(scores(loaded, data), scores(model, data))
    loaded.save_pretrained(tmp_path / "again")
    for file in ("config.json", "model.safetensors", "tokenizer/tokenizer.json"):
        assert (tmp_path / "reward" / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file
    shutil.rmtree(tmp_path / "again/tokenizer")
    with pytest.raises(PrefPaintError, match=r"again: is not a reward model of this program"):
        RewardModel.from_pretrained(tmp_path / "again")


def test_without_a_checkpoint_nothing_is_added(tmp_path: Path) -> None:
    model = RewardModel(BACKBONE, KERNEL, text=TextConfig())
    model.save_pretrained(tmp_path)
    assert set(json.loads((tmp_path / "config.json").read_text())) == {"backbone", "head", "ensemble"}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    assert model.heads[0].mean.shape == (model.backbone.width,)


def test_gradients_go_through_clip_to_the_picture(trained: tuple[RewardModel, RatedImages]) -> None:
    """Refl follows the reward of a fill with its words, and one without any is not disturbed."""
    model, data = trained
    pixels, holes = to_tensors(*data.load(range(3)), torch.device("cpu"))
    pixels.requires_grad_(True)
    assert model.text is not None
    cosines = model.text.cosines(pixels, ["a cat", "", "the sea at night"])
    model.text.feature(cosines).sum().backward()
    assert pixels.grad is not None and pixels.grad.isfinite().all()
    assert [bool(grad.any()) for grad in pixels.grad] == [True, False, True]
    pixels.grad = None
    reward, _, _ = PlainReward(model, 8).differentiable(pixels, holes, ["a cat", "", "the sea at night"])
    reward.sum().backward()
    assert pixels.grad is not None and pixels.grad.isfinite().all() and all(bool(grad.any()) for grad in pixels.grad)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda folder, tokenizer: folder, "cannot be loaded"),
        (
            lambda folder, tokenizer: write_models(folder, tokenizer) / "classifier",
            "(cannot be loaded|is not a CLIPModel)",
        ),
        (lambda folder, tokenizer: _halved(write_clip(folder, tokenizer)), "is not a CLIPModel: it lacks text_model"),
    ],
)
def test_a_checkpoint_that_is_no_clip_is_named_in_one_sentence(
    write: Callable[[Path, Path], Path],
    said: str,
    tmp_path: Path,
    tiny_base: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    checkpoint = write(tmp_path / "model", tiny_base / "tokenizer")
    with pytest.raises(PrefPaintError, match=rf"^reward\.text\.checkpoint: {checkpoint} {said}") as caught:
        RewardModel(BACKBONE, KERNEL, text=TextConfig(checkpoint=str(checkpoint)))
    assert len(str(caught.value).splitlines()) == 1


def _halved(folder: Path) -> Path:
    """Without the text tower's weights."""
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    save_file({name: value for name, value in load_file(file).items() if "text" not in name}, file, {"format": "pt"})
    return folder
