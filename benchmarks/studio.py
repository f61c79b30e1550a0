"""The rating studio under load: many raters at once over real HTTP, while the server is killed repeatedly.

    python benchmarks/studio.py                   # SQLite, a folder of its own
    python benchmarks/studio.py postgresql+psycopg://user@host/database

Prints how long a page takes (an answer, the next page and its four pictures), and whether every rating that was
acknowledged is in the store exactly once.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from prefpaint.preferences import rating_tables as tables
from prefpaint.preferences.schema import CRITERIA
from prefpaint.preferences.store import RatingStore
from tests.studio.project import Client, Server, make_pictures


@dataclass(frozen=True)
class Crowd:
    """What a crowd of raters measured.

    Attributes:
        answered: pages that were acknowledged.
        stored: ratings that count in the store.
        lost: acknowledged pages whose scores are not in the store as they were given.
        doubled: acknowledged pages with more than one answer.
        kills: how often the server was killed.
        seconds: of each page that was turned while the server was up.
        wall: seconds from the first sign-in to the last answer.
    """

    answered: int
    stored: int
    lost: int
    doubled: int
    kills: int
    seconds: list[float]
    wall: float


@dataclass
class _Said:
    page: int
    key: str
    scores: list[list[int]]


def _rate(port: int, name: str, seed: int, said: list[_Said], seconds: list[float]) -> None:
    """One rater, until nothing is left."""
    client, draw = Client(port), random.Random(seed)
    client.json("/api/sign-in", {"name": name})
    found = client.json("/api/page")
    while found["page"]:
        number = found["page"]["id"]
        scores = [[draw.randrange(8) for _ in CRITERIA] for _ in range(found["page"]["candidates"])]
        body = {"page": number, "key": f"{seed:04d}{draw.getrandbits(64):016x}", "verdict": "rated"}
        answer: dict[str, Any] = body | {"scores": scores, "seconds": 1.0}
        found, took = _turn(client, answer)
        said.append(_Said(number, answer["key"], scores))
        if took is not None:
            seconds.append(took)


def _turn(client: Client, answer: dict[str, Any]) -> tuple[dict[str, Any], float | None]:
    """Answer, and fetch what the next page shows; the time, or None if the server went away in between."""
    started, calm = time.perf_counter(), True
    try:
        status, body = client.call("POST", "/api/answer", answer)
        calm = status == 200
    except (OSError, HTTPException):
        calm = False
    found = json.loads(body) if calm else client.json("/api/answer", answer)
    if found["page"]:
        for place in range(found["page"]["candidates"] + 1):
            status, picture = client.persist("GET", f"/image/{found['page']['id']}/{place}")
            assert status == 200 and picture.startswith(b"\x89PNG"), (status, picture[:80])
    return found, time.perf_counter() - started if calm else None


def crowd(
    folder: Path, raters: int, prompts: int, kills: int, location: Path | str | None = None, size: int | None = None
) -> Crowd:
    """Let raters rate all prompts at the same time, and kill the server while they do.

    Args:
        folder: for pictures, and for the store where `location` gives no other.
        raters: how many; each rates every prompt.
        prompts: how many there are.
        kills: `kill -9`, spread over the work.
        location: of the store.
        size: side of the pictures in pixels; None: small.
    """
    make_pictures(folder / "pictures", prompts=prompts, **({} if size is None else {"size": size}))
    place = folder / "store" if location is None else location
    said: list[list[_Said]] = [[] for _ in range(raters)]
    seconds: list[float] = []
    with Server(folder / "pictures", place, overlap=raters, calibration=0, repeat_every=0) as server:
        started = time.perf_counter()
        threads = [
            threading.Thread(target=_rate, args=(server.port, f"rater {index}", index, said[index], seconds))
            for index in range(raters)
        ]
        for thread in threads:
            thread.start()
        killed = 0
        while any(thread.is_alive() for thread in threads):
            if killed < kills and sum(map(len, said)) >= (killed + 1) * raters * prompts // (kills + 1):
                server.kill()
                server.start()
                killed += 1
            time.sleep(0.02)
        wall = time.perf_counter() - started
    store = RatingStore(place)
    answers = store.rows(sa.select(tables.answers.c.key, tables.answers.c.page_id, tables.answers.c.id))
    given = store.rows(
        sa.select(tables.ratings, tables.pages.c.shown).join_from(tables.ratings, tables.answers).join(tables.pages)
    )
    stored, lost, doubled = len(store.ratings()), 0, 0
    by_page = answers.groupby("page_id")["id"].agg(list)
    rows = {(row.answer_id, row.candidate_id): [getattr(row, name) for name in CRITERIA] for row in given.itertuples()}
    order = {row.answer_id: [name for name, _ in row.shown] for row in given.itertuples()}
    store.close()
    for one in (one for rater in said for one in rater):
        found = by_page.get(one.page, [])
        doubled += len(found) > 1
        lost += not found or [rows.get((found[0], name)) for name in order.get(found[0], [])] != one.scores
    return Crowd(sum(map(len, said)), stored, lost, doubled, killed, seconds, wall)


def main() -> None:
    """Run at size and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", help="Of a database that is not SQLite.")
    parser.add_argument("--raters", type=int, default=16)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--size", type=int, default=64, help="Side of the pictures, pixels.")
    parser.add_argument("--quick", action="store_true", help="Only see whether it runs.")
    given = parser.parse_args()
    if given.quick:
        given.raters, given.prompts, given.kills = 3, 6, 1
    with tempfile.TemporaryDirectory() as folder:
        found = crowd(Path(folder), given.raters, given.prompts, given.kills, given.url, given.size)
    milliseconds = np.array(found.seconds) * 1000
    table = Table("", "")
    for title, value in (
        ("raters at the same time", given.raters),
        ("pages acknowledged", found.answered),
        ("ratings in the store", f"{found.stored} of {found.answered * 3}"),
        ("lost", found.lost),
        ("doubled", found.doubled),
        ("server killed", f"{found.kills} times"),
        ("page to page, median", f"{np.median(milliseconds):.0f} ms"),
        ("page to page, 95 %", f"{np.percentile(milliseconds, 95):.0f} ms"),
        ("pages a second", f"{found.answered / found.wall:.0f}"),
    ):
        table.add_row(title, str(value))
    Console().print(table)
    if found.lost or found.doubled:
        sys.exit("acknowledged ratings are lost or doubled")


if __name__ == "__main__":
    main()
