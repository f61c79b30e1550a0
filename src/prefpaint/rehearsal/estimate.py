"""What a whole run takes, from the parameters of its environment and the costs of single passes.

GPU hours = operations / (peak · share · 3600). Operations = Σ passes · operations of a pass. Training a sample counts
as three passes, one forward and a backward of twice that; with gradient checkpointing as four.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefpaint.alignment.config import AlignConfig
from prefpaint.errors import PrefPaintError
from prefpaint.evaluation.config import EvaluateConfig
from prefpaint.evaluation.samples import METHODS, NOISE_SETS
from prefpaint.inpainting.candidates import CandidatesConfig
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.masks.config import RATED_SPLITS, MasksConfig
from prefpaint.rehearsal.flops import Costs
from prefpaint.reward.config import RewardConfig

# Passes of the trained network that a sample's step counts for.
FORWARD_AND_BACKWARD, RECOMPUTED = 3, 1
# Modes whose passes are counted below.
COUNTED = ("ddpo", "published", "dpok")
# What a trained weight takes in bytes: in sampling's precision as base and as policy, and its gradient there; the
# float32 master, its gradient, and AdamW's two moments. The moving average takes four more.
AS_NETWORK, GRADIENT, MASTER = 2, 1, 4 + 4 + 8
AVERAGE = 4


@dataclass(frozen=True)
class Work:
    """What a stage of a whole run does.

    Attributes:
        evaluations: passes of the network for one picture, those of training included.
        pictures: painted, each encoded and decoded once.
        tower: passes of the reward's image tower for one picture, training counted as three.
    """

    evaluations: int = 0
    pictures: int = 0
    tower: int = 0

    def operations(self, cost: Costs) -> float:
        """Floating-point operations."""
        pictures = self.pictures * (cost.encode + cost.decode)
        return self.evaluations * cost.network + pictures + self.tower * cost.tower


@dataclass(frozen=True)
class Scale:
    """The parameters of a whole run that its cost depends on; see `Scale.of`."""

    masks: MasksConfig
    candidates: CandidatesConfig
    sampling: SamplingConfig
    reward: RewardConfig
    align: AlignConfig
    evaluate: EvaluateConfig

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> "Scale":
        """From an environment's parameters.

        Args:
            parameters: merged, as the YAML files have them.

        Raises:
            PrefPaintError: alignment is of a mode whose passes are not counted.
        """
        fields: Mapping[str, Any] = {name: field.type for name, field in cls.__dataclass_fields__.items()}
        scale = cls(**{name: kind.model_validate(parameters[name]) for name, kind in fields.items()})
        if scale.align.mode not in COUNTED:
            raise PrefPaintError(
                f"align.mode: an estimate is made for {', '.join(COUNTED)}, not for {scale.align.mode}; set one of "
                "these in conf/paper"
            )
        return scale

    @property
    def rated(self) -> int:
        """Prompts that get candidates and ratings."""
        return sum(self.masks.prompts[split] for split in RATED_SPLITS)

    @property
    def rated_pictures(self) -> int:
        """Candidates of all prompts."""
        return self.rated * self.candidates.per_prompt

    @property
    def evaluated_pictures(self) -> int:
        """Samples of base and aligned model."""
        prompts = sum(self.masks.prompts[split] for split in self.evaluate.splits)
        return len(METHODS) * prompts * len(NOISE_SETS) * self.evaluate.samples

    @property
    def passes(self) -> int:
        """Of the network for one step of one picture: guidance between equal texts is skipped."""
        sampling = self.sampling
        return 1 + (sampling.guidance != 1 and sampling.text_prompt != sampling.negative_text_prompt)

    def work(self) -> dict[str, Work]:
        """What each stage does. An alignment that its referee stops early does less."""
        return {
            "candidates": Work(self.rated_pictures * self.sampling.steps * self.passes, self.rated_pictures),
            "reward": Work(tower=self._trained("train") + 2 * self.rated_pictures),
            "align": self._align(),
            "evaluate": Work(
                self.evaluated_pictures * self.sampling.steps * self.passes,
                self.evaluated_pictures,
                2 * self.evaluated_pictures,
            ),
        }

    def _trained(self, split: Any) -> int:
        """Tower passes of a reward's training: every candidate and its prompt in every epoch."""
        pictures = self.masks.prompts[split] * (self.candidates.per_prompt + 1)
        return self.reward.epochs * pictures * FORWARD_AND_BACKWARD

    def _align(self) -> Work:
        align = self.align
        samples = align.iterations * align.prompts * align.candidates
        each = FORWARD_AND_BACKWARD + RECOMPUTED * align.gradient_checkpointing + (align.kl > 0)
        watched = min(align.watch.prompts, self.masks.prompts["validation"])
        looks = -(-align.iterations // align.watch.every)
        # A look paints, and asks policy and base for the means of every step; before the first, the base paints.
        evaluations = samples * (align.steps + align.trained_steps * each) + watched * align.steps * (1 + 3 * looks)
        pictures = samples + watched * (1 + looks)
        return Work(evaluations * self.passes, pictures, 2 * pictures + self._trained("test"))


def hours(operations: float, peak: float, share: float) -> float:
    """GPU hours.

    Args:
        operations: floating-point operations.
        peak: of one GPU, TFLOP/s.
        share: of the peak that is reached.
    """
    return operations / (peak * 1e12 * share) / 3600


def tuning_bytes(weights: int, average: float) -> int:
    """Memory of one GPU for weights, gradients and optimiser, tuning all weights in bfloat16; activations aside.

    Args:
        weights: of the network.
        average: decay of the moving average; at 0 it takes nothing.
    """
    return weights * (2 * AS_NETWORK + 2 * GRADIENT + MASTER + AVERAGE * (average > 0))


def checkpoint_bytes(weights: int, average: float) -> int:
    """One training state on disk: masters and AdamW's two moments, and the moving average, in float32."""
    return weights * (4 + 8 + AVERAGE * (average > 0))
