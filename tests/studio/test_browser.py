"""A rater in a real browser: by keyboard alone, with a reload in the middle, on a desktop and on a phone."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prefpaint.preferences.store import RatingStore
from prefpaint.studio.accounts import add_rater
from tests.studio.project import Server, make_pictures

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
SIZES = {
    "desktop": {"viewport": {"width": 1280, "height": 860}},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-quic"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    folder = tmp_path_factory.mktemp("browser")
    make_pictures(folder / "pictures", prompts=10)
    with Server(folder / "pictures", folder / "store", calibration=2, repeat_every=5) as running:
        yield running, folder / "store"


def new_page(chromium: Any, size: str, troubles: list[str]) -> Any:
    page = chromium.new_context(**SIZES[size]).new_page()
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    return page


def sign_in(page: Any, name: str) -> None:
    """Type a name, and close the help that comes."""
    page.wait_for_selector("#sign-in:visible")
    assert page.evaluate("document.activeElement.id") == "name"
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    page.wait_for_selector("#help[open]")
    page.keyboard.press("Escape")


def shown(page: Any) -> str:
    return str(page.get_attribute("#incomplete img", "src"))


def give(page: Any, *scores: int) -> None:
    """Type nine scores."""
    page.wait_for_selector("#work:visible")
    for score in scores or (3, 4, 5, 1, 2, 0, 6, 7, 5):
        page.keyboard.press(str(score))


def go_on(page: Any) -> None:
    """Enter, and wait for what comes."""
    before = shown(page)
    page.keyboard.press("Enter")
    page.wait_for_function(
        "before => document.querySelector('#incomplete img').getAttribute('src') !== before"
        " || document.querySelector('#work').hidden",
        arg=before,
    )


@pytest.mark.parametrize("size", SIZES)
def test_ten_prompts_by_keyboard_alone(chromium: Any, server: tuple[Server, Path], size: str) -> None:
    running, place = server
    troubles: list[str] = []
    page = new_page(chromium, size, troubles)
    page.goto(running.address)
    sign_in(page, f"<i>{size}</i>")

    for _ in range(2):
        page.wait_for_selector("#kind:visible")
        give(page)
        page.keyboard.press("Enter")
        page.wait_for_selector("#feedback:visible")
        page.keyboard.press("Enter")
    page.wait_for_selector("#work:visible")
    assert not page.is_visible("#kind")
    worded = 0

    # Two second showings come among the ten prompts.
    for number in range(12):
        give(page)
        words = page.inner_text("#text-prompt") if page.is_visible("#text-prompt") else ""
        assert words == "" or words.startswith("Text prompt: a red car ")
        worded += bool(words)
        assert page.is_enabled("#send")
        if number == 3:
            # A page that is half done is lost on reload; what was sent is not.
            current = shown(page)
            page.reload()
            page.wait_for_selector("#work:visible")
            assert shown(page) == current and page.inner_text("#progress").startswith("3 done")
            assert not page.is_enabled("#send")
            give(page)
        if number == 4:
            page.keyboard.press("f")
            assert page.get_attribute("#flip", "aria-pressed") == "true"
            assert page.get_attribute("#candidates figure img", "src") == shown(page)
            page.keyboard.press("f")
            page.keyboard.press("z")
            page.wait_for_selector("#zoom[open]")
            page.keyboard.press("z")
            assert not page.is_visible("#zoom")
        current = shown(page)
        go_on(page)
        if number == 6:
            page.keyboard.press("u")
            page.wait_for_function(
                "before => document.querySelector('#incomplete img').getAttribute('src') === before", arg=current
            )
            assert page.eval_on_selector_all("[aria-checked=true]", "marked => marked.length") == 9
            page.keyboard.press("ArrowDown")
            page.keyboard.press("7")
            go_on(page)
    page.wait_for_selector("#finished:visible")
    assert 0 < worded < 12
    assert page.inner_text("#progress").startswith("12 done")
    # Undo works from here, too.
    page.keyboard.press("u")
    page.wait_for_selector("#work:visible")
    page.keyboard.press("Enter")
    page.wait_for_selector("#finished:visible")
    assert "saved" in page.inner_text("#saved")
    store = RatingStore(place)
    found = store.ratings()
    mine = found[found["rater"] == f"<i>{size}</i>"]
    assert len(mine) == 30
    assert (mine["texture"] == 7).sum() == 10 + 1, "the correction counts"
    store.close()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "nothing sticks out sideways"
    assert not troubles
    page.context.close()


def test_the_organisers_link_signs_in_and_names_stay_text(chromium: Any, server: tuple[Server, Path]) -> None:
    running, place = server
    store = RatingStore(place)
    token = add_rater(store, "olga", organiser=True)
    store.close()
    troubles: list[str] = []
    page = new_page(chromium, "desktop", troubles)
    page.goto(running.address)
    sign_in(page, "somebody else")
    assert page.inner_text("#who") == "somebody else"
    # A link signs out whoever was there before.
    page.goto(f"{running.address}/#name=olga&token={token}")
    page.wait_for_selector("#sign-in:visible")
    page.keyboard.press("Enter")
    page.wait_for_selector("#organiser:visible")
    assert token not in page.url
    page.goto(f"{running.address}/organiser")
    page.wait_for_selector("#raters tr")
    assert "<i>desktop</i>" in page.inner_text("#raters") and page.query_selector("#raters i") is None
    assert "of 10 prompts have 3 raters" in page.inner_text("#tiles").replace("\n", " ")
    assert not troubles
    page.context.close()


def test_while_the_server_is_away_nothing_is_called_saved(chromium: Any, tmp_path: Path) -> None:
    make_pictures(tmp_path / "pictures", prompts=2)
    with Server(tmp_path / "pictures", tmp_path / "store", calibration=0) as running:
        page = new_page(chromium, "desktop", [])
        page.goto(running.address)
        sign_in(page, "ann")
        give(page)
        before = shown(page)
        running.kill()
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.querySelector('#saved').textContent.startsWith('not saved yet')")
        running.start()
        page.wait_for_function(
            "before => document.querySelector('#incomplete img').getAttribute('src') !== before", arg=before
        )
        assert page.inner_text("#saved").startswith("saved")
        page.context.close()
    store = RatingStore(tmp_path / "store")
    assert len(store.ratings()) == 3
    store.close()


def placed(page: Any) -> str:
    """Which pictures are shown."""
    return str(page.get_attribute("#candidates figure img", "src"))


def after(page: Any, before: str) -> None:
    """Wait for the next page."""
    page.wait_for_function(
        "before => document.querySelector('#work').hidden"
        " || document.querySelector('#candidates figure img').getAttribute('src') !== before",
        arg=before,
    )


def settled(page: Any) -> None:
    """Wait until a choice is taken: the pictures are there, and there was time for a glance."""
    page.wait_for_function("() => !unseen()")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("question", ["best", "pairs"])
def test_choosing_by_keyboard_and_by_touch(chromium: Any, tmp_path: Path, size: str, question: str) -> None:
    make_pictures(tmp_path / "pictures", prompts=3)
    with Server(tmp_path / "pictures", tmp_path / "store", question=question, calibration=1, repeat_every=0) as running:
        troubles: list[str] = []
        page = new_page(chromium, size, troubles)
        page.goto(running.address)
        sign_in(page, "ann")
        page.wait_for_selector("#kind:visible")
        assert page.inner_text("#question") == f"Which fill is {'best' if question == 'best' else 'better'}?"
        assert not page.is_visible(".scores") and not page.is_visible("#send") and not page.is_visible(".scale")
        assert page.is_visible("#tie") == (question == "pairs")
        settled(page)
        # Enter alone chooses nothing, and neither does a key without a fill.
        for key in ("Enter", "0", "9", "s"):
            page.keyboard.press(key)
        assert page.is_visible("#kind")
        page.keyboard.press("1")
        page.wait_for_selector("#feedback:visible")
        assert "your choice" in page.inner_text("#known")
        page.keyboard.press("Enter")
        page.wait_for_selector("#work:visible")
        pages = 3 if question == "best" else 9
        for number in range(pages):
            before = placed(page)
            settled(page)
            if number == 0:
                # Pressed twice: the second time hits a page that nobody has seen.
                page.keyboard.press("2")
                after(page, before)
                page.keyboard.press("2")
                page.wait_for_timeout(100)
                assert page.inner_text("#progress").startswith("1 done")
            elif number == 1:
                button = page.query_selector_all(".choose")[0]
                word = "best" if question == "best" else "better"
                assert button.get_attribute("aria-label") == f"Candidate 1 is {word}"
                page.keyboard.press("z")
                page.wait_for_selector("#zoom[open]")
                page.keyboard.press("z")
                (button.tap if size == "phone" else button.click)()
            elif question == "pairs" and number == 2:
                page.keyboard.press("t")
            else:
                # The button that has the focus.
                page.query_selector_all(".choose")[1].focus()
                page.keyboard.press("Enter")
            after(page, before)
            if number == 0:
                page.keyboard.press("u")
                page.wait_for_selector(".choose[aria-pressed=true]")
                assert placed(page) == before
                assert page.eval_on_selector_all(".choose", "all => all.map(b => b.ariaPressed)")[:2] == [
                    "false",
                    "true",
                ]
                settled(page)
                page.keyboard.press("1")
                after(page, before)
            fits = "document.documentElement.scrollWidth <= window.innerWidth"
            assert page.evaluate(fits), "nothing sticks out sideways"
        page.wait_for_selector("#finished:visible")
        assert not troubles
        page.context.close()
    store = RatingStore(tmp_path / "store")
    found = store.comparisons()
    assert len(found) == (6 if question == "best" else 9) and store.ratings().empty
    assert (found["preferred"] == "tie").sum() == (0 if question == "best" else 1)
    store.close()


def test_a_tab_left_open_over_a_restart_is_drawn_as_its_page_asks(chromium: Any, tmp_path: Path) -> None:
    make_pictures(tmp_path / "pictures", prompts=2)
    plain = {"calibration": 0, "repeat_every": 0}
    with Server(tmp_path / "pictures", tmp_path / "store", question="pairs", **plain) as running:
        page = new_page(chromium, "desktop", [])
        page.goto(running.address)
        sign_in(page, "ann")
        page.wait_for_selector("#tie:visible")
        settled(page)
        running.kill()
        running.start(question="scores", **plain)
        before = placed(page)
        page.keyboard.press("t")
        after(page, before)
        assert page.is_visible(".scores") and not page.is_visible("#tie") and not page.is_visible("#question")
        give(page)
        go_on(page)
        assert "saved" in page.inner_text("#saved")
        page.context.close()
    store = RatingStore(tmp_path / "store")
    assert store.comparisons()["preferred"].tolist() == ["tie"] and len(store.ratings()) == 3
    store.close()
