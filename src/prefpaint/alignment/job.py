"""What an alignment starts from: the results of earlier stages, and configurations."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.rewards import WeightedRewards, digests, make_rewards
from prefpaint.alignment.scorers import PlainReward, Prompts, Scorer, TrustedReward
from prefpaint.config import fingerprint
from prefpaint.images import ImageFolder
from prefpaint.inpainting.checkpoint import module_digest
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.masks.words import text_prompts
from prefpaint.preferences.simulated import NoiselessRater
from prefpaint.reward.config import RewardConfig
from prefpaint.reward.model import RewardModel
from prefpaint.reward.training import RatedImages
from prefpaint.trust.config import GammaConfig
from prefpaint.trust.fit import Trust
from prefpaint.trust.gamma import Amplification, amplification_to_align, usable


def left_out(config: AlignConfig, trust: Trust, gamma: GammaConfig) -> bool:
    """Whether trust is asked for, but nothing is done with it because its width carries no information.

    Raises:
        PrefPaintError: it carries none, and `gamma.uninformative` is `refuse`.
    """
    if config.trust == "weight":
        return amplification_to_align(trust, gamma).fell_back
    return config.trust != "none" and not usable(trust, gamma)


@dataclass(frozen=True)
class Job:
    """Everything an alignment starts from.

    Attributes:
        base: the base pipeline; it is not changed.
        reward_model, trust: of the `reward` and `bound` pipelines, fitted to train ratings.
        referee: a reward model of test ratings, which the optimised reward has not seen.
        prompts: table with prompt_id, split, image_sha256 and, where there are words, text_prompt.
        prompt_images, prompt_masks, candidate_images: folders.
        scores: table with candidate_id, prompt_id, split, score.
        rater: the simulated raters without their noise; None when people rated.
        config, gamma, sampling, reward: configurations. Alignment samples chains of its own length, `config.steps`.
        scorer: used instead of `reward_model`, `trust` and `config.rewards`, by modes that sample and compare.
    """

    base: Any
    reward_model: RewardModel
    trust: Trust
    referee: RewardModel
    prompts: pd.DataFrame
    prompt_images: ImageFolder
    prompt_masks: ImageFolder
    candidate_images: ImageFolder
    scores: pd.DataFrame
    rater: NoiselessRater | None
    config: AlignConfig
    gamma: GammaConfig
    sampling: SamplingConfig
    reward: RewardConfig
    scorer: Scorer | None = None

    def prompts_of(self, split: str) -> Prompts:
        """The prompts of one split."""
        of_split = self.prompts[self.prompts["split"] == split]
        ids = of_split["prompt_id"].tolist()
        return Prompts(ids, self.prompt_images, self.prompt_masks, text_prompts(of_split))

    def rated(self, split: str = "train") -> RatedImages:
        """The rated fills of one split."""
        rows = self.scores[self.scores["split"] == split]
        return RatedImages.of(self.candidate_images, self.prompt_masks, rows, text_prompts(self.prompts))

    def reward_to_raise(self) -> Scorer:
        """What is raised by modes that sample.

        Raises:
            PrefPaintError: see `left_out` and `make_rewards`.
        """
        return self.scorer or self.several_rewards or self._learned()

    @cached_property
    def several_rewards(self) -> WeightedRewards | None:
        """What `config.rewards` names; None where that is the learned reward alone, or `scorer` takes its place."""
        if self.scorer or self.config.learned_alone:
            return None
        return make_rewards(self.config, self._learned)

    def _learned(self) -> PlainReward | TrustedReward:
        config, batch = self.config, self.reward.score_batch
        # With weights left out the widths are still recorded.
        if config.trust == "none" or (config.trust != "weight" and left_out(config, self.trust, self.gamma)):
            return PlainReward(self.reward_model, batch)
        pessimism = config.pessimism if config.trust == "pessimistic" else 0.0
        return TrustedReward(self.reward_model, self.trust, self.weigh(), batch, config.trust == "weight", pessimism)

    def weigh(self) -> Amplification:
        """How trust weighs samples.

        Raises:
            PrefPaintError: trust carries no information, and `gamma.uninformative` is `refuse`.
        """
        return amplification_to_align(self.trust, self.gamma)

    def inputs(self) -> dict[str, Any]:
        """What an unfinished run is recognised by, besides its configuration."""
        trusted = self.config.trust != "none"
        return {
            "gamma": self.gamma.model_dump(mode="json") if trusted else None,
            "reward model": module_digest(self.reward_model),
            "trust": self.trust.digest() if trusted else None,
            "referee": module_digest(self.referee),
            "prompt table": fingerprint(
                self.prompts[["prompt_id", "split", "image_sha256"]].to_dict("records"),
                # Runs from before prompts had words stay valid without any.
                *([words] if any((words := text_prompts(self.prompts)).values()) else []),
            ),
            "score table": fingerprint(self.scores[["candidate_id", "score"]].to_dict("records")),
            "rewards": digests(self.config),
        }
