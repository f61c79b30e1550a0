"""Every way of aligning, by its name in `align.mode`."""

from prefpaint.alignment.ddpo import DDPO
from prefpaint.alignment.dpo import DPO
from prefpaint.alignment.mode import Mode

# The first two differ only in their knobs.
MODES: dict[str, Mode] = {"default": DDPO, "published": DDPO, "dpo": DPO}
