"""Align an inpainting diffusion model with human preference."""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prefpaint.applications.best import Chooser as Chooser
    from prefpaint.applications.best import inpaint as inpaint

# Nothing phones home, whatever the libraries' own defaults are. diffusers and transformers keep their advice (such as
# to install torchvision) to themselves. A variable that is already set keeps its value.
for _name, _value in {
    "DIFFUSERS_VERBOSITY": "error",
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "KEDRO_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}.items():
    os.environ.setdefault(_name, _value)


def __getattr__(name: str) -> Any:
    # Loaded when it is used: every command imports this package, and few paint.
    if name in ("Chooser", "inpaint"):
        from prefpaint.applications import best

        return getattr(best, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
