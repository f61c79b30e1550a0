"""What variants came to, from curves written down by hand."""

import numpy as np
import pandas as pd
import pytest

from prefpaint.experiments.overoptimise import (
    Curve,
    curve_table,
    overoptimise_figure,
    overoptimise_markdown,
    summary,
)
from prefpaint.experiments.overoptimise_config import OveroptimiseConfig

CONFIG = OveroptimiseConfig.model_validate(
    {"baseline": "free", "variants": {"free": {"trust": "none"}, "held": {"trust": "gate"}}, "seeds": [0, 1]}
    | {"target": 0.5}
)


def curve(proxy: list[float], gold: list[float]) -> Curve:
    return Curve(np.array([2.0, 4.0]), np.array(proxy), np.array(gold))


# The baseline's proxy ends at 1 in the mean, so that proxies are equal at 0.5.
RUNS = {
    "free": [curve([0.5, 1.0], [0.25, -0.25]), curve([0.25, 1.0], [0.25, 0.0])],
    "held": [curve([0.25, 0.75], [0.5, 0.25]), curve([0.125, 0.25], [0.125, 0.25])],
}


def test_the_table_by_hand() -> None:
    table = summary(RUNS, CONFIG).set_index("variant")
    assert (table["target"] == 0.5).all() and table["reached"].to_dict() == {"free": 2, "held": 1}
    free, held = table.loc["free"], table.loc["held"]
    assert (free["final_proxy"], held["final_proxy"]) == (1.0, 0.5)
    assert (free["best_gold"], free["final_gold"]) == (0.25, -0.125)
    # Per seed 0.25, and a third of the way from 0.25 to 0.
    assert free["gold_at_target"] == pytest.approx((0.25 + 0.25 * 2 / 3) / 2)
    # Half way from 0.5 to 0.25; the other seed never got there.
    assert held["gold_at_target"] == pytest.approx(0.375) and np.isnan(held["gold_at_target_low"])
    # Paired by seed: 0.5 and 0.25; t(0.975, 1 degree) = 12.706, and the standard error is 0.125.
    low, high = 0.375 - 12.706 * 0.125, 0.375 + 12.706 * 0.125
    names = [f"final_gold_difference{end}" for end in ("", "_low", "_high")]
    assert held[names].tolist() == pytest.approx([0.375, low, high], abs=1e-3)
    assert free[names].tolist() == [0, 0, 0]
    assert held["gold_at_target_difference"] == pytest.approx(0.125)


def test_what_is_written_and_drawn() -> None:
    table = summary(RUNS, CONFIG).assign(informative=False)
    text = overoptimise_markdown(table, 24)
    assert text.splitlines()[-1].startswith("| held | +0.500 [") and text.splitlines()[-1].endswith("| 1 of 2 |")
    assert "ratings of 24 prompts" in text and "carries no information, and it is used all the same" in text
    curves = curve_table(RUNS, CONFIG.seeds)
    assert curves.shape == (8, 5) and curves["gold_gain"].tolist()[:2] == [0.25, -0.25]
    by_proxy, by_iteration = overoptimise_figure(curves, 0.5).axes
    thick = [line for line in by_proxy.lines if line.get_linewidth() == 2]
    assert [line.get_label() for line in thick] == ["free", "held"]
    np.testing.assert_allclose(thick[0].get_xydata(), [[0, 0], [0.375, 0.25], [1, -0.125]])
    assert len(by_iteration.lines) == 2 * 3 + 1


def test_variants_must_be_alignments() -> None:
    assert CONFIG.config("held", 1).trust == "gate" and CONFIG.reward.head.kind == "kernel"
    with pytest.raises(ValueError, match="trust"):
        OveroptimiseConfig.model_validate({"baseline": "a", "variants": {"a": {"trust": "gates"}}})
    assert isinstance(curve_table(RUNS, (0, 1)), pd.DataFrame)
