"""Choosing instead of scoring: which pairs are shown, what a choice is put down as, and what the organiser sees."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from prefpaint.errors import PrefPaintError
from prefpaint.preferences import rating_tables as tables
from prefpaint.preferences.comparisons import strengths
from prefpaint.preferences.exchange import read_preferences, write_table
from prefpaint.preferences.store import RatingStore
from prefpaint.studio.overview import at_odds, overview
from prefpaint.studio.questions import TIE, Answer, ring
from prefpaint.studio.studio import Rater, Studio
from tests.studio.project import make_pictures, open_studio
from tests.studio.test_server import browser
from tests.studio.test_studio import enter, rate, shown, undo

PLAIN = {"calibration": 0, "repeat_every": 0}


def choose(studio: Studio, rater: Rater, page: dict[str, Any], choice: int) -> dict[str, Any]:
    number = page["page"]["id"]
    key = f"key-{rater.id}-{number}-{np.random.bytes(4).hex()}"
    return studio.answer(rater, Answer(number, key, "rated", [], 2.0, choice))


def place_of_best(studio: Studio, page: dict[str, Any], best: str = "0") -> int:
    """Where the candidate stands whose name ends so; of others the one with the smaller name."""
    names = shown(studio, page["page"]["id"])
    hit = [name for name in names if name.endswith(f"_{best}")]
    return names.index(hit[0] if hit else min(names)) + 1


def everything(studio: Studio, name: str) -> int:
    """Choose the first candidate wherever there is one; how many pages that were."""
    rater, count = enter(studio, name), 0
    page = studio.page(rater)
    while page["page"]:
        page, count = choose(studio, rater, page, place_of_best(studio, page)), count + 1
    return count


# ---------------------------------------------------------------- which pairs


def test_a_ring_by_hand() -> None:
    assert ring(["a"], 0, "p") == []
    assert ring(["b", "a"], 0, "p") == [("a", "b")]
    assert sorted(ring(["c", "a", "b"], 0, "p")) == [("a", "b"), ("a", "c"), ("b", "c")]


@given(count=st.integers(3, 12), seed=st.integers(0, 99), missing=st.integers(0, 11))
def test_a_ring_connects_all_and_still_does_without_one_pair(count: int, seed: int, missing: int) -> None:
    names = [f"{number:02d}" for number in range(count)]
    pairs = ring(names, seed, "p")
    assert pairs == ring(names[::-1], seed, "p") and len(set(pairs)) == len(pairs) == count
    assert all(a < b for a, b in pairs)
    assert np.unique(np.array(pairs), return_counts=True)[1].tolist() == [2] * count
    del pairs[missing % count]
    reached, left = {names[0]}, list(pairs)
    while any((a in reached) != (b in reached) for a, b in left):
        reached |= {name for pair in left if reached & set(pair) for name in pair}
    assert reached == set(names)


# ---------------------------------------------------------------- what is put down


def test_the_best_wins_against_each_of_the_others(pictures: Path, location: Path | str) -> None:
    studio = open_studio(pictures, location, question="best", **PLAIN)
    ann = enter(studio, "ann")
    page = studio.page(ann)
    names = shown(studio, page["page"]["id"])
    choose(studio, ann, page, names.index(min(names)) + 1)
    found = studio.store.comparisons()
    prompt = min(names)[:-2]
    told = found[["candidate_a", "candidate_b", "preferred", "rater"]].to_numpy().tolist()
    assert told == [[f"{prompt}_0", f"{prompt}_1", "a", "ann"], [f"{prompt}_0", f"{prompt}_2", "a", "ann"]]
    sums = studio.candidates.set_index("candidate_id")["sha256"]
    assert found["sha256_b"].tolist() == [sums[f"{prompt}_1"], sums[f"{prompt}_2"]]
    assert studio.store.ratings().empty
    studio.store.close()


def test_of_two_the_better_or_a_tie(pictures: Path, location: Path | str) -> None:
    studio = open_studio(pictures, location, question="pairs", **PLAIN)
    assert len(studio.work) == 6 * 3 and studio.prompts == 6
    ann = enter(studio, "ann")
    page, expected = studio.page(ann), {}
    for choice in (1, 2, TIE, 1, 2, TIE):
        assert page["page"]["candidates"] == 2
        names = shown(studio, page["page"]["id"])
        a, b = sorted(names)
        expected[a, b] = "tie" if choice == TIE else "a" if names[choice - 1] == a else "b"
        page = choose(studio, ann, page, choice)
    found = studio.store.comparisons()
    pairs = zip(found["candidate_a"], found["candidate_b"], strict=True)
    assert dict(zip(pairs, found["preferred"], strict=True)) == expected
    assert {name[:-2] for pair in expected for name in pair} == {name[:-2] for name, _ in list(expected)}
    assert len({name[:-2] for name, _ in expected}) == 2, "the pairs of a prompt come one after the other"
    studio.store.close()


def test_undo_shows_the_choice_and_the_correction_counts(pictures: Path, location: Path | str) -> None:
    studio = open_studio(pictures, location, question="pairs", **PLAIN)
    ann = enter(studio, "ann")
    first = studio.page(ann)
    assert first["page"]["chosen"] is None and first["page"]["given"] is None
    choose(studio, ann, first, 2)
    back = undo(studio, ann)
    assert back["page"]["id"] == first["page"]["id"] and back["page"]["chosen"] == 2
    assert studio.store.comparisons().empty, "what was taken back does not count"
    choose(studio, ann, back, TIE)
    assert undo(studio, ann)["page"]["chosen"] == TIE
    choose(studio, ann, back, TIE)
    assert studio.store.comparisons()["preferred"].tolist() == ["tie"]
    studio.store.close()


@pytest.mark.parametrize(
    ("question", "wrong"),
    [
        ("best", {"choice": TIE}),
        ("best", {"choice": 4}),
        ("best", {"scores": [[1, 1, 1]] * 3}),
        ("pairs", {"choice": 3}),
        ("pairs", {"scores": [[1, 1, 1]] * 2}),
        ("scores", {"choice": 1}),
        ("scores", {"scores": [[1, 1, 1]] * 3, "choice": 1}),
    ],
)
def test_answers_to_another_question_are_refused(
    pictures: Path, tmp_path: Path, question: str, wrong: dict[str, Any]
) -> None:
    studio = open_studio(pictures, tmp_path, question=question, **PLAIN)
    client = browser(studio, "ann")
    page = client.post("/api/page").json()["page"]
    body = {"page": page["id"], "key": "k" * 16, "verdict": "rated", "seconds": 1.0, **wrong}
    answer = client.post("/api/answer", json=body)
    assert answer.status_code == 422 and f"the page has {page['candidates']} candidates" in answer.json()["detail"]
    assert studio.store.comparisons().empty and studio.store.ratings().empty
    studio.store.close()


def test_nothing_to_choose_from(pictures: Path, tmp_path: Path) -> None:
    make_pictures(tmp_path / "one", prompts=2)
    candidates = pd.read_parquet(tmp_path / "one/candidates.parquet")
    candidates[candidates["index"] == 0].to_parquet(tmp_path / "one/candidates.parquet")
    for question in ("best", "pairs"):
        with pytest.raises(PrefPaintError, match="no prompt has two to choose from"):
            open_studio(tmp_path / "one", tmp_path, question=question)
    open_studio(tmp_path / "one", tmp_path, question="scores").store.close()


def test_another_question_is_other_work(pictures: Path, tmp_path: Path) -> None:
    """Scores that were given before count; the open page of the earlier question can still be answered."""
    scored = open_studio(pictures, tmp_path, **PLAIN)
    ann = enter(scored, "ann")
    old = rate(scored, ann, scored.page(ann))
    best = open_studio(pictures, tmp_path, question="best", **PLAIN)
    page = best.page(ann)
    assert page["progress"]["left"] == 6 and page["page"]["id"] != old["page"]["id"]
    rate(best, ann, old)
    choose(best, ann, page, 1)
    assert len(best.store.ratings()) == 6 and len(best.store.comparisons()) == 2
    found = overview(best.store, best.candidates, best.work, best.config)
    assert found["ratings"] == 6 and found["comparisons"] == 2 and found["prompts"]["begun"] == 1
    scored.store.close()
    best.store.close()


@pytest.mark.parametrize(("before", "now"), [("pairs", "best"), ("best", "pairs"), ("pairs", "scores")])
def test_an_open_page_is_answered_as_it_was_asked(pictures: Path, location: Path | str, before: str, now: str) -> None:
    old = open_studio(pictures, location, question=before, **PLAIN)
    ann = enter(old, "ann")
    page = old.page(ann)
    assert page["page"]["question"] == before
    old.store.close()
    studio = open_studio(pictures, location, question=now, **PLAIN)
    assert studio.page(ann)["page"]["question"] == now
    if before == "best":
        with pytest.raises(ValueError, match="asks for a choice from 1 to 3"):
            choose(studio, ann, page, TIE)
        assert studio.store.comparisons().empty
    else:
        choose(studio, ann, page, TIE)
        assert studio.store.comparisons()["preferred"].tolist() == ["tie"]
    with pytest.raises(ValueError, match="asks for a choice"):
        rate(studio, ann, page)
    studio.store.close()


def test_the_progress_counts_what_the_studio_asks(pictures: Path, tmp_path: Path) -> None:
    pairs = open_studio(pictures, tmp_path, question="pairs", overlap=1, **PLAIN)
    ann = enter(pairs, "ann")
    choose(pairs, ann, pairs.page(ann), 1)
    best = open_studio(pictures, tmp_path, question="best", overlap=1, **PLAIN)
    found = overview(best.store, best.candidates, best.work, best.config)
    assert found["prompts"] == {"total": 6, "begun": 0, "complete": 0, "overlap": 1} and found["comparisons"] == 1
    assert best.page(ann)["progress"]["left"] == 6
    pairs.store.close()
    best.store.close()


def test_what_does_not_count_beside_scores_is_counted(pictures: Path, tmp_path: Path) -> None:
    scored = open_studio(pictures, tmp_path, **PLAIN)
    ann = enter(scored, "ann")
    page = rate(scored, ann, scored.page(ann))
    rate(scored, ann, page)
    for question, count in (("scores", 0), ("best", 2), ("pairs", 2)):
        assert at_odds(scored.store, scored.candidates, question) == count
    best = open_studio(pictures, tmp_path, question="best", **PLAIN)
    while (page := best.page(ann))["page"]:
        choose(best, ann, page, 1)
    assert at_odds(best.store, best.candidates, "scores") == 4, "two of the six have scores already"
    assert at_odds(best.store, best.candidates.assign(sha256="anew"), "best") == 0
    scored.store.close()
    best.store.close()


def test_paces_of_scores_and_choices_are_judged_apart(tmp_path: Path) -> None:
    make_pictures(tmp_path / "many", prompts=40)

    def work(question: str, pages: int, seconds: float) -> dict[str, Any]:
        studio = open_studio(tmp_path / "many", tmp_path, question=question, **PLAIN)
        ann = enter(studio, "ann")
        for number in range(pages):
            page = studio.page(ann)["page"]
            said = {"scores": [[number % 8] * 3] * 3} if question == "scores" else {"scores": [], "choice": 1}
            studio.answer(ann, Answer(page["id"], f"{question}-{page['id']:012d}", "rated", seconds=seconds, **said))
        found = overview(studio.store, studio.candidates, studio.work, studio.config)["raters"][0]
        studio.store.close()
        return found

    assert work("scores", 12, 15.0)["flags"] == []
    # 29 pages of the best of three are 58 comparisons, but not yet 30 answers.
    assert work("best", 29, 2.0)["flags"] == []
    found = work("best", 1, 2.0)
    assert found["seconds"] == 2.0 and found["flags"] == ["gives the same answer on every page"]
    assert work("pairs", 60, 0.5)["flags"] == ["gives the same answer on every page", "too fast to have looked"]


# ---------------------------------------------------------------- overlap, calibration, repeats


def test_no_pair_goes_to_more_raters_than_asked(pictures: Path, tmp_path: Path) -> None:
    studio = open_studio(pictures, tmp_path, question="pairs", overlap=2, **PLAIN)
    assert [everything(studio, name) for name in ("ann", "bob", "cyd")] == [18, 18, 0]
    found = overview(studio.store, studio.candidates, studio.work, studio.config)
    assert found["prompts"] == {"total": 6, "begun": 6, "complete": 6, "overlap": 2}
    assert found["comparisons"] == 36 and found["choices_alike"] == 1.0 and found["ratings"] == 0
    assert found["agreement"]["overall"] is None
    assert [row["choices_with_others"] for row in found["raters"]] == [1.0, 1.0, None]
    theta = strengths(studio.store.comparisons())
    assert theta.groupby(theta.index.str[:-2]).idxmax().str.endswith("_0").all()
    studio.store.close()


def test_a_prompt_is_complete_when_all_its_pairs_are(pictures: Path, tmp_path: Path) -> None:
    studio = open_studio(pictures, tmp_path, question="pairs", overlap=1, **PLAIN)
    ann = enter(studio, "ann")
    page, seen = studio.page(ann), []
    for _ in range(4):
        page = choose(studio, ann, page, 1)
        progress = overview(studio.store, studio.candidates, studio.work, studio.config)["prompts"]
        seen.append((progress["begun"], progress["complete"]))
    assert seen == [(1, 0), (1, 0), (1, 1), (2, 1)]
    studio.store.close()


@pytest.mark.parametrize("question", ["best", "pairs"])
def test_on_calibration_pages_the_original_must_win(pictures: Path, location: Path | str, question: str) -> None:
    studio = open_studio(pictures, location, question=question, calibration=2, repeat_every=0)
    ann, bob = enter(studio, "ann"), enter(studio, "bob")
    bad = set()
    for rater in (ann, bob):
        page = studio.page(rater)
        for _ in range(2):
            assert page["page"]["calibration"]
            fills = [name.rpartition("/")[2] for name in shown(studio, page["page"]["id"])]
            bad |= {fill for fill in fills if fill != "original"}
            original = fills.index("original") + 1
            page = choose(studio, rater, page, original if rater is ann else original % len(fills) + 1)
            assert page["feedback"] == {"fills": fills, "passed": rater is ann}
        assert not page["page"]["calibration"]
    assert bad == {"noise", "flat"}, "pairs show each of them in turn"
    assert studio.store.comparisons().empty, "known fills are not among the comparisons"
    found = overview(studio.store, studio.candidates, studio.work, studio.config)
    assert {row["name"]: row["calibration"] for row in found["raters"]} == {"ann": 1.0, "bob": 0.0}
    studio.store.close()


@pytest.mark.parametrize("question", ["best", "pairs"])
def test_second_showings_tell_who_chooses_alike(tmp_path: Path, question: str) -> None:
    make_pictures(tmp_path / "many", prompts=90)
    config = {"question": question, "calibration": 0, "repeat_every": 3, "overlap": 3}
    studio = open_studio(tmp_path / "many", tmp_path, **config)
    pages = everything(studio, "steady")
    rng = np.random.default_rng(1)
    for name in ("moody", "lefty"):
        rater = enter(studio, name)
        page = studio.page(rater)
        while page["page"]:
            choice = int(rng.integers(1, page["page"]["candidates"] + 1)) if name == "moody" else 1
            page = choose(studio, rater, page, choice)
    work = 90 if question == "best" else 270
    assert pages == work + work // 3
    assert len(studio.store.comparisons()) == 3 * (180 if question == "best" else 270)
    found = overview(studio.store, studio.candidates, studio.work, studio.config)
    rows = {row["name"]: row for row in found["raters"]}
    assert rows["steady"]["self_same"] == 1.0 and rows["steady"]["flags"] == []
    # Of k fills who guesses makes the same choice 1 / k of the time.
    assert abs(rows["moody"]["self_same"] - (1 / 3 if question == "best" else 1 / 2)) < 0.25
    assert "contradicts themselves" in rows["moody"]["flags"]
    assert "gives the same answer on every page" in rows["lefty"]["flags"]
    assert rows["steady"]["self_alpha"] is None and rows["steady"]["with_others"] is None
    # To agree with somebody who guesses is chance: half of the pairs, whatever the question.
    assert abs(rows["moody"]["choices_with_others"] - 0.5) < 0.15
    studio.store.close()


# ---------------------------------------------------------------- the store, files, the web


def test_choices_go_out_and_come_in_again(pictures: Path, tmp_path: Path) -> None:
    studio = open_studio(pictures, tmp_path / "here", question="best", **PLAIN)
    everything(studio, "ann")
    found = studio.store.comparisons()
    write_table(found, tmp_path / "out.csv")
    read = read_preferences(tmp_path / "out.csv", studio.candidates)
    assert not read.rejected and read.ratings.empty
    assert studio.store.add_comparisons(read.comparisons) == 0, "they are known already"
    other = RatingStore(tmp_path / "there")
    assert other.add_comparisons(read.comparisons) == 12
    pd.testing.assert_frame_equal(other.comparisons(), found)
    studio.store.close()
    other.close()


def test_a_store_from_before_choices_is_read_as_it_is_and_brought_up_to_date(pictures: Path, tmp_path: Path) -> None:
    studio = open_studio(pictures, tmp_path, question="best", **PLAIN)
    everything(studio, "ann")
    found = studio.store.comparisons()
    with studio.store.write() as connection:
        connection.execute(sa.DDL("DROP INDEX ix_comparisons_answer_id"))
        connection.execute(sa.DDL("ALTER TABLE comparisons RENAME TO newer"))
        names = [column.name for column in tables.comparisons.columns if column.name != "answer_id"]
        connection.execute(sa.DDL(f"CREATE TABLE comparisons AS SELECT {', '.join(names)} FROM newer"))
        connection.execute(sa.DDL("DROP TABLE newer"))
        connection.execute(sa.DDL("ALTER TABLE pages DROP COLUMN question"))
    studio.store.close()
    before = (tmp_path / "ratings.sqlite").read_bytes()
    old = RatingStore(tmp_path)
    pd.testing.assert_frame_equal(old.comparisons(), found)
    seen = overview(old, studio.candidates, studio.work, studio.config)
    assert seen["comparisons"] == len(found) and seen["raters"][0]["self_same"] is None
    old.close()
    assert (tmp_path / "ratings.sqlite").read_bytes() == before, "looking changes nothing"
    for _ in range(2):
        old.prepare()
        pd.testing.assert_frame_equal(old.comparisons(), found)
    assert len(old.rows(sa.select(tables.comparisons.c.answer_id)).dropna()) == 0
    assert set(old.rows(sa.select(tables.pages.c.question))["question"]) == {"scores"}
    old.close()


def test_the_web_page_is_told_the_question_and_the_organiser_gets_the_comparisons(
    pictures: Path, tmp_path: Path
) -> None:
    from prefpaint.studio.accounts import add_rater

    studio = open_studio(pictures, tmp_path, question="pairs", **PLAIN)
    client = browser(studio, "ann")
    assert client.get("/api/studio").json()["question"] == "pairs"
    page = client.post("/api/page").json()["page"]
    body = {"page": page["id"], "key": "k" * 16, "verdict": "rated", "choice": 2, "seconds": 1.5}
    assert client.post("/api/answer", json=body).json()["progress"]["done"] == 1
    assert client.post("/api/undo", json={"key": "u" * 16}).json()["page"]["chosen"] == 2
    assert client.post("/api/answer", json=body | {"key": "l" * 16}).status_code == 200
    olga = browser(studio, "olga", add_rater(studio.store, "olga", organiser=True))
    lines = olga.get("/api/comparisons.csv").text.splitlines()
    assert lines[0] == "candidate_a,candidate_b,preferred,rater,rated_at,sha256_a,sha256_b" and len(lines) == 2
    assert json.loads(olga.get("/api/overview").text)["question"] == "pairs"
    assert client.get("/api/comparisons.csv").status_code == 403
    studio.store.close()
