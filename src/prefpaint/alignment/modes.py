"""Every way of aligning, by its name in `align.mode`."""

from prefpaint.alignment.awm import AWM
from prefpaint.alignment.ddpo import DDPO
from prefpaint.alignment.dpo import DPO
from prefpaint.alignment.mode import Mode
from prefpaint.alignment.nft import NFT
from prefpaint.alignment.refl import REFL

# Three differ only in their knobs.
MODES: dict[str, Mode] = {
    "ddpo": DDPO,
    "published": DDPO,
    "dpok": DDPO,
    "dpo": DPO,
    "nft": NFT,
    "awm": AWM,
    "refl": REFL,
}
