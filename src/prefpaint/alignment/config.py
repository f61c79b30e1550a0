"""Alignment of the base model to people's taste: its modes, and every knob of them."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from prefpaint.alignment import awm_config, ddpo_config, dpo_config, nft_config, refl_config, rewards_config
from prefpaint.alignment.watch_config import WatchConfig
from prefpaint.config import Config

PRESETS = {
    "ddpo": ddpo_config.PRESET,
    "published": ddpo_config.PUBLISHED,
    "dpok": ddpo_config.DPOK,
    "dpo": dpo_config.PRESET,
    "nft": nft_config.PRESET,
    "awm": awm_config.PRESET,
    "refl": refl_config.PRESET,
}
DEFAULT = "nft"


def over(preset: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Merge given values over presets, at every depth, so that setting one nested knob does not drop its neighbours.

    Args:
        preset: plain values and mappings; left as it is.
        given: plain values, mappings, or models. Only the fields of a model that were set count as given.
    """
    merged = dict(preset)
    for name, value in given.items():
        beneath = preset.get(name)
        inner = {key: getattr(value, key) for key in value.model_fields_set} if isinstance(value, BaseModel) else value
        if isinstance(beneath, Mapping) and isinstance(inner, Mapping):
            value = over(beneath, inner)
        merged[name] = value
    return merged


class LoraConfig(Config):
    """A low-rank adapter in the attention layers instead of all weights (peft)."""

    rank: int = Field(16, ge=1, description="Rank of each adapter; its memory is proportional.")
    alpha: int = Field(16, ge=1, description="The adapter's output is scaled by alpha / rank.")


class GateConfig(Config):
    """The pull of the least trusted samples (GARDO, arXiv 2512.24138), for `trust: gate`."""

    share: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Share of an iteration's samples that are pulled: those with the greatest trust widths. Their "
        "training costs one more pass of the network per trained step.",
    )
    weight: float = Field(
        1.0,
        gt=0,
        description="Weight of the pull of each such sample: of the KL divergence per step in modes ddpo, "
        "published and dpok, of the squared difference of predictions in nft and awm.",
    )
    refresh: float | None = Field(
        None,
        gt=0,
        description="When the samples' mean divergence from what they are pulled to exceeds this, the policy as it "
        "then is takes its place; costs a copy of the trained weights. Empty: the base throughout.",
    )


class AlignConfig(Config):
    """The `align` pipeline. A knob that is not set takes its mode's value (`PRESETS`)."""

    speed_only = frozenset(
        {
            *("rollout_batch", "micro_batch", "gradient_checkpointing"),
            *("processes", "checkpoint_every", "keep_last", "trackers"),
        }
    )

    mode: str = Field(
        DEFAULT,
        description="nft: DiffusionNFT; awm: advantage-weighted matching; ddpo: DDPO with group advantages; published: "
        "DDPO as published; dpok: DDPO with a KL penalty; dpo: Diffusion-DPO on the ratings themselves; refl: the "
        "learned reward's own gradient.",
    )
    seed: int = Field(0, ge=0, description="Seed of the order of prompts, the sampling noise and the trained steps.")
    iterations: int = Field(
        14,
        ge=1,
        description="Rounds of sampling and updating (dpo: one update each); time is proportional. May be raised "
        "afterwards: a finished run then continues.",
    )
    tune: Literal["auto", "full", "lora"] = Field(
        "auto",
        description="full: all weights; lora: an adapter, which takes no copy of the base and little optimiser memory, "
        "and needs a learning rate about ten times higher; auto: full for Stable Diffusion 1.5 and 2, lora for larger "
        "models.",
    )
    lora: LoraConfig = LoraConfig()
    lr: float = Field(1e-4, gt=0, description="AdamW's learning rate, constant throughout.")
    weight_decay: float = Field(0.01, ge=0, description="AdamW's weight decay.")
    gradient_norm: float | None = Field(
        1.0, gt=0, description="Gradients are clipped to this norm; empty: not clipped."
    )
    average: float = Field(
        0.9,
        ge=0,
        lt=1,
        description="Decay of the moving average of the policy's weights over iterations; the average is what is "
        "kept. It averages out the noise of the last updates; 0 keeps the last weights, as published.",
    )
    hole_only: bool = Field(
        True, description="Log-probabilities and errors over the hole's latents only; false: over all, as published."
    )
    watch: WatchConfig = WatchConfig()
    trust: Literal["weight", "gate", "pessimistic", "none"] = Field(
        "weight",
        description="What the trust width does. weight: γ multiplies each sample (`gamma`), in dpo each pair by the "
        "geometric mean of its fills' γ; gate: the least trusted samples are pulled back (`gate`); pessimistic: the "
        "reward r is lowered to r − pessimism · width; none: nothing, trust is not consulted. dpo and refl take "
        "weight or none.",
    )
    gate: GateConfig = GateConfig()
    pessimism: float = Field(
        0.5, ge=0, description="For trust pessimistic: score units taken off per unit of width (`gamma.unit`)."
    )
    norm_ceiling: float = Field(
        0.0,
        ge=0,
        description="Weight of the squared excess of predictions' root mean square in the hole over the base's, in "
        "modes nft, awm and dpo (NormGuard). 0: no ceiling; above 0 costs one more pass of the network per trained "
        "step, unless the mode compares with the base anyway.",
    )

    # For the modes that sample: all but dpo. refl compares no samples and trains on the last steps.
    prompts: int = Field(32, ge=1, description="Prompts per iteration, over all processes.")
    candidates: int = Field(
        8, ge=1, description="Samples of each prompt per iteration. Group advantages compare them with each other."
    )
    rewards: rewards_config.Rewards = Field(
        rewards_config.ALONE,
        description="What is raised, by name: one reward or several. null in conf/local removes one.",
    )
    combine: Literal["sum", "rank"] = Field(
        "sum",
        description="sum: the weighted sum; of several, each is divided by its spread first, so that weights compare; "
        "rank: the weighted mean of each sample's ranks among its prompt's, which no outlier can dominate.",
    )
    advantage: Literal["group", "batch"] = Field(
        "group",
        description="group: reward minus the mean of its prompt's samples (image difficulty cancels); batch: reward "
        "normalised over the whole batch, as published.",
    )
    advantage_clip: float = Field(5.0, gt=0, description="Advantages are clipped to ± this.")
    steps: int = Field(5, ge=2, description="DDIM steps of the sampled chains.")
    trained_steps: int = Field(
        2,
        ge=1,
        description="Random steps of each chain that are trained on; in nft and awm the noise levels of those steps.",
    )
    least_sigma: float = Field(
        0.1,
        ge=0,
        description="Steps with less noise than this are not trained: their draws hardly change the picture, yet the "
        "gradient of their log-probability grows as 1 / σ and drowns that of the others. 0 trains any random step.",
    )
    inner_updates: int = Field(
        1,
        ge=1,
        description="Optimiser steps per iteration; the samples are divided among them. With 1, the value of every "
        "mode, the policy that learns is the one that sampled: all probability ratios are 1, up to rounding, and "
        "`clip` has no effect.",
    )
    clip: float = Field(
        1e-3,
        gt=0,
        description="PPO's clip range of the probability ratio. It acts only where `inner_updates` is above 1, from "
        "the second update of an iteration on.",
    )
    kl: float = Field(
        0.0,
        ge=0,
        description="Weight of the KL divergence to the base, in modes ddpo, published and dpok; above 0 costs one "
        "more network pass per step.",
    )

    dpo: dpo_config.DPOConfig = Field(dpo_config.DPOConfig(), description="For mode dpo.")
    nft: nft_config.NFTConfig = Field(nft_config.NFTConfig(), description="For mode nft.")
    awm: awm_config.AWMConfig = Field(awm_config.AWMConfig(), description="For mode awm.")
    refl: refl_config.ReFLConfig = Field(refl_config.ReFLConfig(), description="For mode refl.")

    # Memory, speed and bookkeeping: never the result.
    rollout_batch: int = Field(
        128, ge=1, description="Images per call of the network in sampling; without gradients, many fit."
    )
    micro_batch: int = Field(128, ge=1, description="Images per call of the network in training.")
    gradient_checkpointing: bool = Field(
        False, description="Recompute activations instead of keeping them: a third more time, far less memory."
    )
    processes: int = Field(
        1, ge=1, description="Processes started on this machine, one per GPU; ignored under an outer torchrun."
    )
    checkpoint_every: int = Field(1, ge=1, description="Iterations between checkpoints; a kill loses at most these.")
    keep_last: int = Field(2, ge=1, description="Checkpoints kept, in addition to the best weights so far.")
    trackers: tuple[str, ...] = Field(
        ("tensorboard",),
        description="Experiment trackers, by accelerate's names. Trackers other than tensorboard may send data online.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, given: Any) -> Any:
        """Let the mode decide what is not set."""
        if not isinstance(given, dict):
            return given
        mode = given.get("mode", DEFAULT)
        # Anything but a string is not a mode; the field's own check says so.
        return over(PRESETS[mode].values if isinstance(mode, str) and mode in PRESETS else {}, given)

    @field_validator("mode")
    @classmethod
    def _known(cls, mode: str) -> str:
        if mode not in PRESETS:
            raise ValueError(f"must be one of {', '.join(PRESETS)}")
        return mode

    @model_validator(mode="after")
    def _check(self) -> "AlignConfig":
        if self.trained_steps > self.steps:
            raise ValueError("trained_steps cannot exceed steps")
        if self.refl.last_steps > self.steps:
            raise ValueError("refl.last_steps cannot exceed steps")
        preset = PRESETS[self.mode]
        if preset.compares and self.advantage == "group" and self.candidates < 2:
            raise ValueError("group advantages need candidates of at least 2")
        if not preset.compares and self.trust in ("gate", "pessimistic"):
            raise ValueError(
                f"trust: {self.trust} needs samples that are compared, which mode {self.mode} does not have; set "
                "weight or none"
            )
        if self.norm_ceiling > 0 and not preset.ceiling:
            raise ValueError(f"norm_ceiling: mode {self.mode} has none; set it to 0")
        if self.kl > 0 and not preset.kl:
            raise ValueError(f"kl: mode {self.mode} has none; set it to 0 (nft, awm and refl have a pull of their own)")
        if self.inner_updates > 1 and not preset.compares:
            raise ValueError(f"inner_updates: mode {self.mode} makes one update per iteration; set it to 1")
        rewards_config.check_rewards(self.rewards)
        if not preset.compares and not self.learned_alone:
            raise ValueError(
                f"rewards: mode {self.mode} raises no rewards of your choice; leave rewards and combine out"
            )
        if self.trust in ("gate", "pessimistic") and not self.raises_learned:
            raise ValueError(f"trust: {self.trust} needs a reward of kind learned among rewards; set weight or none")
        if self.combine == "rank" and self.advantage != "group":
            raise ValueError("combine: rank compares the samples of one prompt and needs advantage: group")
        if self.processes > self.prompts:
            raise ValueError(f"processes cannot exceed prompts ({self.prompts}): each process samples its own")
        return self

    @property
    def learned_alone(self) -> bool:
        """Whether the learned reward is raised as it is."""
        return self.rewards == rewards_config.ALONE and self.combine == "sum"

    @property
    def raises_learned(self) -> bool:
        """Whether the learned reward, and with it trust, is among what is raised."""
        return any(reward.kind == "learned" for reward in self.rewards.values())

    def identity(self) -> dict[str, Any]:
        """What the weights after an iteration depend on: everything but memory, speed, bookkeeping and `iterations`."""
        rewards = {"rewards": rewards_config.identity_of(self.rewards)}
        return self.model_dump(mode="json", exclude={"iterations", *self.speed_only}) | rewards
