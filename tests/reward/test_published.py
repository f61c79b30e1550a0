"""Published weights: the same scores as the published code, and one sentence for a file that does not fit."""

import pickle
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from prefpaint.errors import PrefPaintError
from prefpaint.reward import backbones
from prefpaint.reward.model import RewardModel, to_tensors
from prefpaint.reward.published import load_published
from tests.conftest import Project

PARITY = Path(__file__).resolve().parents[1] / "data/reward_parity"


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = torch.load(PARITY / "state_dict.pt", weights_only=True)
    return loaded


@pytest.fixture(scope="module")
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Candidates and masks; the published code was given the incomplete images, whose holes are black."""
    filled, incomplete = (
        np.stack([np.asarray(Image.open(PARITY / f"{name}_{index}.png").convert("RGB")) for index in range(4)])
        for name in ("inpainted", "incomplete")
    )
    masks = (filled != incomplete).any(-1).astype(np.uint8)
    np.testing.assert_array_equal(incomplete, filled * (1 - masks[..., None]))
    return filled, masks


def agrees(model: RewardModel, pictures: tuple[np.ndarray, np.ndarray]) -> None:
    """To 1e-4, which the vectors' README asks for: the weights are rounded to half precision on both sides."""
    expected = np.load(PARITY / "expected.npz")
    rewards, z = model.score(*pictures)
    np.testing.assert_allclose(rewards, expected["scores"], atol=1e-4, rtol=0)
    np.testing.assert_allclose(z, expected["features"], atol=1e-4, rtol=0)


def test_same_scores_as_the_published_code(pictures: tuple[np.ndarray, np.ndarray], tmp_path: Path) -> None:
    model = load_published(PARITY / "state_dict.pt")
    agrees(model, pictures)
    model.save_pretrained(tmp_path / "reward")
    agrees(RewardModel.from_pretrained(tmp_path / "reward"), pictures)


def test_variants_of_the_file(
    weights: dict[str, torch.Tensor], pictures: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    copied = {
        key.replace("transformer_encoder.layers.0.", "encoder_layer."): value.clone()
        for key, value in weights.items()
        if "transformer_encoder" in key
    }
    more = {**weights, **copied, "mlp.last_layer_weight": weights["mlp.last_layer.weight"].clone()}
    torch.save({f"module.{key}": value for key, value in more.items()}, tmp_path / "wrapped.pth")
    agrees(load_published(tmp_path / "wrapped.pth"), pictures)
    image_only = {key: value for key, value in weights.items() if not key.startswith("clip_model.transformer")}
    save_file(image_only, tmp_path / "plain.safetensors")
    agrees(load_published(tmp_path / "plain.safetensors"), pictures)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("mlp.layers.2.bias", None, "key mlp.layers.2.bias is missing"),
        ("clip_model.visual.conv1.weight", None, "key clip_model.visual.conv1.weight is missing"),
        ("mlp.layers.3.weight", torch.zeros(1), "key mlp.layers.3.weight is unknown"),
        ("mlp.last_layer.weight", torch.zeros(2, 256), "mlp.last_layer.weight has shape (2, 256), not (1, 256)"),
        (
            "clip_model.visual.transformer.resblocks.1.attn.in_proj_weight",
            torch.zeros(64, 64),
            "in_proj_weight has shape (64, 64), not (192, 64)",
        ),
        ("clip_model.visual.transformer.resblocks.0.attn.in_proj_bias", torch.zeros(()), "has shape (), not (192,)"),
        ("clip_model.visual.conv1.weight", torch.zeros(3), "conv1.weight has shape (3,), not 4 dimensions"),
        ("clip_model.visual.conv1.weight", torch.zeros(96, 3, 32, 32), "has 96 output channels, not a multiple of 64"),
        ("clip_model.visual.positional_embedding", torch.zeros(51, 64), "has shape (51, 64), not (50, 64)"),
        # Another projection width would need a layer that the file does not hold.
        ("clip_model.visual.proj", torch.zeros(64, 256), "clip_model.visual.proj has shape (64, 256), not (64, 512)"),
        ("mlp.layers.0.bias", torch.full((512,), torch.nan), "mlp.layers.0.bias holds NaN or infinity"),
    ],
)
def test_the_first_key_that_does_not_fit_is_named(
    weights: dict[str, torch.Tensor], tmp_path: Path, key: str, value: torch.Tensor | None, message: str
) -> None:
    changed = {name: tensor for name, tensor in weights.items() if name != key or value is not None}
    if value is not None:
        changed[key] = value
    torch.save(changed, tmp_path / "wrong.pt")
    with pytest.raises(PrefPaintError, match=f"wrong.pt: .*{re.escape(message)}"):
        load_published(tmp_path / "wrong.pt")


class Evil:
    """Unpickling this would leave a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.trace,))


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    torch.save({"mlp.layers.0.weight": Evil(tmp_path / "trace")}, tmp_path / "evil.pt")
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Evil(tmp_path / "trace")))
    (tmp_path / "cut.pt").write_bytes((PARITY / "state_dict.pt").read_bytes()[:100_000])
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "text.pt").write_text("hello world\n")
    (tmp_path / "text.safetensors").write_text("hello world\n")
    for name in ("evil.pt", "raw.pt", "cut.pt", "list.pt", "text.pt", "text.safetensors", "absent.pt"):
        with pytest.raises(PrefPaintError, match=f"{name}: "):
            load_published(tmp_path / name)
    assert not (tmp_path / "trace").exists()


def test_a_prompt_is_embedded_once(pictures: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_published(PARITY / "state_dict.pt")
    images, masks = (np.concatenate([values, values]) for values in pictures)
    images[4:][masks[4:] > 0] = 200  # four more candidates of the same four prompts
    seen: list[int] = []
    assert isinstance(model.backbone, backbones.ClipBackbone)
    embed = backbones.ClipBackbone._embed

    def counted(backbone: Any, pixels: torch.Tensor) -> torch.Tensor:
        seen.append(len(pixels))
        return embed(backbone, pixels)

    monkeypatch.setattr(backbones.ClipBackbone, "_embed", counted)
    monkeypatch.setattr(backbones, "PROMPTS_REMEMBERED", 4)
    first = model.score(images, masks, batch=8)[0]
    assert sum(seen) == 4 + 8
    seen.clear()
    # Batches of another size may sum in another order.
    np.testing.assert_allclose(model.score(images, masks, batch=3)[0], first, atol=1e-5)
    assert sum(seen) == 8
    model.train()
    assert not model.backbone.prompts
    seen.clear()
    model.backbone(*to_tensors(images, masks, model.device))
    model.backbone_features(images[:4], masks[:4])
    assert sum(seen) == (4 + 8) + (4 + 4), "in training, prompts are shared within a call only"
    seen.clear()
    model.score(images[:4], masks[:4])
    assert sum(seen) == 4 + 4
    # Other prompts push the oldest out.
    holes = np.zeros_like(masks)
    model.score(images[4:], holes[4:])
    assert len(model.backbone.prompts) == 4
    seen.clear()
    model.score(images[:4], masks[:4])
    assert sum(seen) == 4 + 4


def test_the_command(project: Project) -> None:
    shutil.copy(PARITY / "state_dict.pt", project.path / "theirs.pt")
    done = project.run("import-reward", "theirs.pt")
    assert done.returncode == 0, done.stderr
    assert "kedro run --pipeline=reward --from-nodes=score_candidates_with_reward" in done.stdout
    model = RewardModel.from_pretrained(project.path / "data/06_models/reward")
    assert model.backbone.width == 1024
    wrong = project.run("import-reward", "pyproject.toml")
    assert wrong.returncode == 1 and "Traceback" not in wrong.stderr
    assert "Error: pyproject.toml: holds no plain tensors" in wrong.stderr
