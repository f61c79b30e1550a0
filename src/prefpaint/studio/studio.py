"""Who is shown what, and what they answered: the studio without its web pages."""

import hashlib
import io
import secrets
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pandas as pd
import sqlalchemy as sa
from PIL import Image

from prefpaint.config import derive_seed, fingerprint
from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder
from prefpaint.masks.config import RATED_SPLITS
from prefpaint.masks.figures import show_hole
from prefpaint.masks.words import text_prompts
from prefpaint.preferences.exchange import NAME_RULE, is_name
from prefpaint.preferences.schema import CRITERIA
from prefpaint.preferences.store import RatingStore, answers, enrol, now, pages, raters, ratings, sessions
from prefpaint.studio.calibration import FILLS, KnownFill, calibration_prompts, paint, passed
from prefpaint.studio.config import StudioConfig
from prefpaint.studio.order import rearranged, seeded

Verdict = Literal["rated", "cannot judge"]
# The pace is the median of the last pages: one cup of tea does not spoil it.
PACE_PAGES = 20
SERVED_IMAGES = 512


class NotYours(LookupError):
    """No such page, or another rater's; nobody can tell which."""


@dataclass(frozen=True)
class Rater:
    """Somebody who has signed in."""

    id: int
    name: str
    organiser: bool


@dataclass(frozen=True)
class Answer:
    """What a rater says of one page.

    Attributes:
        page_id: of the page.
        key: chosen by the sender; an answer sent twice under one key is one answer.
        verdict: rated, or that it cannot be judged.
        scores: per candidate as shown, from left to right, the CRITERIA in 0-7; empty for "cannot judge".
        seconds: how long the page was looked at.
    """

    page_id: int
    key: str
    verdict: Verdict
    scores: Sequence[Sequence[int]]
    seconds: float


@dataclass(frozen=True)
class Shown:
    """What is shown in one place of a page: an id, and the SHA-256 of its image's file (empty for a known fill)."""

    id: str
    sha256: str


@dataclass(frozen=True)
class Work:
    """One prompt to be judged.

    Attributes:
        prompt_id: its id.
        items: its candidates or known fills.
        content: fingerprint of all its pictures and its words; pages of pictures or words that have changed since are
            not shown again, and what was said of them does not count towards the overlap.
    """

    prompt_id: str
    items: tuple[Shown, ...]
    content: str


class Studio:
    """The prompts to be rated, and the store that answers go to.

    Args:
        store: of ratings.
        prompts: prompt_id, split, pattern, image_sha256, mask_sha256 and, where there are words, text_prompt.
        candidates: candidate_id, prompt_id, sha256.
        prompt_images, prompt_masks, candidate_images: their pictures.
        config: how work is handed out.
        order: prompts that change places among themselves: the first of them comes where the seeded order has the
            first of them, and so on. The others keep their places.

    Raises:
        PrefPaintError: there are no candidates to rate.
    """

    def __init__(
        self,
        store: RatingStore,
        prompts: pd.DataFrame,
        candidates: pd.DataFrame,
        prompt_images: ImageFolder,
        prompt_masks: ImageFolder,
        candidate_images: ImageFolder,
        config: StudioConfig,
        order: Sequence[str] = (),
    ) -> None:
        self.store, self.config, self.candidates = store, config, candidates
        self._images, self._masks, self._fills = prompt_images, prompt_masks, candidate_images
        rated = set(prompts.loc[prompts["split"].isin(RATED_SPLITS), "prompt_id"])
        shown = candidates[candidates["prompt_id"].isin(rated)].sort_values("candidate_id")
        if shown.empty:
            raise PrefPaintError("candidates: nothing to rate yet; run `kedro run --pipelines=masks,candidates`")
        self._words = text_prompts(prompts)
        looks = prompts.set_index("prompt_id")[["image_sha256", "mask_sha256"]].agg(list, axis=1)

        def work(prompt: str, items: list[Shown]) -> Work:
            named = [[item.id, item.sha256] for item in items]
            words = [self._words[prompt]] if self._words[prompt] else []
            return Work(prompt, tuple(items), fingerprint(looks[prompt], named, *words))

        fills = {
            str(prompt): [Shown(*row) for row in group[["candidate_id", "sha256"]].itertuples(index=False, name=None)]
            for prompt, group in shown.groupby("prompt_id")
        }
        listed = [work(name, fills[name]) for name in rearranged(seeded(fills, config.seed), order)]
        chosen = calibration_prompts(prompts, config.calibration, config.seed)
        # In the order in which they are handed out.
        self.work = {one.content: one for one in listed}
        self.calibration = [work(name, [Shown(KnownFill(name, fill).id, "") for fill in FILLS]) for name in chosen]
        self._current = {*self.work, *(one.content for one in self.calibration)}
        store.prepare()
        self._picture = lru_cache(SERVED_IMAGES)(self._draw)

    # ------------------------------------------------------------ who

    def sign_in(self, name: str, token: str, needs_token: bool) -> tuple[str, Rater] | None:
        """Open a session.

        Args:
            name: of the rater. Where no token is needed, an unknown name becomes a rater.
            token: as it was given out; a rater that has one always needs it.
            needs_token: whether names without a token are turned away.

        Returns:
            The session's token and the rater; None where name and token do not fit.
        """
        if not is_name(name):
            return None
        with self.store.write() as connection:
            row = connection.execute(sa.select(raters).where(raters.c.name == name)).one_or_none()
            if row is None:
                if needs_token or token:
                    return None
                rater = Rater(enrol(connection, [name])[name], name, False)
            else:
                stored = row.token_hash
                fits = not (needs_token or token) if stored is None else _same(stored, _hash(token))
                if row.blocked or not fits:
                    return None
                rater = Rater(row.id, row.name, row.organiser)
            session = secrets.token_urlsafe(32)
            expires = now() + timedelta(hours=self.config.session_hours)
            connection.execute(sa.delete(sessions).where(sessions.c.expires_at < now()))
            opened = {"token_hash": _hash(session), "rater_id": rater.id, "expires_at": expires}
            connection.execute(sa.insert(sessions).values(opened))
        return session, rater

    def rater(self, session: str | None) -> Rater | None:
        """Whose session this is; None for a forged, ended or expired one."""
        if not session:
            return None
        statement = (
            sa.select(raters.c.id, raters.c.name, raters.c.organiser)
            .join_from(sessions, raters)
            .where(sessions.c.token_hash == _hash(session), sessions.c.expires_at > now(), ~raters.c.blocked)
        )
        with self.store.read() as connection:
            row = connection.execute(statement).one_or_none()
        return Rater(*row) if row else None

    def sign_out(self, session: str | None) -> None:
        """End a session."""
        with self.store.write() as connection:
            connection.execute(sa.delete(sessions).where(sessions.c.token_hash == _hash(session or "")))

    # ------------------------------------------------------------ what is shown

    def page(self, rater: Rater) -> dict[str, Any]:
        """The rater's open page, or a new one.

        Returns:
            page: None when nothing is left, else id, calibration (whether it is one), candidates (how many),
            text_prompt (what should be in the hole; "" for none), given (scores of an answer that was taken back);
            progress: done, left, seconds (median of a page).
        """
        with self.store.write() as connection:
            return self._page(connection, rater)

    def answer(self, rater: Rater, answer: Answer) -> dict[str, Any]:
        """Record an answer and hand out the next page, in one transaction.

        Returns:
            As `page`; after a calibration page also `feedback`: which fill was where, and whether the rater noticed.

        Raises:
            NotYours: the page is not one of the rater's.
            ValueError: the scores do not fit the page.
        """
        with self.store.write() as connection:
            page = self._own(connection, rater, answer.page_id)
            if answer.verdict == "rated" and len(answer.scores) != len(page.shown):
                raise ValueError(f"the page has {len(page.shown)} candidates")
            known = connection.execute(sa.select(answers.c.page_id).where(answers.c.key == answer.key)).scalar()
            if known is not None and known != page.id:
                raise ValueError("the key belongs to another answer")
            # A calibration page has shown its answer, so it cannot be answered again.
            if known is None and not (page.kind == "calibration" and page.state != "open"):
                self._record(connection, rater, page, answer)
            feedback = _feedback(page, answer) if page.kind == "calibration" and answer.verdict == "rated" else None
            return self._page(connection, rater) | ({"feedback": feedback} if feedback else {})

    def undo(self, rater: Rater, key: str) -> dict[str, Any]:
        """Take back the last answer; its page is open again, with what was given. Calibration stays answered.

        Args:
            rater: whose answer.
            key: chosen by the sender; the same key takes back one answer, however often it is sent.

        Returns:
            As `page`.
        """
        with self.store.write() as connection:
            # Pages of pictures that have since been regenerated are nobody's last answer.
            mine = [page for page in self._mine(connection, rater) if page.content in self._current]
            first_open = next((page.sequence for page in mine if page.state == "open"), None)
            answered = [
                page
                for page in mine
                if page.state != "open"
                and page.kind != "calibration"
                and (first_open is None or page.sequence < first_open)
            ]
            known = connection.execute(sa.select(answers.c.id).where(answers.c.key == key)).scalar()
            if answered and known is None:
                last = answered[-1]
                withdrawn = {
                    "page_id": last.id,
                    "key": key,
                    "verdict": "withdrawn",
                    "seconds": 0.0,
                    "answered_at": now(),
                }
                connection.execute(sa.insert(answers).values(withdrawn))
                connection.execute(sa.update(pages).where(pages.c.id == last.id).values(state="open", opened_at=now()))
            return self._page(connection, rater)

    def picture(self, rater: Rater, page_id: int, place: int) -> bytes:
        """A PNG of a page: place 0 is the picture with its hole, 1 and up are the candidates from left to right.

        Raises:
            NotYours: the page is not one of the rater's, or has no such place.
        """
        with self.store.read() as connection:
            page = self._own(connection, rater, page_id)
        if not 0 <= place <= len(page.shown):
            raise NotYours
        try:
            return self._picture(page.prompt_id, *(page.shown[place - 1] if place else ("", "")))
        except (KeyError, OSError) as error:
            raise NotYours from error

    def _draw(self, prompt_id: str, name: str, sha256: str) -> bytes:
        """A picture; raises KeyError where the file is not the one that was handed out."""
        if sha256:
            stored = self._fills.file(name).read_bytes()
            if hashlib.sha256(stored).hexdigest() != sha256:
                raise KeyError(name)
            return stored
        known = KnownFill.of(name)
        if known:
            image = paint(known, self._images, self._masks)
        else:
            image = show_hole(self._images[prompt_id], self._masks[prompt_id])
        buffer = io.BytesIO()
        Image.fromarray(np.asarray(image)).save(buffer, format="PNG")
        return buffer.getvalue()

    # ------------------------------------------------------------ inside a transaction

    def _own(self, connection: sa.Connection, rater: Rater, page_id: int) -> Any:
        row = connection.execute(
            sa.select(pages).where(pages.c.id == page_id, pages.c.rater_id == rater.id)
        ).one_or_none()
        if row is None:
            raise NotYours
        return row

    def _record(self, connection: sa.Connection, rater: Rater, page: Any, answer: Answer) -> None:
        at = now()
        row = {
            "page_id": page.id,
            "key": answer.key,
            "verdict": answer.verdict,
            "seconds": answer.seconds,
            "answered_at": at,
        }
        number = connection.execute(sa.insert(answers).values(row)).inserted_primary_key[0]  # type: ignore[index]
        if answer.verdict == "rated":
            given = [
                {"rater_id": rater.id, "answer_id": number, "candidate_id": name, "sha256": sha256, "rated_at": at}
                | dict(zip(CRITERIA, scores, strict=True))
                for (name, sha256), scores in zip(page.shown, answer.scores, strict=True)
            ]
            connection.execute(sa.insert(ratings), given)
        connection.execute(sa.update(pages).where(pages.c.id == page.id).values(state=answer.verdict))

    def _page(self, connection: sa.Connection, rater: Rater) -> dict[str, Any]:
        mine = self._mine(connection, rater)
        available = self._available(connection, rater, mine)
        waiting = [page for page in mine if page.state == "open" and page.content in self._current]
        number = waiting[0].id if waiting else self._next(connection, rater, mine, available)
        done = [page for page in mine if page.state != "open" and page.kind != "calibration"]
        progress = {
            "done": len(done),
            "left": len(available) + sum(page.kind != "calibration" for page in waiting),
            "seconds": self._pace(connection, [page.id for page in done[-PACE_PAGES:]]),
        }
        if number is None:
            return {"page": None, "progress": progress}
        page = connection.execute(sa.select(pages).where(pages.c.id == number)).one()
        if waiting:
            # The claim is kept by who looks at the page.
            connection.execute(sa.update(pages).where(pages.c.id == page.id).values(opened_at=now()))
        shown = {
            "id": page.id,
            "calibration": page.kind == "calibration",
            "candidates": len(page.shown),
            "text_prompt": self._words[page.prompt_id],
            "given": self._given(connection, page) if waiting else None,
        }
        return {"page": shown, "progress": progress}

    def _mine(self, connection: sa.Connection, rater: Rater) -> Sequence[Any]:
        """The rater's pages in the order in which they were opened."""
        columns = (pages.c[name] for name in ("id", "sequence", "kind", "content", "state"))
        statement = sa.select(*columns).where(pages.c.rater_id == rater.id).order_by(pages.c.sequence)
        return connection.execute(statement).fetchall()

    def _available(self, connection: sa.Connection, rater: Rater, mine: Sequence[Any]) -> list[Work]:
        """Prompts that this rater may still be given, those first that others have begun."""
        fresh = now() - timedelta(minutes=self.config.claim_minutes)
        claim = sa.or_(pages.c.state == "rated", sa.and_(pages.c.state == "open", pages.c.opened_at > fresh))
        statement = (
            sa.select(pages.c.content, sa.func.count())
            .where(pages.c.kind == "work", claim, pages.c.rater_id != rater.id)
            .group_by(pages.c.content)
        )
        claims: dict[str, int] = {row[0]: row[1] for row in connection.execute(statement)}
        seen = {page.content for page in mine if page.kind == "work"}
        free = [one for key, one in self.work.items() if key not in seen and claims.get(key, 0) < self.config.overlap]
        # Stable, so that prompts of equal claims keep their drawn order.
        return sorted(free, key=lambda one: -claims.get(one.content, 0))

    def _next(
        self, connection: sa.Connection, rater: Rater, mine: Sequence[Any], available: Sequence[Work]
    ) -> int | None:
        """Open the rater's next page: calibration, then work with some of it repeated; None when nothing is left."""
        begun = {page.content for page in mine if page.kind == "calibration"}
        for one in self.calibration:
            if one.content not in begun:
                return self._open(connection, rater, mine, "calibration", one)
        again = self._repeat(rater, mine)
        if again is not None:
            return self._open(connection, rater, mine, "repeat", again)
        return self._open(connection, rater, mine, "work", available[0]) if available else None

    def _repeat(self, rater: Rater, mine: Sequence[Any]) -> Work | None:
        """Earlier work whose second showing is due, if one is."""
        every = self.config.repeat_every
        rated = [page.content for page in mine if page.kind == "work" and page.state == "rated"]
        repeated = {page.content for page in mine if page.kind == "repeat"}
        if not every or len(repeated) >= len(rated) // every:
            return None
        # Not among the last few: those would be remembered.
        old = [key for key in rated[: len(rated) - every // 2] if key in self.work and key not in repeated]
        chosen = min(old, key=lambda key: derive_seed("again", self.config.seed, rater.name, key), default=None)
        return self.work[chosen] if chosen else None

    def _open(self, connection: sa.Connection, rater: Rater, mine: Sequence[Any], kind: str, work: Work) -> int:
        rng = np.random.default_rng(derive_seed("order", self.config.seed, rater.name, kind, work.prompt_id))
        row = {
            "rater_id": rater.id,
            "sequence": mine[-1].sequence + 1 if mine else 1,
            "kind": kind,
            "prompt_id": work.prompt_id,
            "content": work.content,
            "shown": [[work.items[index].id, work.items[index].sha256] for index in rng.permutation(len(work.items))],
            "state": "open",
            "opened_at": now(),
        }
        return int(connection.execute(sa.insert(pages).values(row)).inserted_primary_key[0])  # type: ignore[index]

    def _given(self, connection: sa.Connection, page: Any) -> list[list[int]] | None:
        """Scores of a page's last rating, in the order shown."""
        last = connection.execute(
            sa.select(sa.func.max(answers.c.id)).where(answers.c.page_id == page.id, answers.c.verdict == "rated")
        ).scalar()
        if last is None:
            return None
        rows = connection.execute(sa.select(ratings).where(ratings.c.answer_id == last))
        by_name = {row.candidate_id: [getattr(row, name) for name in CRITERIA] for row in rows}
        return [by_name[name] for name, _ in page.shown]

    def _pace(self, connection: sa.Connection, page_ids: list[int]) -> float | None:
        statement = sa.select(answers.c.seconds).where(
            answers.c.page_id.in_(page_ids), answers.c.verdict != "withdrawn"
        )
        spent = [seconds for (seconds,) in connection.execute(statement)]
        return statistics.median(spent) if spent else None


def _feedback(page: Any, answer: Answer) -> dict[str, Any]:
    """What was where on a calibration page, and whether the rater noticed."""
    fills = [known.fill for name, _ in page.shown if (known := KnownFill.of(name))]
    overall = {fill: scores[CRITERIA.index("overall")] for fill, scores in zip(fills, answer.scores, strict=True)}
    return {"fills": fills, "passed": passed(overall)}


def add_rater(store: RatingStore, name: str, organiser: bool = False) -> str:
    """Make a rater, or give one a new token; earlier tokens and sessions end.

    Args:
        store: of ratings.
        name: see `NAME_RULE`.
        organiser: lets them see everybody's progress and export; an organiser stays one.

    Returns:
        The token. Only its hash is kept, so it cannot be shown again.

    Raises:
        PrefPaintError: the name cannot be used.
    """
    if not is_name(name):
        raise PrefPaintError(f"rater {name!r}: is not a valid name; {NAME_RULE}")
    token = secrets.token_urlsafe(32)
    with store.write() as connection:
        row = connection.execute(sa.select(raters).where(raters.c.name == name)).one_or_none()
        rights = organiser or (row is not None and row.organiser)
        values = {"organiser": rights, "blocked": False, "token_hash": _hash(token)}
        if row is None:
            connection.execute(sa.insert(raters).values(name=name, added_at=now(), **values))
        else:
            connection.execute(sa.update(raters).where(raters.c.id == row.id).values(values))
            connection.execute(sa.delete(sessions).where(sessions.c.rater_id == row.id))
    return token


def block_rater(store: RatingStore, name: str) -> None:
    """Block a rater at once; their ratings stay.

    Raises:
        PrefPaintError: the rater is unknown.
    """
    with store.write() as connection:
        number = connection.execute(sa.select(raters.c.id).where(raters.c.name == name)).scalar()
        if number is None:
            raise PrefPaintError(f"rater {name!r}: is unknown; `kedro raters list` shows all raters")
        connection.execute(sa.update(raters).where(raters.c.id == number).values(blocked=True))
        connection.execute(sa.delete(sessions).where(sessions.c.rater_id == number))


def has_token_holders(store: RatingStore) -> bool:
    """Whether anybody could sign in where tokens are required."""
    if not store.is_there():
        return False
    statement = (
        sa.select(sa.func.count()).select_from(raters).where(raters.c.token_hash.is_not(None), ~raters.c.blocked)
    )
    with store.read() as connection:
        return bool(connection.execute(statement).scalar())


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _same(a: str, b: str) -> bool:
    return secrets.compare_digest(a, b)


__all__ = ["Answer", "NotYours", "Rater", "Studio", "add_rater", "block_rater", "has_token_holders"]
