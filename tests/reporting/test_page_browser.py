"""The report in a real browser, on a desktop and on a phone."""

import shutil
from pathlib import Path

import pytest

from prefpaint.reporting.page import render_report
from tests.reporting.test_page import report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_it_fits_and_asks_for_nothing_else(tmp_path: Path, width: int, height: int) -> None:
    from playwright.sync_api import sync_playwright

    page_file = tmp_path / "report.html"
    page_file.write_text(render_report(report()), encoding="utf-8")
    asked, troubles = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-quic"])
        page = browser.new_context(viewport={"width": width, "height": height}).new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.goto(page_file.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (
            "the page sticks out sideways"
        )
        headings = page.eval_on_selector_all("h3", "found => found.map(one => one.textContent)")
        strips = page.eval_on_selector_all(
            ".strips", "found => found.map(one => [one.querySelectorAll('img').length, one.offsetWidth])"
        )
        browser.close()
    assert not troubles and all(url.startswith(("file:", "data:")) for url in asked)
    order = [text.partition(": ")[2] for text in headings if text.startswith("seen: ") and "prompts" not in text]
    assert order[:3] == ["evenly chosen", "most improved", "made worse"]
    # What got worse is as large and as many as what improved.
    assert strips[1] == strips[2]
