"""Retake the screenshots of web pages in docs/.

    python docs/pictures.py        # after a change to a page or to the stages; needs the outputs of `kedro run`

The real commands serve a copy of the project with a rating store of its own, so that nothing is added to data/. Its
raters say what the simulated raters of the run said, with some noise.
"""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from prefpaint.images import ImageFolder
from prefpaint.preferences.rating_tables import pages
from prefpaint.preferences.schema import CRITERIA, HIGHEST, LOWEST
from prefpaint.preferences.store import RatingStore
from prefpaint.studio.calibration import KnownFill
from prefpaint.studio.config import StudioConfig
from prefpaint.studio.studio import Answer, Rater, Studio

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SECONDS_TO_START = 300
# Kedro-Viz takes none above 49151.
PORTS = range(20_000, 30_000)
DESKTOP, PHONE = {"width": 1280, "height": 680}, {"width": 390, "height": 844}
# How many pages each of them has answered, and how many seconds a page took; the last one guesses.
RATERS = {"anna": (138, 14), "ben": (110, 11), "carla": (87, 17), "dirk": (52, 2)}
GUESSES = "dirk"
NOISE = 0.5
KNOWN = {"original": [6, 7, 6], "noise": [1, 0, 1], "flat": [1, 2, 0]}
# Of the try-it page: the example after the first, and a stroke in shares of its sides.
EXAMPLE, BRUSH, STROKE = 5, "120", [(0.3, 0.3), (0.6, 0.35), (0.7, 0.6)]
# Kedro-Viz keeps its settings in the browser.
DRAWING = {"theme": "light", "showFeatureHints": False, "visible": {"graph": True, "miniMap": False, "sidebar": False}}
AROUND_DRAWING = ".pipeline-global-toolbar, .pipeline-sidebar, .update-reminder-unexpanded"
MARGIN = 24

# ------------------------------------------------------------------ a project, its raters and its servers


def copy_project(folder: Path) -> None:
    """Code and configuration without conf/local, and the run's data without its ratings."""
    shutil.copytree(ROOT / "conf", folder / "conf", ignore=shutil.ignore_patterns("local"))
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", ".telemetry"):
        shutil.copy(ROOT / name, folder)
    for place in ("conf/local", "data/01_raw"):
        (folder / place).mkdir(parents=True)
    for made in (ROOT / "data").glob("0[2-8]_*"):
        (folder / "data" / made.name).symlink_to(made)


def simulate_raters(data: Path) -> None:
    """Fill the rating store of a project."""
    studio = Studio(
        RatingStore(data / "01_raw/ratings"),
        pd.read_parquet(data / "03_primary/prompts.parquet"),
        pd.read_parquet(data / "04_feature/candidates.parquet"),
        ImageFolder(data / "03_primary/prompt_images"),
        ImageFolder(data / "03_primary/prompt_masks", masks=True),
        ImageFolder(data / "04_feature/candidate_images"),
        StudioConfig(),
    )
    said = pd.read_parquet(data / "05_model_input/ratings.parquet").sort_values("rater")
    turn = said.groupby("candidate_id").cumcount()
    for number, (name, (count, seconds)) in enumerate(RATERS.items()):
        opened = studio.sign_in(name, "", needs_token=False)
        assert opened, name
        mine = None if name == GUESSES else said[turn == number].set_index("candidate_id")[list(CRITERIA)]
        simulate_rater(studio, opened[1], count, seconds, mine)
    studio.store.close()


def simulate_rater(studio: Studio, rater: Rater, count: int, seconds: float, said: pd.DataFrame | None) -> None:
    """Answer a rater's first pages.

    Args:
        studio: that hands them out.
        rater: whose pages.
        count: how many, those for calibration included.
        seconds: that one takes, about.
        said: the CRITERIA by candidate; None: the rater guesses.
    """
    draw = np.random.default_rng(rater.id)

    def scores(candidate: str) -> list[int]:
        known = KnownFill.of(candidate)
        if said is None:
            return [int(score) for score in draw.integers(LOWEST, HIGHEST + 1, len(CRITERIA))]
        if known:
            return KNOWN[known.fill]
        noisy = said.loc[candidate] + draw.normal(0, NOISE, len(CRITERIA))
        return [int(score) for score in noisy.round().clip(LOWEST, HIGHEST)]

    found = studio.page(rater)
    for number in range(count):
        page = found["page"]["id"]
        with studio.store.read() as connection:
            shown = connection.execute(pages.select().where(pages.c.id == page)).one().shown
        given = [scores(candidate) for candidate, _ in shown]
        spent = float(seconds * draw.lognormal(0, 0.3))
        found = studio.answer(rater, Answer(page, f"{rater.name}-{number:016d}", "rated", given, spent))


def environment(project: Path) -> dict[str, str]:
    """Of commands in a project."""
    # The order of Kedro-Viz's layers would otherwise change from start to start.
    return {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(project / "src")}


def answers(port: int) -> bool:
    """Whether somebody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def serving(project: Path, *command: str) -> Iterator[str]:
    """The address of `kedro …`, which is stopped afterwards."""
    port = next(port for port in random.sample(PORTS, len(PORTS)) if not answers(port))
    call = [sys.executable, "-m", "kedro", *command, "--host", "127.0.0.1", "--port", str(port)]
    # In a group of its own: Kedro-Viz starts another process.
    process = subprocess.Popen(call, cwd=project, env=environment(project), start_new_session=True)
    try:
        until = time.monotonic() + SECONDS_TO_START
        while not answers(port):
            assert process.poll() is None and time.monotonic() < until, f"kedro {command[0]}: does not start"
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


# ------------------------------------------------------------------ the pictures


@contextmanager
def opened(browser: Browser, address: str, **options: Any) -> Iterator[Page]:
    """A page in a browser of its own that knows nothing yet."""
    context = browser.new_context(**options)
    page = context.new_page()
    page.goto(address)
    yield page
    context.close()


def settle(page: Page) -> None:
    """Wait until everything is loaded."""
    page.wait_for_load_state("networkidle")


def rate_a_page(page: Page, name: str) -> None:
    """Sign in, answer one page and begin the next."""
    page.fill("#name", name)
    page.click("#sign-in button")
    page.click("#help-close")
    page.wait_for_selector("#work:visible")
    for score in "545434656":
        page.keyboard.press(score)
    with page.expect_response("**/api/answer"):
        page.keyboard.press("Enter")
    page.wait_for_selector("#send:disabled")
    settle(page)
    for score in "5464":
        page.keyboard.press(score)
    # Away from what it would highlight.
    page.mouse.move(0, 0)


def picture_studio(browser: Browser, project: Path) -> None:
    """A rater at a desktop, a rater with a phone, and the organiser."""
    with serving(project, "rate") as address:
        add = [sys.executable, "-m", "kedro", "raters", "add", "olga", "--organiser", "--address", address]
        done = subprocess.run(add, cwd=project, env=environment(project), check=True, capture_output=True, text=True)
        link = re.search(r"link +(\S+)", done.stdout)
        assert link, done.stdout
        with opened(browser, link[1], viewport={"width": 1280, "height": 560}) as page:
            page.click("#sign-in button")
            page.click("#help-close")
            page.click("#organiser")
            page.wait_for_selector("#raters tr")
            page.screenshot(path=DOCS / "studio_organiser.png", full_page=True)
        with opened(browser, address, viewport=DESKTOP) as page:
            rate_a_page(page, "anna")
            page.screenshot(path=DOCS / "studio_desktop.png")
        with opened(browser, address, viewport=PHONE, is_mobile=True, has_touch=True) as page:
            rate_a_page(page, "ben")
            page.screenshot(path=DOCS / "studio_phone.png")


def picture_tryout(browser: Browser, project: Path) -> None:
    """A hole painted by hand, and how both models fill it."""
    with serving(project, "try") as address, opened(browser, address, viewport=DESKTOP) as page:
        settle(page)
        for _ in range(EXAMPLE):
            page.click("#example")
            settle(page)
        page.click("#clear")
        box = page.locator("#canvas").bounding_box()
        assert box
        page.fill("#brush", BRUSH)
        for across, down in STROKE:
            page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"], steps=8)
            page.mouse.down()
        page.mouse.up()
        page.click("#fill")
        page.wait_for_selector("#results figure:nth-child(3)")
        page.mouse.move(0, 0)
        page.screenshot(path=DOCS / "try.png", full_page=True)


def picture_pipeline(browser: Browser, project: Path) -> None:
    """What Kedro-Viz draws of the default pipeline, without what is around it."""
    size = {"width": 1200, "height": 2200}
    with (
        serving(project, "viz", "run", "--no-browser", "--include-hooks") as address,
        opened(browser, "about:blank", viewport=size, device_scale_factor=3) as page,
    ):
        page.add_init_script(f"localStorage.setItem('KedroViz', {json.dumps(json.dumps(DRAWING))})")
        page.goto(address)
        page.wait_for_selector(".pipeline-node")
        settle(page)
        # Drawn to fit, it sticks out a little.
        page.get_by_label("Zoom out").click()
        page.wait_for_timeout(2000)
        page.add_style_tag(content=f"{AROUND_DRAWING} {{visibility: hidden !important}}")
        file = DOCS / "pipeline.png"
        page.screenshot(path=file, clip=around(page, ".pipeline-node, .pipeline-layer-name"))
    Image.open(file).convert("RGB").quantize(32, dither=Image.Dither.NONE).save(file, optimize=True)


def around(page: Page, selector: str) -> Any:
    """Playwright's rectangle around elements."""
    find = "all => all.map(one => one.getBoundingClientRect()).map(box => [box.left, box.top, box.right, box.bottom])"
    left, top, right, bottom = np.array(page.eval_on_selector_all(selector, find)).T
    x, y = left.min() - MARGIN, top.min() - MARGIN
    return {"x": x, "y": y, "width": right.max() + MARGIN - x, "height": bottom.max() + MARGIN - y}


def main() -> None:
    """Retake all of them."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        project = Path(folder)
        copy_project(project)
        simulate_raters(project / "data")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-quic"])
        for picture in (picture_studio, picture_tryout, picture_pipeline):
            picture(browser, project)
        browser.close()


if __name__ == "__main__":
    main()
