"""One alignment from beginning to end."""

from pathlib import Path

from prefpaint.alignment.job import Job
from prefpaint.alignment.loop import Aligner, Result
from prefpaint.alignment.modes import MODES
from prefpaint.alignment.scorers import PlainReward, TrustedReward
from prefpaint.alignment.watch import Judge, Watch
from prefpaint.inpainting.sampling import Inpainter
from prefpaint.reward.model import RewardModel


def align(job: Job, workspace: Path, title: str = "align") -> Result:
    """Align, resuming from the workspace; with several processes, each calls this.

    Args:
        job: what to start from.
        workspace: folder that only this run uses.
        title: shown with the progress.

    Raises:
        PrefPaintError: see `Aligner.run`, `Watch` and the mode's method.
    """
    inpainter = Inpainter(job.base, job.sampling.model_copy(update={"steps": job.config.steps}))
    job.reward_model.to(inpainter.device)
    job.referee.to(inpainter.device)
    method = MODES[job.config.mode].method(job, inpainter)
    return Aligner(inpainter, method, job.config, _watch(job, inpainter), job.inputs()).run(workspace, title)


def _watch(job: Job, inpainter: Inpainter) -> Watch:
    """Validation prompts, judged by the reward, by the referee and, where ratings are simulated, noiselessly.

    Of several rewards each is a judge of its own, without what doubt takes from the learned one.
    """

    def by(model: RewardModel) -> Judge:
        return lambda images, masks, texts: model.score(images, masks, job.reward.score_batch, texts)[0]

    judges = {"reward": by(job.reward_model), "referee": by(job.referee)}
    if (rater := job.rater) is not None:
        judges["noiseless"] = lambda images, masks, texts: rater.score(images, masks)
    weights = {}
    if job.several_rewards is not None:
        del judges["reward"]
        weights = dict(job.several_rewards.weights)
        for name, reward in job.several_rewards.rewards.items():
            judges[name] = by(reward.model) if isinstance(reward, PlainReward | TrustedReward) else reward
    return Watch(inpainter, job.prompts_of("validation"), judges, job.config.watch, job.config.seed, weights)
