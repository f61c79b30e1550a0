"""The rehearsal's figures as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prefpaint.rehearsal.run import stages

NAMES = {
    "sd15": "Stable Diffusion 1.5 inpainting",
    "sdxl": "Stable Diffusion XL inpainting",
    "flux_fill": "FLUX.1 Fill",
}
# In the order of the run.
ESTIMATED = ("candidates", "reward", "align", "evaluate")
TITLES = {
    "align_nft": "align (nft, LoRA)",
    "align_published": "align (published, LoRA)",
    "align_full": "align (published, all weights)",
}


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)) + "\n"


def _gigabytes(value: float) -> str:
    return f"{value / 1e9:.1f} GB" if value >= 5e7 else f"{value / 1e6:.1f} MB"


def rehearsal_markdown(found: Mapping[str, Any]) -> str:
    """What the rehearsal measured, and what a whole run takes by it.

    Args:
        found: of `rehearsal.rehearse`.
    """
    ends = ("_seconds", "_cpu_seconds", "_peak_bytes", "_own_peak_bytes", "_evaluations", "_disk_bytes")
    measured = [stage.name for stage in stages(full=True) if f"{stage.name}_seconds" in found]
    rows = []
    for stage in measured:
        seconds, cpu, peak, own, evaluations, disk = (found[f"{stage}{end}"] for end in ends)
        memory = [_gigabytes(peak), _gigabytes(own)]
        title = TITLES.get(stage, stage)
        rows.append([title, f"{seconds:.0f} s", f"{cpu:.0f} s", *memory, _gigabytes(disk), f"{evaluations:.0f}"])
    heads = ["stage", "time", "processor time", "peak memory", "without files", "written", "network evaluations"]
    cut = f" Not whole: {found['cut']}." if found["cut"] else ""
    about = (
        f"{NAMES[found['base']]}, random weights ({_gigabytes(found['models_bytes'])} of checkpoints).{cut} "
        "A stage is a process of its own; its peak includes mapped files, whose memory others may have instead.\n\n"
    )
    return about + _table(heads, rows) + "\n" + estimate_markdown(found) + "\n" + bases_markdown(found)


def bases_markdown(found: Mapping[str, Any]) -> str:
    """What the same run takes with each architecture.

    Args:
        found: of `rehearsal.figures_by_base`.
    """
    rows = []
    for name, title in NAMES.items():
        size, weights, operations, spent, memory = (
            found[f"base_{name}_{key}"] for key in ("size", "weights", "operations", "gpu_hours", "gpu_bytes")
        )
        row = [title, f"{size} px", f"{weights / 1e6:,.0f} M", f"{operations / 1e12:.2f} · 10¹²", f"{spent:.0f}"]
        rows.append([*row, _gigabytes(memory)])
    heads = ["the same run with", "pictures", "weights", "operations of a pass", "GPU hours", "all weights tuned"]
    return _table(heads, rows)


def estimate_markdown(found: Mapping[str, Any]) -> str:
    """What a whole run takes.

    Args:
        found: of `rehearsal.paper_figures`.
    """
    rows = [
        [
            stage,
            f"{found[f'paper_{stage}_evaluations']:,}",
            f"{found[f'paper_{stage}_pictures']:,}",
            f"{found[f'paper_{stage}_operations'] / 1e18:.3f}",
            f"{found[f'paper_{stage}_gpu_hours']:.1f}",
        ]
        for stage in ESTIMATED
    ]
    total = sum(found[f"paper_{stage}_operations"] for stage in ESTIMATED)
    rows.append(["all", "", "", f"{total / 1e18:.3f}", f"{found['paper_gpu_hours']:.1f}"])
    heads = ["stage of the paper's run", "network passes", "pictures", "10¹⁸ operations", "GPU hours"]
    passes = ", ".join(
        f"{found[f'paper_pass_{name}'] / 1e12:.3f} · 10¹² {words}"
        for name, words in (
            ("network", "for one pass of the network"),
            ("encode", "to encode a picture"),
            ("decode", "to decode one"),
            ("tower", "for the reward's image tower"),
        )
    )
    gpus = int(found["paper_gpus"])
    return (
        _table(heads, rows)
        + f"""
Operations are passes × their cost, counted on the architecture itself: {passes}. GPU hours are operations /
({found["paper_peak"]:g} · 10¹² per second × {found["paper_share"]:.0%} × 3,600); with {gpus} GPUs divide by {gpus}.
Training a step of a sample counts as three passes, or four with gradient checkpointing.

| what | size | arithmetic |
| --- | --- | --- |
| disk, pictures | {_gigabytes(found["paper_pictures_disk_bytes"])} | {found["paper_prompts"]:,} photographs, prompts, \
masks and depth maps, {found["paper_painted"]:,} fills; {found["paper_picture_bytes"] / 1e3:.0f} kB a picture |
| disk, models | {_gigabytes(found["paper_models_disk_bytes"])} | training states of \
{_gigabytes(found["paper_state_bytes"])} each, best weights, aligned model, release |
| memory of each GPU in align, all weights tuned | {_gigabytes(found["paper_gpu_bytes"])} | \
{found["paper_weights"] / 1e6:,.0f} M weights in bfloat16 twice, gradients, float32 masters, AdamW; activations come \
on top |
| memory of the machine | {_gigabytes(found["paper_host_bytes"])} | the checkpoint in float32 in each of {gpus} \
processes |
"""
    )
