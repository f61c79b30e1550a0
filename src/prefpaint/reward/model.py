"""The reward model: backbone features → embedding z → reward ⟨z, ψ⟩ (paper, section 3.2)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from prefpaint.errors import PrefPaintError
from prefpaint.reward.backbones import ClipBackbone, ContrastBackbone
from prefpaint.reward.config import ClipBackboneConfig, ContrastBackboneConfig, HeadConfig

BackboneConfig = ContrastBackboneConfig | ClipBackboneConfig


def to_tensors(images: np.ndarray, masks: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    """uint8 (N, H, W, 3) and (N, H, W) → float32 (N, 3, H, W) in [0, 1] and (N, 1, H, W) in {0, 1}."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2).float() / 255
    holes = torch.from_numpy(np.ascontiguousarray(masks)).to(device)[:, None].float()
    return pixels.contiguous(memory_format=torch.channels_last), holes


class RewardHead(nn.Module):
    """Standardised features → z → reward.

    Args:
        features: width of the backbone's features.
        config: layer sizes.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: int, config: HeadConfig) -> None:
        super().__init__()
        self.feature_dropout = config.feature_dropout
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("std", torch.ones(features))
        self.project = nn.Identity() if features == config.width else nn.Linear(features, config.width)
        self.encoder = nn.TransformerEncoderLayer(
            config.width, config.heads, config.feedforward, config.dropout[0], batch_first=True
        )
        self.mlp = nn.Sequential(
            nn.Linear(config.width, config.hidden),
            *([nn.GELU()] if config.activation else []),
            nn.Dropout(config.dropout[1]),
            nn.Linear(config.hidden, config.embedding),
            *([nn.LayerNorm(config.embedding)] if config.activation else []),
        )
        self.psi = nn.Linear(config.embedding, 1, bias=False)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(N, features) → reward (N,) and z (N, embedding)."""
        standard = (features - self.mean) / self.std
        if self.training and self.feature_dropout > 0:
            kept = torch.rand(standard.shape[1]) >= self.feature_dropout
            standard = standard * kept.to(standard.device)
        token = self.project(standard)[:, None]
        z = self.mlp(self.encoder(token)[:, 0])
        return self.psi(z)[:, 0], z


class RewardModel(nn.Module):
    """Scores filled images in normalised-score units.

    The prompt need not be given apart: outside its hole a candidate is the prompt.

    Args:
        backbone: which features.
        head: layer sizes.
        tower: an initialised CLIP tower, when not to be loaded from `backbone.checkpoint`.
    """

    def __init__(self, backbone: BackboneConfig, head: HeadConfig, tower: Any = None) -> None:
        super().__init__()
        self.configs = (backbone, head)
        self.backbone: ContrastBackbone | ClipBackbone = (
            ContrastBackbone(backbone) if backbone.kind == "contrast" else ClipBackbone(backbone, tower)
        )
        self.head = RewardHead(self.backbone.width, head)

    @property
    def device(self) -> torch.device:
        return self.head.psi.weight.device

    def forward(self, images: Tensor, holes: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) in [0, 1] and (N, 1, H, W) → reward (N,) and z (N, embedding)."""
        return self.head(self.backbone(images, holes))

    @torch.no_grad()
    def features(self, images: np.ndarray, masks: np.ndarray, batch: int = 64) -> Tensor:
        """Backbone features of uint8 images, (N, features) float32 on the CPU."""
        parts = []
        for start in range(0, len(images), batch):
            rows = slice(start, start + batch)
            parts.append(self.backbone(*to_tensors(images[rows], masks[rows], self.device)).float().cpu())
        return torch.cat(parts)

    @torch.no_grad()
    def score(self, images: np.ndarray, masks: np.ndarray, batch: int = 64) -> tuple[np.ndarray, np.ndarray]:
        """Score filled images, in evaluation mode (no dropout).

        Args:
            images: (N, H, W, 3) uint8, holes filled.
            masks: (N, H, W) uint8, 1 where the fill is.
            batch: images at a time.

        Returns:
            rewards (N,) and embeddings (N, embedding), float32.
        """
        self.eval()
        reward, z = self.head(self.features(images, masks, batch).to(self.device))
        return reward.cpu().numpy(), z.cpu().numpy()

    def save_pretrained(self, folder: Path) -> None:
        """Write config.json and model.safetensors; a frozen offline backbone is not written again."""
        folder.mkdir(parents=True, exist_ok=True)
        backbone, head = self.configs
        config: dict[str, Any] = {"backbone": backbone.model_dump(mode="json"), "head": head.model_dump(mode="json")}
        weights = {f"head.{name}": value for name, value in self.head.state_dict().items()}
        if isinstance(self.backbone, ClipBackbone):
            config["tower"] = self.backbone.tower.config.to_dict()
            weights |= {f"backbone.{name}": value for name, value in self.backbone.state_dict().items()}
        (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True, default=str) + "\n")
        save_file({name: value.contiguous() for name, value in weights.items()}, folder / "model.safetensors")

    @classmethod
    def from_pretrained(cls, folder: Path) -> "RewardModel":
        """Read what `save_pretrained` wrote.

        Raises:
            PrefPaintError: a file is missing or does not fit.
        """
        for name in ("config.json", "model.safetensors"):
            if not (folder / name).exists():
                raise PrefPaintError(f"{folder / name}: is missing; run `kedro run --pipeline=reward` again")
        try:
            config = json.loads((folder / "config.json").read_text())
            backbone: BackboneConfig = TypeAdapter(BackboneConfig).validate_python(config["backbone"])
            tower = None
            if backbone.kind == "clip":
                from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

                tower = CLIPVisionModelWithProjection(CLIPVisionConfig.from_dict(config["tower"]))
            model = cls(backbone, HeadConfig.model_validate(config["head"]), tower)
            weights = load_file(folder / "model.safetensors")
            problems = model.load_state_dict(weights, strict=False)
        except (ValueError, KeyError, RuntimeError, ValidationError, OSError) as error:
            raise PrefPaintError(f"{folder}: is no reward model of this program ({error})") from error
        lacking = [name for name in problems.missing_keys if tower is not None or not name.startswith("backbone.")]
        if lacking or problems.unexpected_keys:
            name = (lacking + problems.unexpected_keys)[0]
            raise PrefPaintError(f"{folder / 'model.safetensors'}: weight {name} is missing or unknown")
        return model.eval()
