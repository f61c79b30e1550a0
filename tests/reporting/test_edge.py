"""What the page says about seams and colour steps."""

from dataclasses import replace
from html import unescape

import numpy as np
import pandas as pd
import pytest

from prefpaint.evaluation.config import EvaluateConfig
from prefpaint.evaluation.methods import compare_methods, methods_metrics
from prefpaint.evaluation.samples import EDGE, original_edge
from prefpaint.reporting.edge import edge_rows, edge_sentences
from prefpaint.reporting.page import render_report
from tests.evaluation.test_measures import judged
from tests.evaluation.test_methods import at_the_edge
from tests.reporting.test_page import report

# One prompt has no edge, and five would be too few for a verdict.
SEEN = EvaluateConfig(resamples=100, splits=("seen",))


def table(samples: pd.DataFrame) -> pd.DataFrame:
    return compare_methods(samples, SEEN)


def said(methods: pd.DataFrame) -> str:
    (sentence,) = edge_sentences(methods)
    return sentence


def test_the_sentence_says_what_the_intervals_allow() -> None:
    methods = table(at_the_edge(judged(0.0, SEEN)))
    few = said(methods)
    assert few.startswith("On 5 seen prompts") and few.count("too few prompts to say anything") == 2
    methods["prompts"] += 1
    less = said(methods)
    assert "22 times the steps beside it in the base's fills and 21.500 times in the aligned model's" in less
    assert "a fainter seam (−0.500, −0.500 to −0.500)" in less and "a smaller step (−10.000" in less
    assert less.endswith("The untouched originals, known for 4 of these prompts, have 21 and 0.500.")
    changes = methods["quantity"] == "difference"
    methods.loc[changes, ["value", "low", "high"]] *= -1
    assert "a stronger seam (+0.500" in said(methods) and "a larger step (+10.000" in said(methods)
    methods.loc[changes, "low"] = -1.0
    assert said(methods).count("no difference is shown") == 2


def test_without_originals_and_without_edges() -> None:
    samples = at_the_edge(judged(0.0, SEEN))
    samples[list(map(original_edge, EDGE))] = np.nan
    assert "originals" not in said(table(samples))
    samples[list(EDGE)] = np.nan
    nothing = table(samples)
    assert edge_sentences(nothing) == [] and edge_rows(nothing, "seen") == []


@pytest.mark.parametrize("edges", [True, False])
def test_the_page_has_every_number_of_every_method(edges: bool) -> None:
    samples = at_the_edge(judged(0.0, SEEN))
    if not edges:
        samples[[*EDGE, *map(original_edge, EDGE)]] = np.nan
    methods = compare_methods(samples, SEEN)
    given = report()
    html = unescape(render_report(replace(given, methods=methods, table=given.table.query("split == 'seen'"))))
    shown = html[html.index('id="all-methods"') : html.index('id="more-pictures"')]
    assert ("At the hole's edge" in shown) == edges
    keys = [key for key in methods_metrics(methods) if "seam_ratio" in key or "colour_step" in key]
    assert all(f'data-key="{key}"' in shown for key in keys) and bool(keys) == edges
    # Of all prompts and of outpainting; view changes have no original.
    assert shown.count("untouched original</td>") == (2 if edges else 0)
