"""What the organiser needs to know: how far the work is, whether raters agree, and who contradicts themselves."""

import math
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from prefpaint.preferences.schema import CRITERIA
from prefpaint.preferences.scoring import weighted_score
from prefpaint.preferences.store import RatingStore, answers, fitting, pages, raters, ratings
from prefpaint.stats.agreement import krippendorff_alpha, rank_agreement, spearman
from prefpaint.studio.calibration import KnownFill, passed

# Below these a rater is pointed out. An α of 0.4 between a rater's first and second opinion leaves little to learn;
# nine scores of three pictures cannot be given in three seconds.
LEAST_SELF_ALPHA = 0.4
LEAST_CALIBRATION = 0.75
LEAST_SECONDS = 3.0
LEAST_OTHERS = 0.1
# Fewer ratings than this say nothing yet about a rater.
LEAST_RATINGS, LEAST_REPEATS = 30, 6


def _answers(store: RatingStore) -> pd.DataFrame:
    """Last answers of answered pages: page_id, rater, kind, content, verdict, seconds, answered_at, answer_id."""
    last = sa.select(sa.func.max(answers.c.id)).group_by(answers.c.page_id)
    columns = (pages.c.kind, pages.c.content, answers.c.verdict, answers.c.seconds, answers.c.answered_at)
    return store.rows(
        sa.select(pages.c.id.label("page_id"), raters.c.name.label("rater"), *columns, answers.c.id.label("answer_id"))
        .join_from(answers, pages)
        .join(raters)
        .where(answers.c.id.in_(last), answers.c.verdict != "withdrawn")
    )


def _given(store: RatingStore) -> pd.DataFrame:
    """Ratings that were given on pages: answer_id, candidate_id, the criteria, value (weighted)."""
    columns = (ratings.c.answer_id, ratings.c.candidate_id, *(ratings.c[name] for name in CRITERIA))
    given = store.rows(sa.select(*columns).where(ratings.c.answer_id.is_not(None)))
    given = given.astype(dict.fromkeys(CRITERIA, "int64"))
    return given.assign(value=weighted_score(given))


def overview(store: RatingStore, candidates: pd.DataFrame, prompts: int, overlap: int) -> dict[str, Any]:
    """Progress, agreement and raters, ready for JSON.

    Args:
        store: of ratings.
        candidates: candidate_id, prompt_id, sha256; ratings of other pictures do not count.
        prompts: how many there are to rate.
        overlap: raters wanted per prompt.

    Returns:
        prompts: total, begun, complete (by `overlap` raters); ratings; agreement: Krippendorff's α per criterion and
        of the weighted score, order_alike (two raters, two candidates of a prompt), None where undefined; raters: per
        name pages, cannot_judge, seconds (median per page), last_seen, calibration (share passed), self_alpha and
        self_difference (of second showings), with_others (Spearman against the other raters' mean), flags.
    """
    now_rated = store.ratings()
    now_rated = now_rated[
        fitting(now_rated, candidates.set_index("candidate_id")["sha256"], {"candidate_id": "sha256"})
    ]
    labels = now_rated.assign(value=weighted_score(now_rated)).merge(candidates[["candidate_id", "prompt_id"]])
    raters_of = labels.groupby("prompt_id")["rater"].nunique()
    agreement = {name: krippendorff_alpha(labels[name], labels["candidate_id"]) for name in CRITERIA}
    agreement["score"] = krippendorff_alpha(labels["value"], labels["candidate_id"])
    agreement["order_alike"] = rank_agreement(labels) if len(labels) else math.nan
    found, given = _answers(store), _given(store)
    with store.read() as connection:
        known = connection.execute(sa.select(raters.c.name, raters.c.blocked, raters.c.organiser)).fetchall()
    rows = [
        _rater(name, labels, found[found["rater"] == name], given) | {"blocked": bool(blocked)}
        for name, blocked, organiser in sorted(known)
        if not organiser or (found["rater"] == name).any()
    ]
    return _json(
        {
            "prompts": {
                "total": prompts,
                "begun": int((raters_of > 0).sum()),
                "complete": int((raters_of >= overlap).sum()),
                "overlap": overlap,
            },
            "ratings": len(labels),
            "agreement": agreement,
            "raters": rows,
        }
    )


def _rater(name: str, labels: pd.DataFrame, found: pd.DataFrame, given: pd.DataFrame) -> dict[str, Any]:
    """One rater's row."""
    said = found.merge(given, on="answer_id", how="left")
    work = found[found["kind"] != "calibration"]
    alpha, difference, repeats = _consistency(said)
    mine = labels[labels["rater"] == name]
    row: dict[str, Any] = {
        "name": name,
        "pages": int((work["verdict"] == "rated").sum()),
        "ratings": len(mine),
        "cannot_judge": int((work["verdict"] == "cannot judge").sum()),
        "seconds": float(work["seconds"].median()) if len(work) else math.nan,
        "last_seen": f"{found['answered_at'].max():%Y-%m-%d %H:%M}" if len(found) else None,
        "calibration": _calibration(said),
        "self_alpha": alpha,
        "self_difference": difference,
        "with_others": _with_others(labels, name),
    }
    flags = []
    if row["calibration"] < LEAST_CALIBRATION:
        flags.append("missed known good or bad fills")
    if repeats >= LEAST_REPEATS and alpha < LEAST_SELF_ALPHA:
        flags.append("contradicts themselves")
    if len(mine) >= LEAST_RATINGS:
        if row["with_others"] < LEAST_OTHERS:
            flags.append("orders pictures unlike everybody else")
        if mine["overall"].nunique() == 1:
            flags.append("gives every picture the same score")
        if row["seconds"] < LEAST_SECONDS:
            flags.append("too fast to have looked")
    return row | {"flags": flags}


def _consistency(said: pd.DataFrame) -> tuple[float, float, int]:
    """α and mean absolute difference between first and second showings, and how many candidates were shown twice."""
    work, again = (said[(said["kind"] == kind) & said["value"].notna()] for kind in ("work", "repeat"))
    both = work.merge(again, on=["content", "candidate_id"], suffixes=("", "_again"))
    if both.empty:
        return math.nan, math.nan, 0
    values = np.r_[both["value"], both["value_again"]]
    alpha = krippendorff_alpha(values, np.r_[np.arange(len(both)), np.arange(len(both))])
    return alpha, float((both["value"] - both["value_again"]).abs().mean()), len(both)


def _calibration(said: pd.DataFrame) -> float:
    """Share of calibration pages on which good was called good and bad bad; a page not judged counts as missed."""
    pages_shown = said[said["kind"] == "calibration"].groupby("page_id")
    results = []
    for _, group in pages_shown:
        fills = (KnownFill.of(str(candidate)) for candidate in group["candidate_id"])
        overall = {known.fill: score for known, score in zip(fills, group["overall"], strict=True) if known}
        results.append(bool(group["overall"].notna().all()) and passed(overall))
    return float(np.mean(results)) if results else math.nan


def _with_others(labels: pd.DataFrame, name: str) -> float:
    """Spearman's correlation between one rater's scores and the mean of the others' on the same candidates."""
    mine = labels[labels["rater"] == name].set_index("candidate_id")["value"]
    others = labels[labels["rater"] != name].groupby("candidate_id")["value"].mean()
    both = mine.index.intersection(others.index)
    return spearman(mine[both], others[both])


def _json(value: Any) -> Any:
    """NaN as None, for JSON has none."""
    if isinstance(value, dict):
        return {key: _json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_json(inner) for inner in value]
    if isinstance(value, float):
        return round(value, 3) if math.isfinite(value) else None
    return value
