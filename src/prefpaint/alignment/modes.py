"""Every way of aligning, by the name that `align.mode` has."""

from prefpaint.alignment.ddpo import DDPO
from prefpaint.alignment.dpo import DPO
from prefpaint.alignment.mode import Mode

# The first two differ in their knobs alone.
MODES: dict[str, Mode] = {"default": DDPO, "published": DDPO, "dpo": DPO}
