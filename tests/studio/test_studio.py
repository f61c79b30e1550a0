"""Handing out pages and putting down answers, in SQLite and PostgreSQL."""

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder, write_image
from prefpaint.preferences import rating_tables as tables
from prefpaint.studio.accounts import add_rater, block_rater, has_token_holders
from prefpaint.studio.overview import overview
from prefpaint.studio.questions import Answer
from prefpaint.studio.studio import NotYours, Rater, Studio
from tests.studio.project import make_pictures, open_studio

PLAIN = {"calibration": 0, "repeat_every": 0}


def enter(studio: Studio, name: str) -> Rater:
    opened = studio.sign_in(name, "", needs_token=False)
    assert opened is not None
    return opened[1]


def rate(
    studio: Studio, rater: Rater, page: dict[str, Any], scores: Any = None, key: str | None = None
) -> dict[str, Any]:
    given = scores or [[4, 5, 6]] * page["page"]["candidates"]
    number = page["page"]["id"]
    return studio.answer(
        rater, Answer(number, key or f"key-{rater.id}-{number}-{np.random.bytes(4).hex()}", "rated", given, 2.0)
    )


def undo(studio: Studio, rater: Rater) -> dict[str, Any]:
    return studio.undo(rater, f"undo-{np.random.bytes(8).hex()}")


def shown(studio: Studio, number: int) -> list[str]:
    row = studio.store.rows(sa.select(tables.pages.c.shown).where(tables.pages.c.id == number))
    return [name for name, _ in row["shown"].iloc[0]]


def prompt(studio: Studio, page: dict[str, Any]) -> str:
    rows = studio.store.rows(sa.select(tables.pages.c.prompt_id).where(tables.pages.c.id == page["page"]["id"]))
    return str(rows["prompt_id"].iloc[0])


def test_a_rater_is_told_what_should_be_in_the_hole(pictures: Path, location: Path | str) -> None:
    studio = open_studio(pictures, location, **PLAIN)
    ann = enter(studio, "ann")
    page = studio.page(ann)
    while page["page"]:
        number = int(prompt(studio, page)[-5:])
        assert page["page"]["text_prompt"] == (f"a red car {number}" if number % 2 else "")
        page = rate(studio, ann, page)
    studio.store.close()


def test_other_words_are_another_question(pictures: Path, location: Path | str) -> None:
    studio = open_studio(pictures, location, **PLAIN)
    ann = enter(studio, "ann")
    page = studio.page(ann)
    while page["page"]:
        page = rate(studio, ann, page)
    studio.store.close()
    prompts = pd.read_parquet(pictures / "prompts.parquet")
    changed = prompts.assign(text_prompt=prompts["text_prompt"].replace("a red car 1", "a blue car"))
    again = Studio(
        studio.store,
        changed,
        studio.candidates,
        ImageFolder(pictures / "images"),
        ImageFolder(pictures / "masks", masks=True),
        ImageFolder(pictures / "fills"),
        studio.config,
    )
    page = again.page(ann)
    assert page["page"]["text_prompt"] == "a blue car" and page["progress"]["left"] == 1
    again.store.close()


def test_a_rater_rates_everything_once(pictures: Path, location: Path | str) -> None:
    studio = open_studio(pictures, location, **PLAIN)
    ann = enter(studio, "ann")
    page, done = studio.page(ann), 0
    assert page["progress"] == {"done": 0, "left": 6, "seconds": None}
    while page["page"]:
        page = rate(studio, ann, page)
        done += 1
        assert page["progress"]["done"] == done and page["progress"]["left"] == 6 - done
    assert done == 6 and page["progress"]["seconds"] == 2.0
    found = studio.store.ratings()
    assert len(found) == 18 and set(found["rater"]) == {"ann"} and found["overall"].eq(6).all()
    assert set(found["candidate_id"]) == set(studio.candidates["candidate_id"])
    studio.store.close()


def test_scores_belong_to_what_stood_there(pictures: Path, tmp_path: Path) -> None:
    studio = open_studio(pictures, tmp_path, **PLAIN)
    orders = set()
    for name in ("ann", "bob", "cyd", "dan"):
        rater = enter(studio, name)
        page = studio.page(rater)
        number = page["page"]["id"]
        names = shown(studio, number)
        orders.add(tuple(name[-1] for name in names))
        for place, candidate in enumerate(names, 1):
            assert studio.picture(rater, number, place) == (pictures / f"fills/{candidate}.png").read_bytes()
        rate(studio, rater, page, [[int(candidate[-1])] * 3 for candidate in names])
    found = studio.store.ratings()
    assert (found["overall"] == found["candidate_id"].str[-1].astype(int)).all() and len(found) == 12
    assert len(orders) > 1, "the order is drawn for every rater"


def test_the_picture_with_its_hole_shows_no_original(pictures: Path, tmp_path: Path) -> None:
    from io import BytesIO

    from PIL import Image

    studio = open_studio(pictures, tmp_path, **PLAIN)
    ann = enter(studio, "ann")
    page = studio.page(ann)
    image = np.asarray(Image.open(BytesIO(studio.picture(ann, page["page"]["id"], 0))))
    hole = ImageFolder(pictures / "masks", masks=True)[prompt(studio, page)] > 0
    assert (image[hole] == 128).all() and not (image[~hole] == 128).all()


def test_closing_and_coming_back_shows_the_same_page(pictures: Path, location: Path | str) -> None:
    studio = open_studio(pictures, location, **PLAIN)
    first = studio.page(enter(studio, "ann"))
    rate(studio, enter(studio, "ann"), first)
    again = open_studio(pictures, location, **PLAIN)
    assert again.page(enter(again, "ann"))["page"] == studio.page(enter(studio, "ann"))["page"]
    studio.store.close()
    again.store.close()


def test_an_answer_sent_twice_is_one_answer(pictures: Path, location: Path | str) -> None:
    studio = open_studio(pictures, location, **PLAIN)
    ann, bob = enter(studio, "ann"), enter(studio, "bob")
    page = studio.page(ann)
    after = rate(studio, ann, page, key="the same key twice")
    again = rate(studio, ann, page, key="the same key twice")
    assert after["page"]["id"] == again["page"]["id"]
    assert studio.store.rows(sa.select(sa.func.count().label("n")).select_from(tables.answers))["n"].tolist() == [1]
    with pytest.raises(ValueError, match="another answer"):
        rate(studio, bob, studio.page(bob), key="the same key twice")
    studio.store.close()


def test_undo_opens_the_last_page_with_what_was_given_and_the_correction_counts(
    pictures: Path, location: Path | str
) -> None:
    studio = open_studio(pictures, location, **PLAIN)
    ann = enter(studio, "ann")
    first = studio.page(ann)
    second = rate(studio, ann, first, [[1, 1, 1], [2, 2, 2], [3, 3, 3]])
    third = rate(studio, ann, second)
    back = undo(studio, ann)
    assert back["page"]["id"] == second["page"]["id"] and back["progress"]["done"] == 1
    back = undo(studio, ann)
    assert back["page"]["id"] == first["page"]["id"] and back["page"]["given"] == [[1, 1, 1], [2, 2, 2], [3, 3, 3]]
    assert undo(studio, ann)["page"]["id"] == first["page"]["id"], "there is nothing before the first page"
    assert studio.store.ratings().empty, "what was taken back does not count"
    after = rate(studio, ann, back, [[7, 7, 7]] * 3)
    assert after["page"]["id"] == second["page"]["id"], "pages taken back come in their order"
    assert rate(studio, ann, after)["page"]["id"] == third["page"]["id"]
    found = studio.store.ratings()
    assert len(found) == 6 and (found["overall"] == 7).sum() == 3
    assert len(studio.store.rows(sa.select(tables.ratings.c.id))) == 12, "nothing was overwritten"
    studio.store.close()


def test_cannot_judge_gives_the_prompt_to_somebody_else(pictures: Path, tmp_path: Path) -> None:
    studio = open_studio(pictures, tmp_path, overlap=1, **PLAIN)
    ann, bob = enter(studio, "ann"), enter(studio, "bob")
    page = studio.page(ann)
    skipped = prompt(studio, page)
    studio.answer(ann, Answer(page["page"]["id"], "k" * 16, "cannot judge", [], 1.0))
    assert studio.store.ratings().empty
    seen = set()
    page = studio.page(bob)
    while page["page"]:
        seen.add(prompt(studio, page))
        page = rate(studio, bob, page)
    assert skipped in seen
    studio.store.close()


def everything(studio: Studio, rater: Rater, barrier: threading.Barrier) -> None:
    barrier.wait()
    page = studio.page(rater)
    while page["page"]:
        page = rate(studio, rater, page)


def test_simultaneous_raters_never_rate_a_prompt_more_often_than_asked(pictures: Path, location: Path | str) -> None:
    studio = open_studio(pictures, location, overlap=2, **PLAIN)
    raters = [enter(studio, f"rater {number}") for number in range(6)]
    barrier = threading.Barrier(len(raters))
    threads = [threading.Thread(target=everything, args=(studio, rater, barrier)) for rater in raters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = studio.store.ratings()
    assert found.groupby("candidate_id").size().eq(2).all() and len(found) == 36
    studio.store.close()


def test_prompts_that_are_begun_are_finished_first(pictures: Path, tmp_path: Path) -> None:
    studio = open_studio(pictures, tmp_path, overlap=3, **PLAIN)
    ann, bob = enter(studio, "ann"), enter(studio, "bob")
    page = rate(studio, ann, studio.page(ann))
    rate(studio, ann, page)
    mine = {prompt(studio, {"page": {"id": number}}) for number in (1, 2)}
    first = studio.page(bob)
    second = rate(studio, bob, first)
    assert {prompt(studio, first), prompt(studio, second)} == mine
    studio.store.close()


def test_a_page_left_open_is_given_to_the_next_rater_after_a_while(pictures: Path, tmp_path: Path) -> None:
    make_pictures(tmp_path / "one", prompts=1, kept=0)
    studio = open_studio(tmp_path / "one", tmp_path, overlap=1, claim_minutes=10, **PLAIN)
    ann, bob = enter(studio, "ann"), enter(studio, "bob")
    page = studio.page(ann)
    assert studio.page(bob)["page"] is None
    with studio.store.write() as connection:
        connection.execute(sa.update(tables.pages).values(opened_at=tables.now() - timedelta(minutes=11)))
    assert studio.page(bob)["page"] is not None
    # The one who comes back may still answer: work is not thrown away.
    rate(studio, ann, page)
    assert len(studio.store.ratings()) == 3
    studio.store.close()


def test_calibration_comes_first_and_tells_what_was_what(pictures: Path, location: Path | str) -> None:
    studio = open_studio(pictures, location, calibration=2, repeat_every=0)
    ann, bob = enter(studio, "ann"), enter(studio, "bob")
    good = {"original": [7, 7, 7], "noise": [0, 0, 0], "flat": [1, 1, 3]}
    page = studio.page(ann)
    for _ in range(2):
        assert page["page"]["calibration"]
        fills = [name.rpartition("/")[2] for name in shown(studio, page["page"]["id"])]
        assert studio.picture(ann, page["page"]["id"], 1).startswith(b"\x89PNG")
        page = rate(studio, ann, page, [good[fill] for fill in fills])
        assert page["feedback"] == {"fills": fills, "passed": True}
    assert not page["page"]["calibration"] and undo(studio, ann)["page"]["id"] == page["page"]["id"]
    after = rate(studio, bob, studio.page(bob))
    assert not after["feedback"]["passed"]
    rate(studio, bob, after)
    assert studio.store.ratings().empty, "known fills are not among the ratings"
    found = overview(studio.store, studio.candidates, studio.work, studio.config)
    assert {row["name"]: row["calibration"] for row in found["raters"]} == {"ann": 1.0, "bob": 0.0}
    assert found["raters"][1]["flags"] == ["missed known good or bad fills"]
    studio.store.close()


def test_the_known_fills_are_the_photograph_noise_and_one_colour(pictures: Path) -> None:
    from prefpaint.studio.calibration import KnownFill, paint

    images, masks = ImageFolder(pictures / "images"), ImageFolder(pictures / "masks", masks=True)
    name, known = "seen_00000", {}
    for fill in ("original", "noise", "flat"):
        known[fill] = paint(KnownFill(name, fill), images, masks)
        np.testing.assert_array_equal(known[fill], paint(KnownFill(name, fill), images, masks))
    hole, image = masks[name] > 0, images[name]
    np.testing.assert_array_equal(known["original"], image)
    assert len(np.unique(known["flat"][hole], axis=0)) == 1 and known["noise"][hole].std() > 5
    for fill in known.values():
        np.testing.assert_array_equal(fill[~hole], image[~hole])


def test_earlier_pages_come_again_and_show_who_contradicts_themselves(tmp_path: Path) -> None:
    make_pictures(tmp_path / "many", prompts=40)
    studio = open_studio(tmp_path / "many", tmp_path, calibration=0, repeat_every=4)
    rng = np.random.default_rng(0)
    for name in ("steady", "moody"):
        rater, page, repeats = enter(studio, name), None, 0
        page = studio.page(rater)
        while page["page"]:
            names = shown(studio, page["page"]["id"])
            honest = [[int(candidate[-1]) + int(candidate[-3]) % 5] * 3 for candidate in names]
            random = rng.integers(0, 8, (3, 3)).tolist()
            page = rate(studio, rater, page, honest if name == "steady" else random)
        kinds = studio.store.rows(
            sa.select(tables.pages.c.kind, tables.pages.c.content).where(tables.pages.c.rater_id == rater.id)
        )
        repeats = (kinds["kind"] == "repeat").sum()
        assert repeats == 10 and kinds[kinds["kind"] == "repeat"]["content"].is_unique
    assert len(studio.store.ratings()) == 2 * 120, "second showings are not among the ratings"
    found = {
        row["name"]: row for row in overview(studio.store, studio.candidates, studio.work, studio.config)["raters"]
    }
    assert found["steady"]["self_alpha"] == 1.0 and found["steady"]["self_difference"] == 0.0
    assert found["moody"]["self_alpha"] < 0.4 and "contradicts themselves" in found["moody"]["flags"]
    assert "contradicts themselves" not in found["steady"]["flags"]
    assert found["moody"]["flags"][-1] == "too fast to have looked"
    studio.store.close()


def test_the_overview_of_nobody_and_of_two_who_agree(pictures: Path, tmp_path: Path) -> None:
    studio = open_studio(pictures, tmp_path, overlap=2, **PLAIN)
    found = overview(studio.store, studio.candidates, studio.work, studio.config)
    assert found["prompts"] == {"total": 6, "begun": 0, "complete": 0, "overlap": 2}
    assert found["agreement"]["overall"] is None and found["raters"] == []
    for name in ("ann", "bob"):
        rater = enter(studio, name)
        page = studio.page(rater)
        while page["page"]:
            page = rate(studio, rater, page, [[int(c[-1]) + 2] * 3 for c in shown(studio, page["page"]["id"])])
    found = overview(studio.store, studio.candidates, studio.work, studio.config)
    assert found["prompts"]["complete"] == 6 and found["ratings"] == 36
    assert found["agreement"]["overall"] == 1.0 and found["agreement"]["order_alike"] == 1.0
    assert [row["with_others"] for row in found["raters"]] == [1.0, 1.0]
    studio.store.close()


def test_candidates_made_anew_are_rated_anew(tmp_path: Path) -> None:
    make_pictures(tmp_path / "mine", prompts=1, kept=0)
    studio = open_studio(tmp_path / "mine", tmp_path, **PLAIN)
    ann = enter(studio, "ann")
    old = studio.page(ann)
    # Another picture under the old name: the page does not show it.
    write_image(tmp_path / "mine/fills/train_00000_0.png", np.full((24, 24, 3), 9, np.uint8))
    place = shown(studio, old["page"]["id"]).index("train_00000_0") + 1
    with pytest.raises(NotYours):
        studio.picture(ann, old["page"]["id"], place)
    candidates = pd.read_parquet(tmp_path / "mine/candidates.parquet")
    candidates.loc[0, "sha256"] = ImageFolder(tmp_path / "mine/fills").checksum("train_00000_0")
    candidates.to_parquet(tmp_path / "mine/candidates.parquet")
    fresh = open_studio(tmp_path / "mine", tmp_path, **PLAIN)
    page = fresh.page(ann)
    assert page["page"]["id"] != old["page"]["id"] and fresh.picture(ann, page["page"]["id"], place)
    rate(fresh, ann, page)
    assert len(fresh.store.ratings()) == 3
    studio.store.close()
    fresh.store.close()


def test_tokens(pictures: Path, location: Path | str) -> None:
    studio = open_studio(pictures, location)
    assert not has_token_holders(studio.store)
    token = add_rater(studio.store, "ann", organiser=True)
    assert has_token_holders(studio.store)
    stored = studio.store.rows(sa.select(tables.raters.c.token_hash))["token_hash"].iloc[0]
    assert token not in stored and len(stored) == 64
    for needs_token in (False, True):
        assert studio.sign_in("ann", "", needs_token) is None
        assert studio.sign_in("ann", token + "x", needs_token) is None
        assert studio.sign_in("ann", token, needs_token) is not None
    assert studio.sign_in("bob", "", needs_token=True) is None
    assert studio.sign_in("bob", "made up", needs_token=False) is None
    for name in ("", " ", "a" * 65, "a\nb", " ann"):
        assert studio.sign_in(name, "", needs_token=False) is None
    opened = studio.sign_in("ann", token, needs_token=True)
    assert opened is not None and studio.rater(opened[0]) == opened[1] and opened[1].organiser
    for spelled in ("Ann", "ANN", "ａｎｎ"):
        same = studio.sign_in(spelled, token, needs_token=True)
        assert same is not None and same[1] == opened[1], "however the name is spelled, it is one rater"
        assert studio.sign_in(spelled, "", needs_token=False) is None
    sessions = studio.store.rows(sa.select(tables.sessions.c.token_hash))["token_hash"]
    assert not sessions.str.contains(opened[0], regex=False).any(), "sessions are hashed at rest, too"
    fresh = add_rater(studio.store, "ann")
    assert studio.rater(opened[0]) is None, "a new token ends old sessions"
    assert studio.sign_in("ann", token, needs_token=True) is None
    again = studio.sign_in("ann", fresh, needs_token=True)
    assert again is not None and studio.rater(again[0]) is not None
    studio.sign_out(again[0])
    assert studio.rater(again[0]) is None
    once_more = studio.sign_in("ann", fresh, needs_token=True)
    assert once_more is not None
    block_rater(studio.store, "ann")
    assert studio.rater(once_more[0]) is None and studio.sign_in("ann", fresh, needs_token=True) is None
    assert not has_token_holders(studio.store)
    studio.store.close()


def test_sessions_expire(pictures: Path, tmp_path: Path) -> None:
    studio = open_studio(pictures, tmp_path, session_hours=1)
    opened = studio.sign_in("ann", "", needs_token=False)
    assert opened is not None and studio.rater(opened[0]) is not None
    with studio.store.write() as connection:
        connection.execute(sa.update(tables.sessions).values(expires_at=tables.now() - timedelta(seconds=1)))
    assert studio.rater(opened[0]) is None
    studio.store.close()


def test_another_raters_page_is_no_page(pictures: Path, tmp_path: Path) -> None:
    studio = open_studio(pictures, tmp_path, **PLAIN)
    ann, bob = enter(studio, "ann"), enter(studio, "bob")
    page = studio.page(ann)
    for number in (page["page"]["id"], 999):
        with pytest.raises(NotYours):
            studio.picture(bob, number, 0)
        with pytest.raises(NotYours):
            rate(studio, bob, {"page": {"id": number, "candidates": 3}})
    with pytest.raises(NotYours):
        studio.picture(ann, page["page"]["id"], 4)
    with pytest.raises(ValueError, match="3 candidates"):
        rate(studio, ann, page, [[1, 1, 1]])
    studio.store.close()


def test_nothing_to_rate(pictures: Path, tmp_path: Path) -> None:
    make_pictures(tmp_path / "none", prompts=0)
    with pytest.raises(PrefPaintError, match="nothing to rate yet"):
        open_studio(tmp_path / "none", tmp_path)


def test_undo_leaves_pages_of_older_pictures_alone(tmp_path: Path) -> None:
    make_pictures(tmp_path / "mine", prompts=4, kept=0)
    studio = open_studio(tmp_path / "mine", tmp_path, **PLAIN)
    ann = enter(studio, "ann")
    rate(studio, ann, rate(studio, ann, studio.page(ann)))
    candidates = pd.read_parquet(tmp_path / "mine/candidates.parquet")
    candidates.assign(sha256="0" * 64).to_parquet(tmp_path / "mine/candidates.parquet")
    fresh = open_studio(tmp_path / "mine", tmp_path, **PLAIN)
    first = fresh.page(ann)
    rate(fresh, ann, first)
    back = undo(fresh, ann)
    assert back["page"]["id"] == first["page"]["id"]
    assert undo(fresh, ann)["page"]["id"] == first["page"]["id"]
    # What was said of the old pictures is still there, should they come back.
    assert len(studio.store.ratings()) == 6
    studio.store.close()
    fresh.store.close()


def test_calibration_is_answered_once(pictures: Path, tmp_path: Path) -> None:
    studio = open_studio(pictures, tmp_path, calibration=1, repeat_every=0)
    ann = enter(studio, "ann")
    page = studio.page(ann)
    rate(studio, ann, page)
    fills = [name.rpartition("/")[2] for name in shown(studio, page["page"]["id"])]
    rate(studio, ann, page, [[7, 7, 7] if fill == "original" else [0, 0, 0] for fill in fills])
    assert overview(studio.store, studio.candidates, studio.work, studio.config)["raters"][0]["calibration"] == 0.0
    studio.store.close()


def test_a_new_token_keeps_an_organisers_rights(pictures: Path, tmp_path: Path) -> None:
    studio = open_studio(pictures, tmp_path)
    add_rater(studio.store, "olga", organiser=True)
    opened = studio.sign_in("olga", add_rater(studio.store, "olga"), needs_token=True)
    assert opened is not None and opened[1].organiser
    studio.store.close()
