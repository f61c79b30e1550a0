"""What configuration knows of a mode: its values, and the knobs that it has no use for."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A mode's side of `AlignConfig`; what the mode does is under the same name in `modes.MODES`.

    Attributes:
        values: of knobs, at any depth, where they are not set.
        compares: whether samples are compared with each other. Only then are there advantages, several rewards,
            several updates per iteration, and something for a gate or pessimism to act on.
        kl: whether its loss has the KL divergence to the base.
        ceiling: whether its loss has the ceiling of predictions.
    """

    values: dict[str, Any]
    compares: bool = True
    kl: bool = False
    ceiling: bool = False
