"""The reward model: backbone features → embedding z → reward ⟨z, ψ⟩ (paper, section 3.2)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from prefpaint.errors import PrefPaintError
from prefpaint.reward.backbones import BACKBONES, ClipBackbone
from prefpaint.reward.config import BackboneConfig, HeadConfig, KernelHeadConfig, MLPHeadConfig, TextConfig
from prefpaint.reward.similarity import TextSimilarity


def to_tensors(images: np.ndarray, masks: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    """uint8 (N, H, W, 3) and (N, H, W) → float32 (N, 3, H, W) in [0, 1] and (N, 1, H, W) in {0, 1}."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).to(device).permute(0, 3, 1, 2).float() / 255
    holes = torch.from_numpy(np.ascontiguousarray(masks)).to(device)[:, None].float()
    return pixels.contiguous(memory_format=torch.channels_last), holes


class MLPHead(nn.Module):
    """Standardised features → token → encoder layer → MLP → z → reward, as published.

    Args:
        features: width of the backbone's features.
        config: layer sizes.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: int, config: MLPHeadConfig) -> None:
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
            *([nn.LayerNorm(config.embedding)] if config.normalise else []),
        )
        self.psi = nn.Linear(config.embedding, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(N, features) → z (N, embedding)."""
        standard = (features - self.mean) / self.std
        if self.training and self.feature_dropout > 0:
            kept = torch.rand(standard.shape[1]) >= self.feature_dropout
            standard = standard * kept.to(standard.device)
        return self.mlp(self.encoder(self.project(standard)[:, None])[:, 0])


class KernelHead(nn.Module):
    """Nyström features of a Gaussian kernel, read out by ridge regression.

    z = K_mm^(−1/2) k(landmarks, x), so that ⟨z(x), z(x')⟩ approximates k(x, x') = exp(−‖p − p'‖² / (ℓ s)) with p the
    leading principal components of the standardised features, s their mean squared distance and ℓ `config.length`
    (Williams and Seeger, Using the Nyström Method to Speed Up Kernel Machines, 2001). ‖z‖² ≤ k(x, x) = 1; what it
    falls short of 1 is what the landmarks cannot express. Arithmetic is float64: K_mm is inverted.

    Args:
        features: width of the backbone's features.
        config: sizes and length scale.
    """

    mean: Tensor
    std: Tensor
    basis: Tensor
    landmarks: Tensor
    whitening: Tensor
    scale: Tensor

    def __init__(self, features: int, config: KernelHeadConfig) -> None:
        super().__init__()
        self.config = config
        wide = torch.float64
        self.register_buffer("mean", torch.zeros(features, dtype=wide))
        self.register_buffer("std", torch.ones(features, dtype=wide))
        self.register_buffer("basis", torch.zeros(features, config.components, dtype=wide))
        self.register_buffer("landmarks", torch.zeros(config.embedding, config.components, dtype=wide))
        self.register_buffer("whitening", torch.zeros(config.embedding, config.embedding, dtype=wide))
        self.register_buffer("scale", torch.ones((), dtype=wide))
        self.psi = nn.Linear(config.embedding, 1, bias=False)

    def _components(self, features: Tensor) -> Tensor:
        return ((features.double() - self.mean) / self.std) @ self.basis

    def _kernel(self, components: Tensor, others: Tensor) -> Tensor:
        return torch.exp(-torch.cdist(components, others).square() / self.scale)

    def forward(self, features: Tensor) -> Tensor:
        """(N, features) → z (N, embedding)."""
        return (self._kernel(self._components(features), self.landmarks) @ self.whitening).to(features.dtype)

    def gram(self, features: Tensor) -> Tensor:
        """(N, features) → k(x, x') of all pairs (N, N) float64, what ⟨z, z'⟩ approximates."""
        components = self._components(features)
        return self._kernel(components, components)

    @torch.no_grad()
    def place(self, features: Tensor, seed: int, scaled: int = 0) -> None:
        """Principal components, length scale and landmarks from training features (N, features).

        The last `scaled` features keep the scale that they have; the others are standardised. With fewer candidates
        than landmarks, or fewer dimensions than components, the rest of z stays 0.
        """
        wide = features.double()
        standardise(self, wide, scaled)
        standard = (wide - self.mean) / self.std
        values, vectors = torch.linalg.eigh(standard.T @ standard)
        kept = min(self.config.components, len(values))
        self.basis.zero_()
        self.basis[:, :kept] = vectors.flip(1)[:, :kept]
        components = standard @ self.basis
        # The mean squared distance of two of N points is twice their mean squared distance to the centre.
        self.scale.copy_(2 * self.config.length * components.square().sum(1).mean())
        chosen = torch.randperm(len(wide), generator=torch.Generator().manual_seed(seed))[: self.config.embedding]
        m = len(chosen)
        self.landmarks.zero_()
        self.landmarks[:m] = components[chosen.sort().values]
        values, vectors = torch.linalg.eigh(self._kernel(self.landmarks[:m], self.landmarks)[:, :m])
        # Two equal candidates make K_mm singular; a direction without weight is skipped.
        known = values > 1e-9 * values.max()
        self.whitening.zero_()
        self.whitening[:m, :m] = vectors * torch.where(known, values.clamp(min=1e-30).rsqrt(), 0)


@torch.no_grad()
def standardise(head: KernelHead | MLPHead, features: Tensor, scaled: int) -> None:
    """Set a head's mean and deviation by training features (N, features), but for the last `scaled` of them."""
    mean, std = features.mean(0), features.std(0).clamp(min=1e-3)
    if scaled:
        mean[-scaled:], std[-scaled:] = 0, 1
    head.mean.copy_(mean)
    head.std.copy_(std)


class RewardModel(nn.Module):
    """Scores filled images in normalised-score units.

    The prompt need not be given separately: outside its hole a candidate is the prompt.

    Args:
        backbone: which features.
        head: which head, and its sizes.
        ensemble: K heads. z is their embeddings side by side, divided by √K, and the reward their mean.
        tower: an initialised CLIP tower, if it is not to be loaded from `backbone.checkpoint`.
        text: similarity of fill and words as a further feature, if it has a checkpoint.
        clip: an initialised CLIP and its tokenizer, if they are not to be loaded from `text.checkpoint`.
    """

    def __init__(
        self,
        backbone: BackboneConfig,
        head: HeadConfig,
        ensemble: int = 1,
        tower: Any = None,
        text: TextConfig | None = None,
        clip: tuple[Any, Any] = (None, None),
    ) -> None:
        super().__init__()
        self.configs = (backbone, head)
        self.backbone = BACKBONES[backbone.kind](backbone, **({} if tower is None else {"tower": tower}))
        width = self.backbone.width
        self.text = TextSimilarity(text, width, *clip) if text and text.checkpoint else None
        width += self.scaled
        self.heads: Any = nn.ModuleList(
            [KernelHead(width, head) if head.kind == "kernel" else MLPHead(width, head) for _ in range(ensemble)]
        )

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        device: torch.device = self.heads[0].psi.weight.device
        return device

    @property
    def scaled(self) -> int:
        """How many features come in a scale of their own; the last ones."""
        return 0 if self.text is None else 1

    @property
    def whole_norm(self) -> float | None:
        """‖z‖² of an embedding that the head expresses in full; None where z has no such bound."""
        return 1.0 if self.configs[1].kind == "kernel" else None

    @torch.no_grad()
    def gram(self, features: Tensor) -> np.ndarray | None:
        """Inner products of the full features of which z is the part that the head can express.

        Args:
            features: (N, features) of the backbone.

        Returns:
            (N, N) float64 with `whole_norm` on the diagonal; None where z is everything.
        """
        if self.whole_norm is None:
            return None
        return np.asarray(torch.stack([head.gram(features.to(self.device)) for head in self.heads]).mean(0).cpu())

    def member_psis(self) -> Tensor:
        """(K, K · embedding): row k gives head k's reward as ⟨z, row⟩; their mean gives the model's."""
        count = len(self.heads)
        return torch.block_diag(*[head.psi.weight.detach() for head in self.heads]) * count**0.5

    def read(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, features) → reward (N,) and z (N, K · embedding)."""
        parts = [head(features) for head in self.heads]
        rewards = torch.cat([head.psi(z) for head, z in zip(self.heads, parts, strict=True)], 1)
        return rewards.mean(1), torch.cat(parts, 1) / len(parts) ** 0.5

    def forward(self, images: Tensor, holes: Tensor, texts: Sequence[str] = ()) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) in [0, 1], (N, 1, H, W) and words as in `score` → reward (N,) and z (N, K · embedding)."""
        features = self.backbone(images, holes)
        if self.text is not None:
            self._check_texts(texts, len(images))
            features = torch.cat([features, self.text(images, texts)], 1)
        return self.read(features)

    def _check_texts(self, texts: Sequence[str], count: int) -> None:
        if len(texts) != count:
            raise ValueError(f"{len(texts)} texts for {count} images: this reward needs one for each, or an empty one")

    @torch.no_grad()
    def backbone_features(self, images: np.ndarray, masks: np.ndarray, batch: int = 64) -> Tensor:
        """Backbone features of uint8 images, (N, features) float32 on the CPU."""
        parts = []
        for start in range(0, len(images), batch):
            rows = slice(start, start + batch)
            parts.append(self.backbone(*to_tensors(images[rows], masks[rows], self.device)).float().cpu())
        return torch.cat(parts)

    @torch.no_grad()
    def cosines(self, images: np.ndarray, masks: np.ndarray, texts: Sequence[str], batch: int = 64) -> Tensor:
        """Similarity of uint8 images and their words where `text` is there, (N,) on the CPU; NaN without words."""
        assert self.text is not None
        self._check_texts(texts, len(images))
        parts = []
        for start in range(0, len(images), batch):
            rows = slice(start, start + batch)
            pixels, _ = to_tensors(images[rows], masks[rows], self.device)
            parts.append(self.text.cosines(pixels, texts[rows]).cpu())
        return torch.cat(parts)

    @torch.no_grad()
    def features(self, images: np.ndarray, masks: np.ndarray, batch: int = 64, texts: Sequence[str] = ()) -> Tensor:
        """What `read` reads of uint8 images, similarity to words included; (N, features) float32 on the CPU."""
        features = self.backbone_features(images, masks, batch)
        if self.text is None:
            return features
        similar = self.text.feature(self.cosines(images, masks, texts, batch).to(self.device))
        return torch.cat([features, similar.cpu()], 1)

    @torch.no_grad()
    def score(
        self, images: np.ndarray, masks: np.ndarray, batch: int = 64, texts: Sequence[str] = ()
    ) -> tuple[np.ndarray, np.ndarray]:
        """Score filled images, in evaluation mode (no dropout).

        Args:
            images: (N, H, W, 3) uint8, holes filled.
            masks: (N, H, W) uint8, 1 where the fill is.
            batch: images at a time.
            texts: N text prompts, "" for none; may be left out by a reward that does not read them.

        Returns:
            rewards (N,) and embeddings (N, K · embedding), float32.
        """
        self.eval()
        reward, z = self.read(self.features(images, masks, batch, texts).to(self.device))
        return reward.cpu().numpy(), z.cpu().numpy()

    def save_pretrained(self, folder: Path) -> None:
        """Write config.json, model.safetensors and, where words are read, tokenizer/.

        An untouched offline backbone is not written again.
        """
        folder.mkdir(parents=True, exist_ok=True)
        backbone, head = self.configs
        config: dict[str, Any] = {
            "backbone": backbone.model_dump(mode="json"),
            "head": head.model_dump(mode="json"),
            "ensemble": len(self.heads),
        }
        weights = {f"heads.{name}": value for name, value in self.heads.state_dict().items()}
        if isinstance(self.backbone, ClipBackbone):
            config["tower"] = self.backbone.tower.config.to_dict()
        if isinstance(self.backbone, ClipBackbone) or self.backbone.trainable:
            weights |= {f"backbone.{name}": value for name, value in self.backbone.state_dict().items()}
        if self.text is not None:
            config["text"] = {
                **self.text.config.model_dump(mode="json"),
                "clip": self.text.clip.config.to_dict(),
            }
            weights |= {f"text.{name}": value for name, value in self.text.state_dict().items()}
            self.text.tokenizer.save_pretrained(folder / "tokenizer")
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
            head: HeadConfig = TypeAdapter(HeadConfig).validate_python(config["head"])
            text, clip = _saved_text(folder, config)
            model = cls(backbone, head, config["ensemble"], tower, text, clip)
            weights = load_file(folder / "model.safetensors")
            problems = model.load_state_dict(weights, strict=False)
        except (ValueError, KeyError, RuntimeError, ValidationError, OSError) as error:
            raise PrefPaintError(f"{folder}: is not a reward model of this program ({error})") from error
        written = tower is not None or model.backbone.trainable
        lacking = [name for name in problems.missing_keys if written or not name.startswith("backbone.")]
        if lacking or problems.unexpected_keys:
            name = (lacking + problems.unexpected_keys)[0]
            raise PrefPaintError(f"{folder / 'model.safetensors'}: weight {name} is missing or unknown")
        return model.eval()


def _saved_text(folder: Path, config: dict[str, Any]) -> tuple[TextConfig | None, tuple[Any, Any]]:
    """What was saved of the similarity: its configuration, CLIP without its weights, and the tokenizer."""
    if "text" not in config:
        return None, (None, None)
    from transformers import AutoTokenizer, CLIPConfig, CLIPModel

    given = dict(config["text"])
    clip = CLIPModel(CLIPConfig.from_dict(given.pop("clip")))
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    return TextConfig.model_validate(given), (clip, tokenizer)
