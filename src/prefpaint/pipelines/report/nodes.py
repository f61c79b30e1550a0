"""Nodes of the `report` pipeline; the work is done in `reporting.page`."""

from typing import Any

import pandas as pd

from prefpaint.evaluation.config import EvaluateConfig
from prefpaint.images import ImageFolder


def gather(**named: Any) -> dict[str, Any]:
    """Datasets by name, in the order in which the page shows them."""
    return named


def write_report(
    *,
    table: pd.DataFrame,
    methods: pd.DataFrame,
    learned: pd.DataFrame,
    sanity: pd.DataFrame,
    worlds: pd.DataFrame,
    metrics: dict[str, dict[str, Any]],
    figures: dict[str, bytes],
    evaluation: pd.DataFrame,
    painted: ImageFolder,
    images: ImageFolder,
    masks: ImageFolder,
    base_mesh: bytes,
    aligned_mesh: bytes,
    taste: dict[str, Any],
    config: EvaluateConfig,
) -> str:
    """One self-contained HTML page."""
    from prefpaint.reporting.figures import choose_rows
    from prefpaint.reporting.page import Report, render_report

    return render_report(
        Report(
            simulated=bool(taste),
            table=table,
            methods=methods,
            learned=learned,
            gallery=choose_rows(evaluation, painted, images, masks, config.gallery),
            metrics=metrics,
            figures=figures,
            worlds=worlds,
            sanity=sanity,
            meshes={"base": base_mesh, "aligned": aligned_mesh},
        )
    )
