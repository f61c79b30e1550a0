"""The values that modes on the forward process share."""

from typing import Any

# Chosen on validation prompts.
VALUES: dict[str, Any] = {
    "lr": 2e-4,
    "average": 0.5,
    "iterations": 4,
    "trained_steps": 2,
    "watch": {"every": 1},
}
