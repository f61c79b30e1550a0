"""Stages one after another, each in a process of its own, and what they took."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import prefpaint
from prefpaint.config import fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.files import whole_file
from prefpaint.progress import Progress
from prefpaint.rehearsal.project import ENVIRONMENT


@dataclass(frozen=True)
class Stage:
    """One run of one pipeline.

    Attributes:
        name: of the stage.
        pipeline: of the project.
        parameters: over those of the environment, by dotted name.
        paints: whether it is a mistake if no network was asked.
    """

    name: str
    pipeline: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    paints: bool = False

    def arguments(self) -> list[str]:
        """Of `kedro`."""
        chosen = ",".join(f"{name}={value}" for name, value in self.parameters.items())
        return [
            "run",
            f"--env={ENVIRONMENT}",
            f"--pipeline={self.pipeline}",
            *([f"--params={chosen}"] if chosen else []),
        ]


def stages(full: bool) -> list[Stage]:
    """All stages in their order; the model of the second alignment is what the later ones use.

    Args:
        full: at the end, align once more with all weights tuned.
    """
    nft = {"align.mode": "nft", "align.tune": "lora", "align.candidates": 2}
    published = {"align.mode": "published", "align.tune": "lora"}
    return [
        Stage("masks", "masks"),
        Stage("candidates", "candidates", paints=True),
        *(Stage(name, name) for name in ("preferences", "reward", "bound")),
        Stage("align_nft", "align", nft, paints=True),
        Stage("align_published", "align", published, paints=True),
        *(Stage(name, name, paints=True) for name in ("extend", "novel_view", "evaluate")),
        Stage("release", "release"),
        *([Stage("align_full", "align", {**published, "align.tune": "full"}, paints=True)] if full else []),
    ]


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def run_stages(project: Path, listed: Sequence[Stage], module: str, stamp: str) -> dict[str, dict[str, float | int]]:
    """Run stages, but for those that an earlier call finished.

    Args:
        project: folder to run in; finished stages are kept in its folder `stages`.
        listed: in their order.
        module: of the command line, given `Stage.arguments`.
        stamp: of everything that the first stage depends on.

    Returns:
        For each stage: seconds, cpu_seconds, peak_bytes, own_peak_bytes and evaluations (`measured.run`), and
        disk_bytes, by which its data grew.

    Raises:
        PrefPaintError: a stage failed; the next call begins with it.
    """
    found: dict[str, dict[str, float | int]] = {}
    with Progress("rehearse", len(listed)) as progress:
        for stage in listed:
            # A stage depends on all before it.
            stamp = fingerprint(stamp, stage.name, stage.arguments())
            done = project / "stages" / f"{stage.name}.json"
            kept = json.loads(done.read_text()) if done.exists() else {}
            if kept.get("stamp") != stamp:
                kept = {"stamp": stamp, "figures": _run(project, stage, module)}
                with whole_file(done) as temporary:
                    temporary.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
            found[stage.name] = kept["figures"]
            progress.step()
    return found


def _run(project: Path, stage: Stage, module: str) -> dict[str, float | int]:
    report = project / "stages" / f"{stage.name}.figures"
    before = size_of(project / "data")
    package = Path(prefpaint.__file__).parents[1]
    paths = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    arguments = stage.arguments()
    code = subprocess.run(
        [sys.executable, "-m", "prefpaint.rehearsal.measured", str(report.resolve()), module, *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        check=False,
    ).returncode
    if code:
        raise PrefPaintError(
            f"rehearse: stage {stage.name} ended with status {code}; its own messages are above. In {project}, "
            f"`{module} {' '.join(arguments)}` repeats it alone; `kedro run --pipeline=rehearse` resumes there"
        )
    figures = json.loads(report.read_text(encoding="utf-8"))
    report.unlink()
    check_figures(stage, figures)
    return {**figures, "disk_bytes": max(0, size_of(project / "data") - before)}


def check_figures(stage: Stage, figures: Mapping[str, float | int]) -> None:
    """Raise where a stage ended well and did nothing, such as for want of a fitting prompt.

    Args:
        stage: what ran.
        figures: of `measured.run`.

    Raises:
        PrefPaintError: it was to paint and asked no network.
    """
    if stage.paints and not figures["evaluations"]:
        raise PrefPaintError(
            f"rehearse: stage {stage.name} painted nothing; give it prompts or pictures in conf/rehearsal"
        )
