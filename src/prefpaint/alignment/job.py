"""One alignment put together from what the stages before left: base, reward, trust, ratings, prompts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.ddpo import PolicyGradient
from prefpaint.alignment.dpo import RatedPairs
from prefpaint.alignment.loop import Aligner, Method, Result
from prefpaint.alignment.scorers import Prompts, Scorer, TrustedReward
from prefpaint.alignment.watch import Judge, Watch
from prefpaint.config import fingerprint
from prefpaint.images import ImageFolder
from prefpaint.inpainting.checkpoint import module_digest
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.sampling import Inpainter
from prefpaint.preferences.simulated import NoiselessRater
from prefpaint.reward.config import RewardConfig
from prefpaint.reward.model import RewardModel
from prefpaint.reward.training import RatedImages
from prefpaint.trust.fit import Trust
from prefpaint.trust.gamma import amplification_to_align


@dataclass(frozen=True)
class Job:
    """Everything an alignment starts from.

    Attributes:
        base: the base pipeline; left as it is.
        reward_model, trust: of the `reward` and `bound` pipelines, fitted to train ratings.
        referee: a reward model of test ratings, which the optimised reward has not seen.
        prompts: table with prompt_id, split, image_sha256.
        prompt_images, prompt_masks, candidate_images: folders.
        scores: table with candidate_id, prompt_id, split, score.
        rater: the simulated raters without their noise; None when people rated.
        config, sampling, reward: configurations. Alignment walks chains of its own length, `config.steps`.
        scorer: rewards instead of `reward_model` under `trust`.
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
    sampling: SamplingConfig
    reward: RewardConfig
    scorer: Scorer | None = None

    def run(self, workspace: Path, title: str = "align") -> Result:
        """Align, going on from the workspace; in several processes each calls this.

        Raises:
            PrefPaintError: see `Aligner.run`, `PolicyGradient` and `RatedPairs`.
        """
        chain = self.sampling.model_copy(update={"steps": self.config.steps})
        inpainter = Inpainter(self.base, chain)
        self.reward_model.to(inpainter.device)
        self.referee.to(inpainter.device)
        method = self._pairs(inpainter) if self.config.mode == "dpo" else self._rollouts(inpainter)
        return Aligner(inpainter, method, self.config, self._watch(inpainter)).run(workspace, title)

    def _prompts(self, split: str) -> Prompts:
        ids = self.prompts.loc[self.prompts["split"] == split, "prompt_id"].tolist()
        return Prompts(ids, self.prompt_images, self.prompt_masks)

    def inputs(self) -> dict[str, str]:
        """What an unfinished run is recognised by, besides its configuration."""
        return {
            "reward model": module_digest(self.reward_model),
            "trust": self.trust.digest(),
            "referee": module_digest(self.referee),
            "prompts": fingerprint(self.prompts[["prompt_id", "split", "image_sha256"]].to_dict("records")),
            "scores": fingerprint(self.scores[["candidate_id", "score"]].to_dict("records")),
        }

    def _rollouts(self, inpainter: Inpainter) -> Method:
        weigh = amplification_to_align(self.trust, self.config.gamma)
        scorer = self.scorer or TrustedReward(self.reward_model, self.trust, weigh, self.reward.score_batch)
        return PolicyGradient(inpainter, scorer, self._prompts("train"), self.config, self.inputs())

    def _watch(self, inpainter: Inpainter) -> Watch:
        """Validation prompts, judged by the reward, by the referee and, where ratings are simulated, noiselessly."""

        def by(model: RewardModel) -> Judge:
            return lambda images, masks: model.score(images, masks, self.reward.score_batch)[0]

        judges = {"reward": by(self.reward_model), "referee": by(self.referee)}
        if self.rater is not None:
            judges["noiseless"] = self.rater.score
        return Watch(inpainter, self._prompts("validation"), judges, self.config.watch, self.config.seed, self.inputs())

    def _pairs(self, inpainter: Inpainter) -> Method:
        table = self.scores[self.scores["split"] == "train"]
        rated = RatedImages.of(self.candidate_images, self.prompt_masks, table)
        gammas = self._gammas(rated) if self.config.dpo.trust_weighted else None
        return RatedPairs(inpainter, self.prompt_images, rated, self.config, gammas, self.inputs())

    def _gammas(self, rated: RatedImages) -> np.ndarray:
        """Trust weights of rated fills."""
        weigh, size = amplification_to_align(self.trust, self.config.gamma), self.reward.score_batch
        parts = [np.arange(start, min(start + size, len(rated.scores))) for start in range(0, len(rated.scores), size)]
        z = np.concatenate([self.reward_model.score(*rated.load(rows), size)[1] for rows in parts])
        return weigh.gamma(self.trust.widths(z))
