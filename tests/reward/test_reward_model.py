"""The reward model: loss, features, training, saving; the published backbone on a small real CLIP tower."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder, write_image
from prefpaint.reward.config import (
    ClipBackboneConfig,
    ContrastBackboneConfig,
    KernelHeadConfig,
    MLPHeadConfig,
    RewardConfig,
)
from prefpaint.reward.model import KernelHead, RewardModel, to_tensors
from prefpaint.reward.training import (
    RatedImages,
    centre_within,
    ordinal_loss,
    pairwise_loss,
    reward_loss,
    train_reward,
)

HEAD = MLPHeadConfig(width=32, heads=2, feedforward=32, hidden=32, embedding=16)
KERNEL = KernelHeadConfig(embedding=16, components=32)
BACKBONE = ContrastBackboneConfig(input_size=64, taps=(0, 1))


def rated(folder: Path, prompts: int, seed: int) -> RatedImages:
    """Three fills of each prompt on a checkered ground; the score is how textured the fill is."""
    rng = np.random.default_rng(seed)
    images, masks = ImageFolder(folder / "images"), ImageFolder(folder / "masks", masks=True)
    ids, prompt_ids, scores = [], [], []
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 1
    for prompt in range(prompts):
        ground = rng.integers(0, 256, (32, 32, 3)).astype(float)
        write_image(masks.file(f"p{prompt}"), mask)
        for index in range(3):
            strength = rng.uniform(0, 1)
            fill = 128 + strength * (rng.integers(0, 256, (32, 32, 3)) - 128)
            write_image(images.file(f"p{prompt}_{index}"), np.where(mask[..., None] > 0, fill, ground).astype(np.uint8))
            ids.append(f"p{prompt}_{index}")
            prompt_ids.append(f"p{prompt}")
            scores.append(strength)
    values = np.asarray(scores, np.float32)
    return RatedImages(images, masks, ids, prompt_ids, (values - values.mean()) / values.std())


def test_centring_by_hand() -> None:
    centred = centre_within(torch.tensor([1.0, 3.0, 10.0]), torch.tensor([0, 0, 1]))
    assert centred.tolist() == [-1.0, 1.0, 0.0]


def test_loss_by_hand() -> None:
    reward, score = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 0.0])
    group = torch.tensor([0, 0])
    # MSE 5 over variance 2; centred rewards ∓1 against 0: MSE 1 over variance 0.5.
    assert reward_loss(reward, score, group, 0.0, (2.0, 0.5)).item() == pytest.approx(2.5)
    assert reward_loss(reward, score, group, 1.0, (2.0, 0.5)).item() == pytest.approx(2.0)
    assert reward_loss(reward, score, group, 0.5, (2.0, 0.5)).item() == pytest.approx(2.25)


def test_pairwise_loss_by_hand() -> None:
    reward, score = torch.tensor([2.0, 1.0, 0.0, 5.0]), torch.tensor([0.0, 1.0, 1.0, 9.0])
    # Two pairs of unequal score in the first prompt, both the wrong way round; the second prompt has none.
    expected = (math.log1p(math.exp(1.0)) + math.log1p(math.exp(2.0))) / 2
    assert pairwise_loss(reward, score, torch.tensor([0, 0, 0, 1])).item() == pytest.approx(expected)
    assert pairwise_loss(reward[:1], score[:1], torch.tensor([0])).item() == 0


def test_ordinal_loss_by_hand() -> None:
    # Four levels, spread 1: thresholds −log 3, 0, log 3; at reward 0 every level has probability 1/4.
    level = torch.tensor([0, 1, 2, 3])
    assert ordinal_loss(torch.zeros(4), level, 4, torch.tensor(1.0)).item() == pytest.approx(math.log(4))
    # At reward log 3: P(level ≤ 0) = σ(−2 log 3) = 1/10.
    high = ordinal_loss(torch.tensor([math.log(3)]), level[:1], 4, torch.tensor(1.0))
    assert high.item() == pytest.approx(math.log(10), rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "accuracy"),
    [
        ({"head": HEAD, "epochs": 12}, 0.9),
        ({"head": HEAD, "epochs": 12, "ensemble": 2}, 0.9),
        ({"head": HEAD, "epochs": 12, "objective": "classification", "levels": 5}, 0.9),
        ({"head": HEAD, "epochs": 12, "objective": "pairwise"}, 0.9),
        ({"head": HEAD, "epochs": 3, "backbone": BACKBONE.model_copy(update={"frozen": 0.5})}, 0.8),
        ({"head": KERNEL}, 0.85),
        ({"head": KERNEL, "ensemble": 3}, 0.85),
    ],
)
def test_training_learns_and_is_reproducible(tmp_path: Path, settings: dict[str, Any], accuracy: float) -> None:
    train, held_out = rated(tmp_path / "train", 60, 0), rated(tmp_path / "validation", 30, 1)
    config = RewardConfig(**{"backbone": BACKBONE, "batch": 8, "lr": 2e-3, **settings})
    model, history = train_reward(train, held_out, config)
    again, _ = train_reward(train, held_out, config)
    for name, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert max(row["validation_pair_accuracy"] for row in history) > accuracy
    rewards, z = model.score(*held_out.load(range(90)))
    assert rewards.shape == (90,) and z.shape == (90, 16 * config.ensemble)
    # reward = ⟨z, ψ⟩ with ψ the mean of the heads' rows; float32 sums of up to 48 products.
    np.testing.assert_allclose(z @ model.member_psis().mean(0).numpy(), rewards, atol=1e-4)
    # In score units: the scores' spread is 1, and the rewards are correlated with them.
    assert 0.3 < rewards.std() < 1.3


def test_trainable_backbone_moves_where_it_is_not_frozen(tmp_path: Path) -> None:
    backbone = BACKBONE.model_copy(update={"frozen": 0.5})
    fresh = RewardModel(backbone, HEAD).backbone.state_dict()
    data = rated(tmp_path / "data", 6, 0)
    model, _ = train_reward(data, data, RewardConfig(backbone=backbone, head=HEAD, epochs=1, batch=3, lr=1e-3))
    moved = {
        name.split(".")[0] for name, value in model.backbone.state_dict().items() if not torch.equal(value, fresh[name])
    }
    assert moved == {"blocks"}
    model.save_pretrained(tmp_path / "reward")
    images, masks = data.load(range(18))
    np.testing.assert_array_equal(
        model.score(images, masks)[0], RewardModel.from_pretrained(tmp_path / "reward").score(images, masks)[0]
    )


def test_kernel_features_are_the_kernel_on_landmarks() -> None:
    """⟨z(x), z(x')⟩ = k(x, x') where one of them is a landmark, and ‖z‖² ≤ 1 everywhere."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(12, 5, generator=generator)
    head = KernelHead(5, KernelHeadConfig(embedding=20, components=8, length=0.7))
    head.place(features, seed=0)
    z = head(features.double())
    assert z.shape == (12, 20)
    standard = (features.double() - features.double().mean(0)) / features.double().std(0)
    distance = torch.cdist(standard, standard).square()
    # All 12 are landmarks and all 5 dimensions are kept; the mean over all pairs, equal ones included.
    kernel = torch.exp(-distance / (0.7 * distance.mean()))
    torch.testing.assert_close(z @ z.T, kernel, atol=1e-8, rtol=0)
    far = head(torch.full((1, 5), 100.0, dtype=torch.float64))
    assert far.square().sum() < 1e-6
    assert (head(torch.randn(50, 5, generator=generator).double()).square().sum(1) <= 1 + 1e-9).all()


def test_scoring_has_no_dropout_and_no_batch_effect(tmp_path: Path) -> None:
    data = rated(tmp_path, 5, 0)
    model = RewardModel(BACKBONE, HEAD)
    model.train()
    images, masks = data.load(range(15))
    first, _ = model.score(images, masks)
    second, _ = model.score(images, masks, batch=4)
    # Batches of another size may sum in another order.
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_saved_and_loaded(tmp_path: Path) -> None:
    data = rated(tmp_path / "data", 3, 0)
    model = RewardModel(BACKBONE, HEAD).eval()
    model.save_pretrained(tmp_path / "reward")
    images, masks = data.load(range(9))
    np.testing.assert_array_equal(
        model.score(images, masks)[0], RewardModel.from_pretrained(tmp_path / "reward").score(images, masks)[0]
    )
    (tmp_path / "reward" / "config.json").write_text(
        json.dumps({"backbone": {"kind": "contrast"}, "head": {}, "ensemble": 1})
    )
    with pytest.raises(PrefPaintError, match="not a reward model"):
        RewardModel.from_pretrained(tmp_path / "reward")
    (tmp_path / "reward" / "model.safetensors").unlink()
    with pytest.raises(PrefPaintError, match=r"model\.safetensors: is missing"):
        RewardModel.from_pretrained(tmp_path / "reward")


@pytest.fixture
def clip_folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
        projection_dim=16,
    )
    CLIPVisionModelWithProjection(config).save_pretrained(tmp_path / "clip")
    return tmp_path / "clip"


def test_published_architecture_on_a_small_clip(clip_folder: Path, tmp_path: Path) -> None:
    backbone = ClipBackboneConfig(checkpoint=str(clip_folder), frozen=0.5)
    published = MLPHeadConfig(
        width=32, heads=2, feedforward=32, hidden=32, embedding=16, activation=False, normalise=False
    )
    train, held_out = rated(tmp_path / "train", 12, 0), rated(tmp_path / "validation", 6, 1)
    fresh = RewardModel(backbone, published)
    assert fresh.backbone.width == 32
    layers = fresh.backbone.tower.vision_model.encoder.layers
    assert [next(layer.parameters()).requires_grad for layer in layers] == [False, False, True, True]
    config = RewardConfig(backbone=backbone, head=published, epochs=2, batch=4, lr=1e-3)
    model, _ = train_reward(train, held_out, config)
    before, after = fresh.backbone.state_dict(), model.backbone.state_dict()
    moved = {
        name.split(".layers.")[1][0]
        for name in before
        if ".layers." in name and not torch.equal(before[name], after[name])
    }
    assert moved == {"2", "3"}
    model.save_pretrained(tmp_path / "reward")
    images, masks = held_out.load(range(18))
    np.testing.assert_array_equal(
        model.score(images, masks)[0], RewardModel.from_pretrained(tmp_path / "reward").score(images, masks)[0]
    )


def test_clip_sees_what_the_pil_processor_shows(clip_folder: Path, tmp_path: Path) -> None:
    from PIL import Image
    from transformers import CLIPImageProcessorPil

    data = rated(tmp_path / "data", 2, 0)
    images, masks = data.load(range(6))
    model = RewardModel(ClipBackboneConfig(checkpoint=str(clip_folder)), MLPHeadConfig(width=32, heads=2)).eval()
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    tower = model.backbone.tower
    with torch.no_grad():
        ours = model.backbone(*to_tensors(images, masks, torch.device("cpu")))
        pictures = [Image.fromarray(image) for image in images]
        theirs = tower(**processor(pictures, return_tensors="pt")).image_embeds
    # Both quantise to grey levels; a level of 1/255 in few pixels is what may differ.
    torch.testing.assert_close(ours[:, :16], theirs, atol=2e-3, rtol=0)


@pytest.mark.parametrize(
    ("scores", "message"),
    [([1.0], "at least 2"), ([1.0, np.nan], "p0_1 has no finite score"), ([2.0, 2.0], "the same score")],
)
def test_useless_scores_are_refused(tmp_path: Path, scores: list[float], message: str) -> None:
    data = rated(tmp_path, 1, 0)
    count = len(scores)
    bad = RatedImages(
        data.candidates, data.masks, data.candidate_ids[:count], data.prompt_ids[:count], np.asarray(scores, np.float32)
    )
    with pytest.raises(PrefPaintError, match=message):
        train_reward(bad, data, RewardConfig(backbone=BACKBONE, head=HEAD))
