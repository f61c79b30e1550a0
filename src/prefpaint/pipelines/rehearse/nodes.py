"""Nodes of the `rehearse` pipeline; the work is done in `rehearsal`."""

from pathlib import Path
from typing import Any

from prefpaint.rehearsal.config import RehearseConfig


def rehearse(judge: Any, workspace: Path, config: RehearseConfig) -> tuple[dict[str, Any], str]:
    """Every stage once, each in a process of its own; figures, and the same as Markdown."""
    from prefpaint.rehearsal.rehearsal import rehearse
    from prefpaint.rehearsal.report import rehearsal_markdown

    found = rehearse(config, Path("conf"), judge, workspace, "kedro")
    return found, rehearsal_markdown(found)
