"""The whole rehearsal: checkpoints, stages, and what a run of the paper's scale takes by these figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefpaint.config import fingerprint
from prefpaint.rehearsal.architectures import BASES, WHOLE, Models, write_models
from prefpaint.rehearsal.config import RehearseConfig
from prefpaint.rehearsal.estimate import Scale, checkpoint_bytes, hours, tuning_bytes
from prefpaint.rehearsal.flops import Costs, costs
from prefpaint.rehearsal.project import LAYERS, merged, write_project
from prefpaint.rehearsal.run import Stage, run_stages, size_of, stages

Metrics = dict[str, float | int | str]
# Folders whose pictures a whole run has many of.
PICTURES = ("03_primary/prompt_images", "03_primary/prompt_masks", "02_intermediate/depth")


def rehearse(config: RehearseConfig, conf: Path, judge: Any, workspace: Path, module: str) -> Metrics:
    """Rehearse every stage, resuming where an earlier call stopped.

    Args:
        config: what.
        conf: the project's configuration.
        judge: of the simulated raters.
        workspace: folder for the rehearsal's own project.
        module: of the command line.

    Returns:
        Flat figures: STAGE_FIGURE for what `run_stages` measured, and those of `paper_figures` and
        `figures_by_base`.

    Raises:
        PrefPaintError: a stage failed.
    """
    return rehearse_models(config, Models(BASES[config.base]), stages(config.full), conf, judge, workspace, module)


def rehearse_models(
    config: RehearseConfig,
    models: Models,
    listed: list[Stage],
    conf: Path,
    judge: Any,
    workspace: Path,
    module: str,
) -> Metrics:
    """`rehearse` with any checkpoints and stages."""
    project = workspace / config.base
    paper = write_project(project, conf, judge)
    write_models(models, project / "models")
    everything = [merged(conf, kind, ("base", *LAYERS)) for kind in ("parameters", "catalog")]
    found = run_stages(project, listed, module, fingerprint(everything, repr(models)))
    measured: Metrics = {f"{stage}_{name}": value for stage, row in found.items() for name, value in row.items()}
    scale = Scale.of(paper)
    passes = {name: costs(whole, whole.size, models.clip) for name, whole in WHOLE.items()}
    return {
        "base": config.base,
        "cut": models.base.cut,
        "models_bytes": size_of(project / "models"),
        **measured,
        **paper_figures(scale, passes[config.base], config, picture_bytes(project / "data")),
        **figures_by_base(scale, passes, config),
    }


def figures_by_base(scale: Scale, passes: Mapping[str, Costs], config: RehearseConfig) -> Metrics:
    """What the same run takes with each architecture, at the size of picture that it was trained on.

    Args:
        scale: the run's counts.
        passes: by architecture.
        config: GPUs.

    Returns:
        base_NAME_size, _weights, _operations (of one pass), _gpu_hours and _gpu_bytes.
    """
    found: Metrics = {}
    for name, cost in passes.items():
        total = sum(work.operations(cost) for work in scale.work().values())
        found |= {
            f"base_{name}_size": WHOLE[name].size,
            f"base_{name}_weights": cost.weights,
            f"base_{name}_operations": cost.network,
            f"base_{name}_gpu_hours": hours(total, config.peak, config.share),
            f"base_{name}_gpu_bytes": tuning_bytes(cost.weights, scale.align.average),
        }
    return found


def picture_bytes(data: Path) -> dict[str, float]:
    """Mean size of the files in folders of pictures.

    Args:
        data: of the rehearsal's project.

    Returns:
        Bytes by the folder's own name.
    """
    means = {}
    for folder in PICTURES:
        sizes = [path.stat().st_size for path in (data / folder).glob("*.png")]
        means[Path(folder).name] = sum(sizes) / max(len(sizes), 1)
    return means


def paper_figures(scale: Scale, cost: Costs, config: RehearseConfig, pictures: dict[str, float]) -> Metrics:
    """What a whole run takes.

    Args:
        scale: its counts.
        cost: of single passes.
        config: GPUs.
        pictures: mean bytes of a prompt, its mask and its depth map.

    Returns:
        paper_STAGE_evaluations, _pictures, _operations and _gpu_hours; paper_gpu_hours, all of them; bytes of disk for
        pictures and for models, of one GPU's memory for weights and optimiser, and of the machine's for checkpoints as
        they are loaded. paper_pass_NAME are operations of single passes.
    """
    found: Metrics = {
        f"paper_pass_{name}": value for name, value in vars(cost).items() if name not in ("weights", "other_weights")
    }
    total = 0.0
    for stage, work in scale.work().items():
        operations = work.operations(cost)
        spent = hours(operations, config.peak, config.share)
        total += spent
        found |= {
            f"paper_{stage}_evaluations": work.evaluations,
            f"paper_{stage}_pictures": work.pictures,
            f"paper_{stage}_tower": work.tower,
            f"paper_{stage}_operations": operations,
            f"paper_{stage}_gpu_hours": spent,
        }
    prompts = sum(scale.masks.prompts.values())
    painted = scale.rated_pictures + scale.evaluated_pictures
    kept = scale.align.keep_last + 1  # One more while it is written.
    state, network = checkpoint_bytes(cost.weights, scale.align.average), 4 * cost.weights
    whole = network + 4 * cost.other_weights
    return found | {
        "paper_gpu_hours": total,
        "paper_peak": config.peak,
        "paper_share": config.share,
        "paper_gpus": config.gpus,
        "paper_weights": cost.weights,
        "paper_prompts": prompts,
        "paper_painted": painted,
        # A random model's fills compress like nothing a real one paints: photographs' own size is taken for them.
        "paper_picture_bytes": pictures["prompt_images"],
        "paper_pictures_disk_bytes": (2 * prompts + painted) * pictures["prompt_images"]
        + prompts * (pictures["prompt_masks"] + pictures["depth"]),
        "paper_state_bytes": state,
        # States, the best weights, the aligned model and its release.
        "paper_models_disk_bytes": kept * state + network + 2 * whole,
        "paper_gpu_bytes": tuning_bytes(cost.weights, scale.align.average),
        "paper_host_bytes": config.gpus * whole,
    }
