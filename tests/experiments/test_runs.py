"""What comparisons of alignments share, by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from prefpaint.experiments.runs import cell, interval_columns, mean_of_seeds, of_some_prompts, once, reached


def test_reaching_a_target_by_hand() -> None:
    gains, values = np.array([0.1, 0.3, 0.2]), np.array([2.0, 4.0, -6.0])
    assert reached(gains, 0.2, values) == pytest.approx(3.0), "half way between the first two looks"
    assert reached(gains, 0.05, values) == pytest.approx(1.0), "before the first look nothing is gained"
    assert np.isnan(reached(gains, 0.31, values))


def test_intervals_by_hand() -> None:
    # t(0.975, 2 degrees) = 4.3027; the standard error of 1, 2, 3 is 1 / √3.
    expected = (2, 2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5)
    assert mean_of_seeds(np.array([1.0, 2.0, 3.0, np.nan])) == pytest.approx(expected, abs=1e-4)
    assert np.isnan(mean_of_seeds(np.array([np.nan]))).all()
    mean, low, high = mean_of_seeds(np.array([np.nan, 5.0]))
    assert mean == 5 and np.isnan([low, high]).all()
    row = interval_columns("gain", np.array([1.0, 2.0, 3.0]))
    assert cell(row, "gain", 1, "{:+.1f}") == "+2.0 [-0.5, +4.5]"
    assert cell(interval_columns("gain", np.array([np.nan])), "gain", 1, "{:+.1f}") == "not reached"


def test_prompts_are_taken_evenly_and_whole() -> None:
    rows = pd.DataFrame({"prompt_id": list("aabbccdde"), "row": range(9)})
    assert of_some_prompts(rows, 3)["row"].tolist() == [0, 1, 4, 5, 8]
    assert of_some_prompts(rows, 5) is rows and of_some_prompts(rows, None) is rows


def test_a_finished_run_is_made_once_for_each_stamp(tmp_path: Path) -> None:
    made: list[str] = []

    def make() -> dict[str, Any]:
        made.append("again")
        return {"gains": [float(len(made))]}

    file = tmp_path / "run.json"
    for stamp, calls in (("one", 1), ("one", 1), ("two", 2), ("one", 3)):
        assert once(file, stamp, make) == {"stamp": stamp, "gains": [float(calls)]}
        assert len(made) == calls
