"""Alignment of the base model to the reward."""

from typing import Literal

from pydantic import Field, model_validator

from prefpaint.config import Config
from prefpaint.reward.config import GammaConfig


class AlignConfig(Config):
    """The `align` pipeline: DDPO with PPO clipping and trust-weighted rewards."""

    seed: int = Field(0, ge=0)
    iterations: int = Field(28, ge=1, description="Rounds of sampling and updating; time is proportional.")
    prompts: int = Field(32, ge=1, description="Prompts per iteration.")
    candidates: int = Field(
        8, ge=1, description="Samples of each prompt per iteration. Group advantages compare them with each other."
    )
    advantage: Literal["group", "batch"] = Field(
        "group",
        description="Reward minus the mean of its prompt's samples (image difficulty cancels), or normalised over "
        "the whole batch as published.",
    )
    gamma: GammaConfig = Field(GammaConfig(), description="What trust in the reward does to each sample.")
    advantage_clip: float = Field(5.0, gt=0, description="Advantages are cut to ± this.")
    steps: int = Field(6, ge=2, description="DDIM steps of the sampled chains.")
    trained_steps: int = Field(3, ge=1, description="Random steps of each chain that are trained on.")
    least_sigma: float = Field(
        0.1,
        ge=0,
        description="Steps with less noise than this are not trained: their draws hardly change the picture, yet the "
        "gradient of their log-probability grows as 1 / σ and drowns that of the others. 0 trains any random step.",
    )
    inner_updates: int = Field(
        1, ge=1, description="Optimiser steps per iteration; the samples are divided among them."
    )
    lr: float = Field(6e-5, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    clip: float = Field(1e-3, gt=0, description="PPO clip range of the ratio.")
    average: float = Field(
        0.9,
        ge=0,
        lt=1,
        description="Decay of the moving average of the policy's weights over iterations; the average is what is "
        "kept. It takes the noise of the last updates out; 0 keeps the last weights, as published.",
    )
    gradient_norm: float = Field(1.0, gt=0, description="Gradients are clipped to this norm.")
    kl: float = Field(
        0.0, ge=0, description="Weight of the KL divergence to the base; above 0 costs one more UNet pass per step."
    )
    hole_only: bool = Field(
        True, description="Log-probabilities over the hole's latents, or over all latents as published."
    )
    micro_batch: int = Field(128, ge=1, description="Samples per UNet call in training: memory and speed only.")
    checkpoint_every: int = Field(1, ge=1, description="Iterations between checkpoints.")

    @model_validator(mode="after")
    def _check(self) -> "AlignConfig":
        if self.trained_steps > self.steps:
            raise ValueError("trained_steps cannot exceed steps")
        if self.advantage == "group" and self.candidates < 2:
            raise ValueError("group advantages need candidates of at least 2")
        return self
