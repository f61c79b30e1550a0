"""The values that modes on the forward process share."""

from typing import Any

# Chosen on validation prompts of the demo and of the held-out photographs.
VALUES: dict[str, Any] = {
    "lr": 2e-4,
    "average": 0.5,
    "iterations": 6,
    "trained_steps": 2,
    "watch": {"every": 2},
}
