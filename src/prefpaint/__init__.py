"""Align an inpainting diffusion model with human preference."""

import os

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
