"""What shows at the hole's edge, as a table and in sentences: seams, and colours that jump."""

from typing import Any

import pandas as pd

from prefpaint.evaluation.measures import ALL
from prefpaint.evaluation.methods import ORIGINAL
from prefpaint.evaluation.samples import EDGE
from prefpaint.reporting.sentences import LEAST_PROMPTS, pick
from prefpaint.reporting.wording import number, signed


def edge_rows(methods: pd.DataFrame, split: str) -> list[dict[str, Any]]:
    """The table of the page: per kind of hole and method the measures of `EDGE` and their changes from the base.

    Args:
        methods: of `methods.compare_methods`.
        split: its name.

    Returns:
        pattern, method, prompts, and values: row of the mean, row of the change, of each measure; None where there is
        none, as for the base's own change. A kind whose holes have no edge is left out.
    """
    part = methods[(methods["split"] == split) & methods["judge"].isin(EDGE)]
    rows = []
    for (pattern, name), of_method in part.groupby(["pattern", "method"], sort=False):
        means, changes = (pick(of_method, quantity=quantity).set_index("judge") for quantity in ("mean", "difference"))
        values = [(found.loc[one] if one in found.index else None) for one in EDGE for found in (means, changes)]
        rows.append(
            {
                "pattern": pattern,
                "method": "untouched original" if name == ORIGINAL else name,
                "values": values,
                "prompts": int(means["prompts"].max()),
            }
        )
    return rows


def edge_sentences(methods: pd.DataFrame) -> list[str]:
    """Whether the aligned model's fills show more or less at the hole's edge, some sentences per split.

    Args:
        methods: of `methods.compare_methods`.

    Returns:
        Nothing for a split whose holes have no edge.
    """
    whole = pick(methods, pattern=ALL)
    found = []
    for split in whole["split"].unique():
        seam, colour = (pick(whole, split=split, judge=name) for name in ("seam_ratio", "colour_step"))
        if seam.empty or colour.empty:
            continue
        (base, aligned), (base_step, aligned_step) = (
            [pick(part, quantity="mean", method=name).iloc[0] for name in ("base", "aligned")]
            for part in (seam, colour)
        )
        changes = [pick(part, quantity="difference", method="aligned").iloc[0] for part in (seam, colour)]
        said = [
            f"{_direction(change, words)} ({signed(change['value'])}, {signed(change['low'])} to "
            f"{signed(change['high'])})"
            for change, words in zip(
                changes, (("a fainter seam", "a stronger seam"), ("a smaller step", "a larger step")), strict=True
            )
        ]
        sentence = (
            f"On {base['prompts']} {split} prompts the step across the hole's edge is {number(base['value'])} times "
            f"the steps beside it in the base's fills and {number(aligned['value'])} times in the aligned model's: "
            f"{said[0]}. From one side of the edge to the other, colours differ by {number(base_step['value'])} and "
            f"{number(aligned_step['value'])} grey levels: {said[1]}."
        )
        originals = [pick(part, quantity="mean", method=ORIGINAL) for part in (seam, colour)]
        if len(originals[0]) and len(originals[1]):
            ratio, step = (part.iloc[0] for part in originals)
            sentence += (
                f" The untouched originals, known for {ratio['prompts']} of these prompts, have "
                f"{number(ratio['value'])} and {number(step['value'])}."
            )
        found.append(sentence)
    return found


def _direction(change: "pd.Series[Any]", words: tuple[str, str]) -> str:
    """What the interval of a change shows: (less, more), or neither."""
    if change["prompts"] < LEAST_PROMPTS:
        return "too few prompts to say anything"
    less, more = words
    return less if change["high"] < 0 else more if change["low"] > 0 else "no difference is shown"
