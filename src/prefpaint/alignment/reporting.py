"""The outcome of an alignment run, as flat metrics."""

import pandas as pd

from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.modes import MODES
from prefpaint.alignment.watch import best, hacked

# Judges whose opinion alignment does not raise.
INDEPENDENT = ("referee", "noiseless")
# Figures of the look at held-out prompts whose weights are the result; chains without random steps have no kl.
WATCHED = ("kl", "brightness", "saturation", "sharpness")


def align_metrics(
    history: pd.DataFrame, watched: pd.DataFrame, config: AlignConfig, fell_back: bool
) -> dict[str, float | int]:
    """Figures of a finished run.

    Args:
        history: one row per iteration.
        watched: one row per look at held-out prompts.
        config: of the run.
        fell_back: whether trust was left out (`job.left_out`), because its width carries no information.

    Returns:
        Rounded to six digits. Those of every mode, NAME_first_fifth and NAME_last_fifth of the mode's objective, and
        the mode's own.
    """
    looks = watched.to_dict("records")
    chosen = looks[best(looks)]
    mode, window = MODES[config.mode], max(1, len(history) // 5)
    metrics: dict[str, float | int] = {
        "iterations": len(history),
        "network_evaluations": int(history["network_evaluations"].iloc[-1]),
        "gamma_fell_back": int(fell_back),
        "watch_best_iteration": int(chosen["iteration"]),
        "watch_stopped_early": int(len(history) < config.iterations),
        **{f"watch_hacked_by_{name}": int(hacked(looks, name)) for name in INDEPENDENT if name in chosen},
        **{f"watch_{name}": chosen[name] for name in WATCHED if name in chosen},
        **{f"watch_{name}": value for name, value in chosen.items() if "_gain" in name},
        f"{mode.objective}_first_fifth": float(history[mode.objective].head(window).mean()),
        f"{mode.objective}_last_fifth": float(history[mode.objective].tail(window).mean()),
        **mode.metrics(history),
    }
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in metrics.items()}
