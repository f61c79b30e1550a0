"""Nodes of the `release` pipeline; the work is done in `reporting.model_card`."""

from pathlib import Path
from typing import Any

import pandas as pd

from prefpaint.alignment.config import AlignConfig
from prefpaint.inpainting.config import SamplingConfig


def release_model(
    *,
    base: Any,
    aligned: Any,
    photographs: pd.DataFrame,
    prompts: pd.DataFrame,
    table: pd.DataFrame,
    methods: pd.DataFrame,
    preferences_metrics: dict[str, Any],
    reward_metrics: dict[str, Any],
    bound_metrics: dict[str, Any],
    align_metrics: dict[str, Any],
    align: AlignConfig,
    sampling: SamplingConfig,
) -> tuple[Any, str]:
    """The aligned model and its card."""
    from prefpaint.inpainting.families.registry import family_of
    from prefpaint.reporting.model_card import Facts, base_license, model_card

    family = family_of(aligned)
    place = str(base.name_or_path or "the base")
    facts = Facts(
        # A folder's own name says what it is; where it lies is this machine's business.
        base=Path(place).name if Path(place).is_dir() else place,
        pipeline=type(aligned).__name__,
        size=family.native_size,
        stock_call=family.stock_call(sampling),
        simulated=bool(preferences_metrics["simulated"]),
        align=align,
        sampling=sampling,
        photographs=photographs,
        prompts=prompts,
        table=table,
        methods=methods,
        metrics={
            "preferences": preferences_metrics,
            "reward": reward_metrics,
            "bound": bound_metrics,
            "align": align_metrics,
        },
    )
    return aligned, model_card(facts, base_license(place))
