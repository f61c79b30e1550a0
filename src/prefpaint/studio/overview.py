"""What the organiser needs to know: how far the work is, whether raters agree, and who contradicts themselves."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from prefpaint.preferences.rating_tables import answers, comparisons, pages, raters, ratings
from prefpaint.preferences.schema import CRITERIA
from prefpaint.preferences.scoring import weighted_score
from prefpaint.preferences.store import COMPARED, RatingStore, fitting
from prefpaint.stats.agreement import krippendorff_alpha, rank_agreement, spearman, vote_agreement
from prefpaint.studio.calibration import GOOD, KnownFill, passed
from prefpaint.studio.config import Question, StudioConfig
from prefpaint.studio.questions import Work

# Below these a rater is pointed out. An α of 0.4 between a rater's first and second opinion leaves little to learn;
# nine scores of three pictures cannot be given in three seconds.
LEAST_SELF_ALPHA = 0.4
LEAST_CALIBRATION = 0.75
LEAST_SECONDS = 3.0
LEAST_OTHERS = 0.1
# The same of choices: guessing gives 0 and 0.5, and one glance takes a second.
LEAST_SELF_CHOICE = 0.2
LEAST_ALIKE = 0.4
LEAST_SECONDS_CHOICE = 1.0
# Fewer ratings than this say nothing yet about a rater.
LEAST_RATINGS, LEAST_REPEATS = 30, 6
PAGE = ("kind", "content", "shown")


def _answers(store: RatingStore) -> pd.DataFrame:
    """Last answers of pages: page_id, rater, PAGE, question, verdict, seconds, answered_at, answer_id."""
    # A store of an earlier version asked for scores alone.
    question = pages.c.question if store.has(pages.c.question) else sa.literal("scores").label("question")
    last = sa.select(sa.func.max(answers.c.id)).group_by(answers.c.page_id)
    of_page = (pages.c[name] for name in PAGE)
    columns = (*of_page, question, answers.c.verdict, answers.c.seconds, answers.c.answered_at)
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


def _choices(store: RatingStore) -> pd.DataFrame:
    """Choices that were made on pages: answer_id, chosen (a candidate's id, "" for a tie)."""
    if not store.has(comparisons.c.answer_id):
        return pd.DataFrame({"answer_id": pd.Series(dtype="int64"), "chosen": pd.Series(dtype="str")})
    columns = (comparisons.c[name] for name in ("answer_id", "candidate_a", "candidate_b", "preferred"))
    made = store.rows(sa.select(*columns).where(comparisons.c.answer_id.is_not(None)))
    wins = {end: made[f"candidate_{end}"].where(made["preferred"] == end, "") for end in ("a", "b")}
    # All comparisons of an answer have the same winner.
    return made.assign(chosen=wins["a"] + wins["b"])[["answer_id", "chosen"]].drop_duplicates("answer_id")


def overview(
    store: RatingStore, candidates: pd.DataFrame, work: Mapping[str, Work], config: StudioConfig
) -> dict[str, Any]:
    """Progress, agreement and raters, ready for JSON.

    For the progress only answers to the pages of the studio's present question count, by which it hands out work. What
    was said under another question, or imported, counts for everything else.

    Args:
        store: of ratings.
        candidates: candidate_id, prompt_id, sha256; ratings of other pictures do not count.
        work: what there is to rate, of `all_works`.
        config: the studio's question, and how many raters are wanted per prompt.

    Returns:
        question; prompts: total, begun, complete (by `overlap` raters), overlap; ratings; agreement: Krippendorff's α
        per criterion and of the weighted score, order_alike (two raters, two candidates of a prompt), None where
        undefined; comparisons; choices_alike: as order_alike, of comparisons; raters: per name pages, cannot_judge,
        seconds (median per page), last_seen, calibration (share passed), self_alpha and self_difference (scores of
        second showings), self_same (share of second showings with the same choice), with_others (Spearman against
        the other raters' mean score), choices_with_others (share of pairs ordered as another rater did), flags.
    """
    checksums = candidates.set_index("candidate_id")["sha256"]
    now_rated, now_compared = store.ratings(), store.comparisons()
    now_rated = now_rated[fitting(now_rated, checksums, {"candidate_id": "sha256"})]
    now_compared = now_compared[fitting(now_compared, checksums, COMPARED)]
    labels = now_rated.assign(value=weighted_score(now_rated)).merge(candidates[["candidate_id", "prompt_id"]])
    votes = now_compared.rename(columns={"candidate_a": "a", "candidate_b": "b"})
    votes = votes.assign(up=votes["preferred"] == "a", down=votes["preferred"] == "b")
    agreement = {name: krippendorff_alpha(labels[name], labels["candidate_id"]) for name in CRITERIA}
    agreement["score"] = krippendorff_alpha(labels["value"], labels["candidate_id"])
    agreement["order_alike"] = rank_agreement(labels) if len(labels) else math.nan
    found, given = _answers(store), _given(store)
    found = found.merge(_choices(store), on="answer_id", how="left")
    with store.read() as connection:
        known = connection.execute(sa.select(raters.c.name, raters.c.blocked, raters.c.organiser)).fetchall()
    rows = [
        _rater(name, labels, votes, found[found["rater"] == name], given) | {"blocked": bool(blocked)}
        for name, blocked, organiser in sorted(known)
        if not organiser or (found["rater"] == name).any()
    ]
    total, begun, complete = _progress(found, work, config.overlap)
    return _json(
        {
            "question": config.question,
            "prompts": {"total": total, "begun": begun, "complete": complete, "overlap": config.overlap},
            "ratings": len(labels),
            "agreement": agreement,
            "comparisons": len(votes),
            "choices_alike": vote_agreement(votes),
            "raters": rows,
        }
    )


def _progress(found: pd.DataFrame, work: Mapping[str, Work], overlap: int) -> tuple[int, int, int]:
    """How many prompts there are, are begun, and have enough raters on every one of their pages."""
    rated = found[(found["kind"] == "work") & (found["verdict"] == "rated")]
    counts = rated.groupby("content")["rater"].nunique().reindex(list(work), fill_value=0)
    of_prompt = counts.groupby([one.prompt_id for one in work.values()])
    most, least = of_prompt.max(), of_prompt.min()
    return len(most), int((most > 0).sum()), int((least >= overlap).sum())


def at_odds(store: RatingStore, candidates: pd.DataFrame, question: Question) -> int:
    """Of how many prompts one sort of answers does not count if people go on answering a question.

    Scores and choices are never mixed within a prompt, and scores go first (`preferences.scoring.score_candidates`).
    Asking for choices, those are the prompts that have scores; asking for scores, those with comparisons alone.

    Args:
        store: of ratings.
        candidates: candidate_id, prompt_id, sha256, of the prompts that are asked about.
        question: what is asked.
    """
    about = candidates.set_index("candidate_id")
    rated, compared = store.ratings(), store.comparisons()
    rated = rated[fitting(rated, about["sha256"], {"candidate_id": "sha256"})]
    compared = compared[fitting(compared, about["sha256"], COMPARED)]
    scored = set(rated["candidate_id"].map(about["prompt_id"]))
    return len(scored if question != "scores" else set(compared["candidate_a"].map(about["prompt_id"])) - scored)


def _rater(
    name: str, labels: pd.DataFrame, votes: pd.DataFrame, found: pd.DataFrame, given: pd.DataFrame
) -> dict[str, Any]:
    """One rater's row."""
    said = found.merge(given, on="answer_id", how="left")
    work = found[found["kind"] != "calibration"]
    alpha, difference, repeats = _consistency(said)
    same, corrected, repeated = _same_choice(found)
    mine, my_votes = labels[labels["rater"] == name], votes[votes["rater"] == name]
    row: dict[str, Any] = {
        "name": name,
        "pages": int((work["verdict"] == "rated").sum()),
        "ratings": len(mine),
        "comparisons": len(my_votes),
        "cannot_judge": int((work["verdict"] == "cannot judge").sum()),
        "seconds": float(work["seconds"].median()) if len(work) else math.nan,
        "last_seen": f"{found['answered_at'].max():%Y-%m-%d %H:%M}" if len(found) else None,
        "calibration": _calibration(said),
        "self_alpha": alpha,
        "self_difference": difference,
        "self_same": same,
        "with_others": _with_others(labels, name),
        "choices_with_others": _choices_with_others(votes, name),
    }
    flags = []
    if row["calibration"] < LEAST_CALIBRATION:
        flags.append("missed known good or bad fills")
    if (repeats >= LEAST_REPEATS and alpha < LEAST_SELF_ALPHA) or (
        repeated >= LEAST_REPEATS and corrected < LEAST_SELF_CHOICE
    ):
        flags.append("contradicts themselves")
    # Pages, for one choice of the best is several comparisons, and some comparisons were imported.
    places = _places(work)
    hasty = False
    if len(mine) >= LEAST_RATINGS:
        if row["with_others"] < LEAST_OTHERS:
            flags.append("orders pictures unlike everybody else")
        if mine["overall"].nunique() == 1:
            flags.append("gives every picture the same score")
        hasty |= work.loc[work["question"] == "scores", "seconds"].median() < LEAST_SECONDS
    if len(my_votes) >= LEAST_RATINGS and row["choices_with_others"] < LEAST_ALIKE:
        flags.append("chooses unlike everybody else")
    if len(places) >= LEAST_RATINGS:
        if places.nunique() == 1:
            flags.append("gives the same answer on every page")
        hasty |= work.loc[work["question"] != "scores", "seconds"].median() < LEAST_SECONDS_CHOICE
    if hasty:
        flags.append("too fast to have looked")
    return row | {"flags": flags}


def _places(work: pd.DataFrame) -> pd.Series:
    """Where what was chosen stood, from 0 on; −1 for a tie."""
    made = work[work["chosen"].notna()]
    places = [[name for name, _ in row.shown].index(row.chosen) if row.chosen else -1 for row in made.itertuples()]
    return pd.Series(places, index=made.index, dtype="int64")


def _same_choice(found: pd.DataFrame) -> tuple[float, float, int]:
    """Share of second showings with the same choice, the same corrected for chance, and how many there were.

    Corrected: (k p − 1) / (k − 1) for a choice of k, which is 0 for somebody who guesses and 1 for somebody who never
    changes (E. M. Bennett, R. Alpert and A. C. Goldstein, Public Opinion Quarterly 18, 1954); a tie is not counted
    among the k.
    """
    made = found[found["chosen"].notna()]
    work, again = (made[made["kind"] == kind] for kind in ("work", "repeat"))
    both = work.merge(again, on="content", suffixes=("", "_again"))
    if both.empty:
        return math.nan, math.nan, 0
    same = (both["chosen"] == both["chosen_again"]).astype(float)
    options = both["shown"].map(len)
    return float(same.mean()), float(((options * same - 1) / (options - 1)).mean()), len(both)


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
        chosen = group["chosen"].iloc[0]
        if isinstance(chosen, str):
            known_fill = KnownFill.of(chosen)
            results.append(known_fill is not None and known_fill.fill == GOOD)
            continue
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


def _choices_with_others(votes: pd.DataFrame, name: str) -> float:
    """Share of (pair, other rater) that one rater orders as the other does; 1/2 where either sees a tie."""
    mine, others = votes[votes["rater"] == name], votes[votes["rater"] != name]
    both = mine.merge(others, on=["a", "b"], suffixes=("", "_other"))
    if both.empty:
        return math.nan
    sign, other = (both[f"up{end}"].astype(int) - both[f"down{end}"].astype(int) for end in ("", "_other"))
    return float((1 + sign * other).mean() / 2)


def _json(value: Any) -> Any:
    """NaN as None, for JSON has none."""
    if isinstance(value, dict):
        return {key: _json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_json(inner) for inner in value]
    if isinstance(value, float):
        return round(value, 3) if math.isfinite(value) else None
    return value
