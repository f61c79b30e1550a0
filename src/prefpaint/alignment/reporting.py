"""What an alignment run comes to, as flat metrics."""

import pandas as pd

from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.watch import best, hacked

# Judges whose opinion alignment does not raise.
INDEPENDENT = ("referee", "noiseless")
# Of the look at held-out prompts whose weights are the result.
WATCHED = ("kl", "brightness", "saturation", "sharpness")


def align_metrics(
    history: pd.DataFrame, watched: pd.DataFrame, config: AlignConfig, fell_back: bool
) -> dict[str, float | int]:
    """Figures of a finished run.

    Args:
        history: one row per iteration.
        watched: one row per look at held-out prompts.
        config: of the run.
        fell_back: whether `config.gamma` asks for trust weights and 1 was used, because trust carries no information.

    Returns:
        Rounded to six digits. Some keys are of one mode only: reward_*, gamma_mean, gamma_spread, ratio_*,
        clip_fraction and rewards_dropped where fills are sampled, loss_* in mode dpo.
    """
    looks = watched.to_dict("records")
    chosen = looks[best(looks)]
    window = max(1, len(history) // 5)
    weighed = config.mode != "dpo" or config.dpo.trust_weighted
    metrics: dict[str, float | int] = {
        "iterations": len(history),
        "unet_evaluations": int(history["unet_evaluations"].iloc[-1]),
        "gamma_fell_back": int(fell_back and weighed),
        "watch_best_iteration": int(chosen["iteration"]),
        "watch_stopped_early": int(len(history) < config.iterations),
        **{f"watch_hacked_by_{name}": int(hacked(looks, name)) for name in INDEPENDENT if name in chosen},
        **{f"watch_{name}": chosen[name] for name in WATCHED},
        **{f"watch_{name}": value for name, value in chosen.items() if "_gain" in name},
    }
    if config.mode == "dpo":
        metrics["loss_first_fifth"] = float(history["loss"].head(window).mean())
        metrics["loss_last_fifth"] = float(history["loss"].tail(window).mean())
    else:
        metrics |= {
            "reward_first_fifth": float(history["reward"].head(window).mean()),
            "reward_last_fifth": float(history["reward"].tail(window).mean()),
            "gamma_mean": float(history["gamma"].mean()),
            "gamma_spread": float(history["gamma_spread"].mean()),
            "ratio_least": float(history["ratio_least"].min()),
            "ratio_most": float(history["ratio_most"].max()),
            "clip_fraction": float(history["clipped"].mean()),
            "rewards_dropped": int(history["rewards_dropped"].sum()),
        }
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in metrics.items()}
