"""The values that DDPO's knobs have in the paper, and in DPOK."""

from prefpaint.alignment.preset import Preset

# Group advantages, few steps, chosen on the embedded model: the values that `AlignConfig` declares.
PRESET = Preset({}, kl=True)

# DDPO as in the paper and its code. γ is a parameter of its own, `gamma` (conf/paper has equation 8's numbers).
PUBLISHED = Preset(
    {
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
    },
    kl=True,
)

# DPOK (Fan et al. 2023, arXiv 2305.16381): the policy gradient with a KL penalty. It weighs rewards of spread 1 by 10
# and the KL by 0.01; advantages have spread 1 and weight 1 here.
DPOK = Preset({"kl": 1e-3}, kl=True)
