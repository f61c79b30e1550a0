"""Who is shown what, and what they answered: the studio without its web pages."""

import hashlib
import io
import secrets
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from PIL import Image

from prefpaint.config import derive_seed
from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder
from prefpaint.masks.config import RATED_SPLITS
from prefpaint.masks.figures import show_hole
from prefpaint.masks.words import text_prompts
from prefpaint.preferences.names import composed, is_name
from prefpaint.preferences.raters import enrol, find_rater
from prefpaint.preferences.rating_tables import answers, now, pages, raters, sessions
from prefpaint.preferences.store import RatingStore
from prefpaint.studio.accounts import hashed
from prefpaint.studio.calibration import KnownFill, calibration_prompts, paint
from prefpaint.studio.config import StudioConfig
from prefpaint.studio.questions import (
    Answer,
    Shown,
    Work,
    all_works,
    check,
    feedback,
    known_fills,
    looks_of,
    put_down,
    said_before,
    works,
)

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
        PrefPaintError: there are no candidates to rate, or none to choose from.
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
        if not candidates["prompt_id"].isin(rated).any():
            raise PrefPaintError("candidates: nothing to rate yet; run `kedro run --pipelines=masks,candidates`")
        self._words = text_prompts(prompts)
        self.work = all_works(prompts, candidates, config, order)
        if not self.work:
            raise PrefPaintError(
                f"candidates: no prompt has two to choose from, as studio.question: {config.question} needs; raise "
                "candidates.per_prompt, or set studio.question: scores"
            )
        chosen, looks = calibration_prompts(prompts, config.calibration, config.seed), looks_of(prompts)
        self.calibration = []
        for number, name in enumerate(chosen):
            known = [Shown(KnownFill(name, fill).id, "") for fill in known_fills(config.question, number)]
            self.calibration += works(config.question, name, known, looks[name], self._words[name], config.seed)
        self._current = {*self.work, *(one.content for one in self.calibration)}
        store.prepare()
        self._picture = lru_cache(SERVED_IMAGES)(self._draw)

    @property
    def prompts(self) -> int:
        """How many prompts there are to rate."""
        return len({one.prompt_id for one in self.work.values()})

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
            row = find_rater(connection, name)
            if row is None:
                if needs_token or token:
                    return None
                name = composed(name)
                rater = Rater(enrol(connection, [name])[name], name, False)
            else:
                stored = row.token_hash
                fits = not (needs_token or token) if stored is None else secrets.compare_digest(stored, hashed(token))
                if row.blocked or not fits:
                    return None
                rater = Rater(row.id, row.name, row.organiser)
            session = secrets.token_urlsafe(32)
            expires = now() + timedelta(hours=self.config.session_hours)
            connection.execute(sa.delete(sessions).where(sessions.c.expires_at < now()))
            opened = {"token_hash": hashed(session), "rater_id": rater.id, "expires_at": expires}
            connection.execute(sa.insert(sessions).values(opened))
        return session, rater

    def rater(self, session: str | None) -> Rater | None:
        """Whose session this is; None for a forged, ended or expired one."""
        if not session:
            return None
        statement = (
            sa.select(raters.c.id, raters.c.name, raters.c.organiser)
            .join_from(sessions, raters)
            .where(sessions.c.token_hash == hashed(session), sessions.c.expires_at > now(), ~raters.c.blocked)
        )
        with self.store.read() as connection:
            row = connection.execute(statement).one_or_none()
        return Rater(*row) if row else None

    def sign_out(self, session: str | None) -> None:
        """End a session."""
        with self.store.write() as connection:
            connection.execute(sa.delete(sessions).where(sessions.c.token_hash == hashed(session or "")))

    # ------------------------------------------------------------ what is shown

    def page(self, rater: Rater) -> dict[str, Any]:
        """The rater's open page, or a new one.

        Returns:
            page: None when nothing is left, else id, question, calibration (whether it is one), candidates (how many),
            text_prompt (what should be in the hole; "" for none), given and chosen (scores and choice of an answer
            that was taken back); progress: done, left (pages), seconds (median of a page).
        """
        with self.store.write() as connection:
            return self._page(connection, rater)

    def answer(self, rater: Rater, answer: Answer) -> dict[str, Any]:
        """Record an answer and hand out the next page, in one transaction.

        Returns:
            As `page`; after a calibration page also `feedback`: which fill was where, and whether the rater noticed.

        Raises:
            NotYours: the page is not one of the rater's.
            ValueError: the scores or the choice do not fit the page.
        """
        with self.store.write() as connection:
            page = self._own(connection, rater, answer.page_id)
            # A page from before the studio's question was changed is taken as it was asked.
            check(page.question, answer, len(page.shown))
            known = connection.execute(sa.select(answers.c.page_id).where(answers.c.key == answer.key)).scalar()
            if known is not None and known != page.id:
                raise ValueError("the key belongs to another answer")
            # A calibration page has shown its answer, so it cannot be answered again.
            if known is None and not (page.kind == "calibration" and page.state != "open"):
                self._record(connection, rater, page, answer)
            told = page.kind == "calibration" and answer.verdict == "rated"
            return self._page(connection, rater) | ({"feedback": feedback(page, answer)} if told else {})

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
            put_down(connection, rater.id, number, page, answer, at)
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
            "question": page.question,
            "calibration": page.kind == "calibration",
            "candidates": len(page.shown),
            "text_prompt": self._words[page.prompt_id],
            **self._given(connection, page),
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
        # Pairs of one prompt are turned each for itself.
        apart = [work.content] if self.config.question == "pairs" else []
        rng = np.random.default_rng(derive_seed("order", self.config.seed, rater.name, kind, work.prompt_id, *apart))
        row = {
            "rater_id": rater.id,
            "sequence": mine[-1].sequence + 1 if mine else 1,
            "kind": kind,
            "prompt_id": work.prompt_id,
            "content": work.content,
            "question": self.config.question,
            "shown": [[work.items[index].id, work.items[index].sha256] for index in rng.permutation(len(work.items))],
            "state": "open",
            "opened_at": now(),
        }
        return int(connection.execute(sa.insert(pages).values(row)).inserted_primary_key[0])  # type: ignore[index]

    def _given(self, connection: sa.Connection, page: Any) -> dict[str, Any]:
        """What was last said of a page."""
        last = connection.execute(
            sa.select(sa.func.max(answers.c.id)).where(answers.c.page_id == page.id, answers.c.verdict == "rated")
        ).scalar()
        return said_before(connection, page, last or 0)

    def _pace(self, connection: sa.Connection, page_ids: list[int]) -> float | None:
        statement = sa.select(answers.c.seconds).where(
            answers.c.page_id.in_(page_ids), answers.c.verdict != "withdrawn"
        )
        spent = [seconds for (seconds,) in connection.execute(statement)]
        return statistics.median(spent) if spent else None
