"""The values that DDPO's knobs have in the paper."""

from typing import Any

# DDPO as in the paper and its code. γ is a parameter of its own, `gamma` (conf/paper has equation 8's numbers).
PUBLISHED: dict[str, Any] = {
    "iterations": 1000,
    "watch": {"every": 25},
    "prompts": 16,
    "candidates": 1,
    "advantage": "batch",
    "steps": 50,
    "trained_steps": 5,
    "least_sigma": 0.0,
    "lr": 2e-6,
    "clip": 1e-4,
    "average": 0.0,
    "gradient_norm": None,
    "hole_only": False,
}
