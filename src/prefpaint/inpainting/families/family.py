"""What one kind of inpainting checkpoint does in its own way."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from prefpaint.errors import PrefPaintError
from prefpaint.inpainting.chain import Levels, Schedule
from prefpaint.inpainting.config import SamplingConfig

# What the text encoders make of one text, by the network's argument; each (1, ...), or (N, ...) for N images.
Text = Mapping[str, Tensor]


@dataclass(frozen=True)
class Condition:
    """What the network is told about N prompts; float32.

    Attributes:
        mask: (N, 1, h, w) in {0, 1}, 1 where latents are missing.
        known: (N, K, h, w), the rest of what the family's network is shown beside latents: scaled latents of the image
            with its hole set to mid-grey and, with some families, the mask at full resolution.
        text: (N,) int64, numbers of their texts among those that the inpainter knows; None for the first of them.
        guided: whether guidance changes anything for any of them.
    """

    mask: Tensor
    known: Tensor
    text: Tensor | None = None
    guided: bool = False

    def __getitem__(self, rows: slice | Tensor) -> "Condition":
        text = None if self.text is None else self.text[rows]
        return Condition(self.mask[rows], self.known[rows], text, self.guided)

    def to(self, dtype: torch.dtype) -> "Condition":
        """The same in another precision."""
        return replace(self, mask=self.mask.to(dtype), known=self.known.to(dtype))

    @classmethod
    def joined(cls, parts: Sequence["Condition"]) -> "Condition":
        """The prompts of several, one after another."""
        mask, known = (torch.cat([getattr(part, name) for part in parts]) for name in ("mask", "known"))
        text = None
        if any(part.text is not None for part in parts):
            first = torch.zeros(1, dtype=torch.int64, device=mask.device)
            numbers = [first.expand(len(part.mask)) if part.text is None else part.text for part in parts]
            text = torch.cat(numbers)
        return cls(mask, known, text, any(part.guided for part in parts))

    def twice(self) -> "Condition":
        """All prompts, and all again."""
        text = None if self.text is None else self.text.repeat(2)
        return Condition(self.mask.repeat(2, 1, 1, 1), self.known.repeat(2, 1, 1, 1), text, self.guided)


# The projections of every attention layer, as in diffusers' own training scripts; the second, of layers in which text
# and picture attend to each other.
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
JOINT_ATTENTION = (*ATTENTION, "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")


def side_of(size: int | Sequence[int]) -> int:
    """One number for the side of pictures or latents of a size as diffusers' configurations have it.

    Args:
        size: a side, or height and width, of which the square of the same area is meant.
    """
    return size if isinstance(size, int) else round(math.sqrt(math.prod(size)))


class Family(ABC):
    """A kind of inpainting checkpoint; one object for one checkpoint.

    A new family is one file with a subclass, and its line in `FAMILIES`. Everything else (batches, seeds, chains,
    alignment) is written against this class.

    Args:
        pipe: a diffusers pipeline of one of `pipelines`.

    Attributes:
        name: in sentences.
        pipelines: names of the diffusers classes that such checkpoints say they are of; the first is what they are
            loaded as.
        network_name: the component that predicts, which is what alignment tunes.
        network_class: the diffusers class of it.
        parts: the components that a checkpoint must have.
        sized: the component whose `sample_size` is that of the pictures it was trained on.
        schedulers: names of the diffusers schedulers whose noise levels the family reads.
        lora_targets: the layers of the network that an adapter is put into.
        tune: what alignment tunes where that is not set.
        classifier_free: whether guidance mixes two predictions; otherwise its strength is an input of the network.
        spare_draws: tensors of latents' shape that the stock pipeline draws and does not use before the first latents.
        shifts: whether latents have an offset, the VAE's `shift_factor`.
        patch: side, in latents, of what the network takes as one token; pictures must be divisible by it.
    """

    name: ClassVar[str]
    pipelines: ClassVar[tuple[str, ...]]
    network_name: ClassVar[str] = "transformer"
    network_class: ClassVar[str]
    parts: ClassVar[tuple[str, ...]]
    sized: ClassVar[str] = "transformer"
    schedulers: ClassVar[tuple[str, ...]] = ("FlowMatchEulerDiscreteScheduler",)
    lora_targets: ClassVar[tuple[str, ...]] = JOINT_ATTENTION
    tune: ClassVar[Literal["full", "lora"]] = "lora"
    classifier_free: ClassVar[bool] = True
    spare_draws: ClassVar[int] = 0
    shifts: ClassVar[bool] = True
    patch: ClassVar[int] = 1

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe

    @property
    def network(self) -> Any:
        """The network as it was loaded."""
        return getattr(self.pipe, self.network_name)

    @property
    def checkpoint(self) -> str:
        """What the checkpoint was loaded from, for messages."""
        return self.pipe.name_or_path or "the checkpoint"

    @property
    def factor(self) -> int:
        """Pixels along a side of one latent."""
        return int(self.pipe.vae_scale_factor)

    @property
    def channels(self) -> int:
        """Of latents."""
        return int(self.pipe.vae.config.latent_channels)

    @property
    def wanted_channels(self) -> int:
        """Input channels of an inpainting network: latents, mask, latents of what is known."""
        return 2 * self.channels + 1

    @property
    def native_size(self) -> int:
        """Side in pixels of the pictures that the checkpoint was trained on."""
        return side_of(self.network.config.sample_size) * self.factor

    def check(self) -> None:
        """Look at every number of a checkpoint's configurations that this family does not read itself.

        Raises:
            PrefPaintError: the parts are not those of this family, or one of them needs what the family does not do.
        """
        lacking = [name for name in self.parts if getattr(self.pipe, name, None) is None]
        if lacking:
            raise self.refusal(f"has no {lacking[0]}", "give a complete checkpoint")
        for name, wanted in ((self.network_name, self.network_class), ("vae", "AutoencoderKL")):
            found = type(getattr(self.pipe, name)).__name__
            if found != wanted:
                raise self.refusal(f"has {found} as its {name}, and not {wanted}", self._whole)
        channels = self.network.config.in_channels
        if channels != self.wanted_channels:
            raise PrefPaintError(
                f"{self.checkpoint}: its {self.network_name} takes {channels} input channels, that of {self.name} "
                f"takes {self.wanted_channels}; give an inpainting checkpoint"
            )
        kind = type(self.pipe.scheduler).__name__
        if kind not in self.schedulers:
            raise self.refusal(
                f"has the scheduler {kind}, whose noise levels are of another kind", f"give it {self.schedulers[0]}"
            )
        if getattr(self.pipe, self.sized).config.sample_size is None:
            raise self.refusal(f"has a {self.sized} without sample_size", f"write it into {self.sized}/config.json")
        self._check_vae()
        for what, found, wanted in self.widths():
            if found != wanted:
                raise self.refusal(f"has {what} of width {found} instead of {wanted}", self._whole)

    _whole = "correct _class_name in its model_index.json, or copy all parts from one checkpoint"

    def refusal(self, reason: str, advice: str) -> PrefPaintError:
        """What to say of a checkpoint that is not what it says.

        Args:
            reason: a verb and what follows, such as `has no vae`.
            advice: what to do about it.
        """
        return PrefPaintError(f"{self.checkpoint}: says that it is of {self.name}, but {reason}; {advice}")

    def _check_vae(self) -> None:
        """Raise for units of the latents that would not be those that the network was trained in."""
        config = self.pipe.vae.config
        scale, shift = config.scaling_factor, config.shift_factor or 0.0
        if not isinstance(scale, (int, float)) or not (math.isfinite(scale) and scale > 0):
            raise self.refusal(
                f"has {scale} as scaling_factor of its vae", "write the number it was trained with into vae/config.json"
            )
        if not math.isfinite(shift) or (shift and not self.shifts):
            raise self.refusal(
                f"has {shift:g} as shift_factor of its vae, which this family's pipelines do not apply",
                "copy the vae that belongs to it",
            )
        if config.latents_mean is not None or config.latents_std is not None:
            raise self.refusal(
                "has latents_mean and latents_std in its vae, by which this family's latents are not scaled",
                "copy the vae that belongs to it",
            )

    def widths(self) -> list[tuple[str, Any, Any]]:
        """What must fit: its name, its width, and the width that the network takes."""
        return []

    @abstractmethod
    def schedule(self, steps: int, eta: float, shape: tuple[int, int, int]) -> Schedule:
        """The chain for latents of some shape (C, h, w)."""

    @abstractmethod
    def encode_text(self, words: str, device: torch.device, negative: bool) -> Text:
        """What the text encoders, which are on the device, make of a text; `negative` for one to steer away from."""

    def condition(self, holes: Tensor, known: Tensor) -> Condition:
        """What the network is told.

        Args:
            holes: (N, 1, H, W) float32, 1 where pixels are missing.
            known: (N, C, h, w), scaled latents of the image without its hole.
        """
        return Condition(F.interpolate(holes, known.shape[-2:]), known)

    def stock_paints(self, sampling: SamplingConfig) -> bool:
        """Whether diffusers' own call can paint a chain; the steps of flows are Euler's there, which are not random."""
        return sampling.eta == 0

    def stock_call(self, sampling: SamplingConfig) -> dict[str, Any] | None:
        """Arguments, besides the pictures and a generator, with which diffusers' own call paints the same chain.

        Returns:
            None where it cannot.
        """
        if not self.stock_paints(sampling):
            return None
        negative = {"negative_prompt": sampling.negative_text_prompt} if self.classifier_free else {}
        return {
            "prompt": sampling.text_prompt,
            **negative,
            "strength": 1.0,
            "num_inference_steps": sampling.steps,
            "guidance_scale": sampling.guidance,
        }

    @abstractmethod
    def predict(
        self, network: Any, latents: Tensor, level: Levels, condition: Condition, text: Text, guidance: float
    ) -> Tensor:
        """One pass of the network.

        Args:
            network: of this family, in the precision of the tensors.
            latents: (N, C, h, w).
            level: one for all, or N.
            condition: of the N prompts.
            text: (N, ...).
            guidance: strength, for families that are told it.

        Returns:
            (N, C, h, w), in the network's precision.
        """
