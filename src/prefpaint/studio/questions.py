"""What raters are asked about a prompt, and what an answer is put down as: scores, the best fill, or the better of two.

Choices are put down as comparisons, so that one readout (`preferences.comparisons`) serves all of them and those that
were imported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
import pandas as pd
import sqlalchemy as sa

from prefpaint.config import derive_seed, fingerprint
from prefpaint.masks.config import RATED_SPLITS
from prefpaint.masks.words import text_prompts
from prefpaint.preferences.rating_tables import comparisons, ratings
from prefpaint.preferences.schema import CRITERIA
from prefpaint.studio.calibration import FILLS, GOOD, KnownFill, passed
from prefpaint.studio.config import Question, StudioConfig
from prefpaint.studio.order import rearranged, seeded

Verdict = Literal["rated", "cannot judge"]
# The choice that means "neither is better".
TIE = 0


@dataclass(frozen=True)
class Answer:
    """What a rater says of one page.

    Attributes:
        page_id: of the page.
        key: chosen by the sender; an answer sent twice under one key is one answer.
        verdict: rated, or that it cannot be judged.
        scores: per candidate as shown, from left to right, the CRITERIA in 0-7; empty for "cannot judge" and where a
            choice is asked for.
        seconds: how long the page was looked at.
        choice: the place of the best candidate, from 1 on, or TIE; None for scores and "cannot judge".
    """

    page_id: int
    key: str
    verdict: Verdict
    scores: Sequence[Sequence[int]]
    seconds: float
    choice: int | None = None


@dataclass(frozen=True)
class Shown:
    """What is shown in one place of a page: an id, and the SHA-256 of its image's file (empty for a known fill)."""

    id: str
    sha256: str


@dataclass(frozen=True)
class Work:
    """One page's worth of a prompt to be judged.

    Attributes:
        prompt_id: its id.
        items: its candidates or known fills, or two of them.
        content: fingerprint of all its pictures, its words and the question; pages of what has changed since are not
            shown again, and what was said of them does not count towards the overlap.
    """

    prompt_id: str
    items: tuple[Shown, ...]
    content: str


def ring(names: Sequence[str], seed: int, prompt_id: str) -> list[tuple[str, str]]:
    """The pairs of a prompt that are compared: neighbours in a ring drawn from the seed.

    Every candidate is in two pairs, so that no fill is compared more often than another; the pairs connect all
    candidates, which the Bradley-Terry model needs, and still do if one of them is never answered. n candidates make
    n pairs (two make one), where all pairs would be n (n − 1) / 2.

    Args:
        names: of the candidates.
        seed: of the studio.
        prompt_id: the same pairs are shown to every rater of a prompt.

    Returns:
        Pairs with the smaller name first.
    """
    ordered = sorted(names)
    drawn = np.random.default_rng(derive_seed("pairs", seed, prompt_id)).permutation(len(ordered))
    steps = zip(drawn, np.roll(drawn, -1), strict=True)
    found: dict[tuple[str, str], None] = {}
    for one, other in steps:
        if one != other:
            found[(ordered[min(one, other)], ordered[max(one, other)])] = None
    return list(found)


def works(
    question: Question, prompt_id: str, items: Sequence[Shown], looks: Sequence[str], words: str, seed: int
) -> list[Work]:
    """The pages of a prompt; none where there is nothing to choose from.

    Args:
        question: what is asked.
        prompt_id: of the prompt.
        items: its candidates.
        looks: checksums of the picture and its hole.
        words: what should be in the hole; "" for none.
        seed: of the studio.
    """

    def work(shown: Sequence[Shown]) -> Work:
        named = [[item.id, item.sha256] for item in shown]
        # A list, so that no words can be taken for it.
        further = [*([words] if words else []), *([] if question == "scores" else [["question", question]])]
        return Work(prompt_id, tuple(shown), fingerprint(list(looks), named, *further))

    if question == "scores":
        return [work(items)]
    if len(items) < 2:
        return []
    if question == "best":
        return [work(items)]
    by_name = {item.id: item for item in items}
    return [work([by_name[name] for name in pair]) for pair in ring(list(by_name), seed, prompt_id)]


def known_fills(question: Question, number: int) -> Sequence[str]:
    """Which fills the calibration page of a number shows: all, or the original and each bad one in turn."""
    return FILLS if question != "pairs" else (GOOD, FILLS[1 + number % (len(FILLS) - 1)])


def all_works(
    prompts: pd.DataFrame, candidates: pd.DataFrame, config: StudioConfig, order: Sequence[str] = ()
) -> dict[str, Work]:
    """All pages of work by their content, in the order in which they are handed out.

    Args:
        prompts: prompt_id, split, image_sha256, mask_sha256 and, where there are words, text_prompt.
        candidates: candidate_id, prompt_id, sha256.
        config: the question and the seed.
        order: prompts that change places among themselves, see `studio.order.rearranged`.
    """
    rated = set(prompts.loc[prompts["split"].isin(RATED_SPLITS), "prompt_id"])
    shown = candidates[candidates["prompt_id"].isin(rated)].sort_values("candidate_id")
    fills = {
        str(prompt): [Shown(*row) for row in group[["candidate_id", "sha256"]].itertuples(index=False, name=None)]
        for prompt, group in shown.groupby("prompt_id")
    }
    words, looks = text_prompts(prompts), looks_of(prompts)
    names = rearranged(seeded(fills, config.seed), order)
    made = (works(config.question, name, fills[name], looks[name], words[name], config.seed) for name in names)
    return {one.content: one for of_prompt in made for one in of_prompt}


def looks_of(prompts: pd.DataFrame) -> "pd.Series[Any]":
    """Checksums of a prompt's picture and its hole, a list of two, by prompt id."""
    return prompts.set_index("prompt_id")[["image_sha256", "mask_sha256"]].agg(list, axis=1)


def check(question: Question, answer: Answer, count: int) -> None:
    """Refuse an answer that does not fit its page.

    Args:
        question: of the page.
        answer: to it.
        count: candidates on the page.

    Raises:
        ValueError: it does not.
    """
    if answer.verdict != "rated":
        return
    if question == "scores":
        if answer.choice is not None or len(answer.scores) != count:
            raise ValueError(f"the page has {count} candidates, and asks for scores of each")
        return
    lowest = TIE if question == "pairs" else 1
    if answer.scores or answer.choice is None or not lowest <= answer.choice <= count:
        raise ValueError(f"the page has {count} candidates, and asks for a choice from {lowest} to {count}")


def put_down(connection: sa.Connection, rater_id: int, number: int, page: Any, answer: Answer, at: datetime) -> None:
    """Store what was said as ratings or comparisons.

    The best of n is stored as n − 1 comparisons, each won by it; how the others compare is not known.

    Args:
        connection: inside a transaction.
        rater_id: who said it.
        number: id of the answer.
        page: its row.
        answer: of verdict rated.
        at: time.
    """
    said = {"rater_id": rater_id, "answer_id": number, "rated_at": at}
    if answer.choice is None:
        given = [
            said | {"candidate_id": name, "sha256": sha256} | dict(zip(CRITERIA, scores, strict=True))
            for (name, sha256), scores in zip(page.shown, answer.scores, strict=True)
        ]
        connection.execute(sa.insert(ratings), given)
        return
    best = page.shown[answer.choice - 1] if answer.choice != TIE else page.shown[0]
    compared = []
    for other in page.shown:
        if other != best:
            (a, sha256_a), (b, sha256_b) = sorted((best, other))
            preferred = "tie" if answer.choice == TIE else "a" if a == best[0] else "b"
            pair = {"candidate_a": a, "candidate_b": b, "sha256_a": sha256_a, "sha256_b": sha256_b}
            compared.append(said | pair | {"preferred": preferred})
    connection.execute(sa.insert(comparisons), compared)


def said_before(connection: sa.Connection, page: Any, number: int) -> dict[str, Any]:
    """What an answer said: `given` (scores in the order shown) or `chosen` (a place or TIE), the other None."""
    rows = connection.execute(sa.select(ratings).where(ratings.c.answer_id == number)).fetchall()
    if rows:
        by_name = {row.candidate_id: [getattr(row, name) for name in CRITERIA] for row in rows}
        return {"given": [by_name[name] for name, _ in page.shown], "chosen": None}
    row = connection.execute(sa.select(comparisons).where(comparisons.c.answer_id == number)).first()
    if row is None:
        return {"given": None, "chosen": None}
    winner = {"a": row.candidate_a, "b": row.candidate_b, "tie": None}[row.preferred]
    names = [name for name, _ in page.shown]
    return {"given": None, "chosen": names.index(winner) + 1 if winner else TIE}


def feedback(page: Any, answer: Answer) -> dict[str, Any]:
    """What was where on a calibration page, and whether the rater noticed."""
    fills = [known.fill for name, _ in page.shown if (known := KnownFill.of(name))]
    if answer.choice is not None:
        return {"fills": fills, "passed": answer.choice != TIE and fills[answer.choice - 1] == GOOD}
    overall = {fill: scores[CRITERIA.index("overall")] for fill, scores in zip(fills, answer.scores, strict=True)}
    return {"fills": fills, "passed": passed(overall)}
