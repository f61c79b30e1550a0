"""All pipelines by name."""

from kedro.pipeline import Pipeline

from prefpaint.pipelines.ablate_align import pipeline as ablate_align
from prefpaint.pipelines.ablate_order import pipeline as ablate_order
from prefpaint.pipelines.ablate_reward import pipeline as ablate_reward
from prefpaint.pipelines.align import pipeline as align
from prefpaint.pipelines.bound import pipeline as bound
from prefpaint.pipelines.candidates import pipeline as candidates
from prefpaint.pipelines.evaluate import pipeline as evaluate
from prefpaint.pipelines.extend import pipeline as extend
from prefpaint.pipelines.judge import pipeline as judge
from prefpaint.pipelines.masks import pipeline as masks
from prefpaint.pipelines.novel_view import pipeline as novel_view
from prefpaint.pipelines.overoptimise import pipeline as overoptimise
from prefpaint.pipelines.preferences import pipeline as preferences
from prefpaint.pipelines.pretrain import pipeline as pretrain
from prefpaint.pipelines.reconstruct import pipeline as reconstruct
from prefpaint.pipelines.rehearse import pipeline as rehearse
from prefpaint.pipelines.release import pipeline as release
from prefpaint.pipelines.report import pipeline as report
from prefpaint.pipelines.reward import pipeline as reward
from prefpaint.pipelines.seeds import pipeline as seeds


def register_pipelines() -> dict[str, Pipeline]:
    """The stages in their order, all of them together, and eight that run only when named.

    `pretrain` makes the embedded base model and `judge` what the simulated raters share, `seeds` repeats the training
    from other seeds, `ablate_reward`, `ablate_align` and `ablate_order` compare ways to train the reward model, to
    align and to choose what is rated, `overoptimise` shows what trust is worth when a reward is raised too far,
    `rehearse` tries every stage at the paper's true size.
    """
    stages = {
        "masks": masks.create_pipeline(),
        "candidates": candidates.create_pipeline(),
        "preferences": preferences.create_pipeline(),
        "reward": reward.create_pipeline(),
        "bound": bound.create_pipeline(),
        "align": align.create_pipeline(),
        "extend": extend.create_pipeline(),
        "novel_view": novel_view.create_pipeline(),
        "reconstruct": reconstruct.create_pipeline(),
        "evaluate": evaluate.create_pipeline(),
        "report": report.create_pipeline(),
        "release": release.create_pipeline(),
    }
    return {
        **stages,
        "__default__": sum(stages.values(), Pipeline([])),
        "pretrain": pretrain.create_pipeline(),
        "judge": judge.create_pipeline(),
        "seeds": seeds.create_pipeline(),
        "ablate_reward": ablate_reward.create_pipeline(),
        "ablate_order": ablate_order.create_pipeline(),
        "ablate_align": ablate_align.create_pipeline(),
        "overoptimise": overoptimise.create_pipeline(),
        "rehearse": rehearse.create_pipeline(),
    }
