"""The docs build as a site without a warning, nothing on it is loaded from elsewhere, and each room has its page."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.test_layers import ROOMS

# Has web pages of its own and no functions for others to call.
NOT_A_LIBRARY = {"studio"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    call = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(call, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_there(site: Path) -> None:
    docs = REPOSITORY / "docs"
    pages = {path.relative_to(docs).with_suffix("").as_posix() for path in docs.rglob("*.md")}
    assert pages == {path.relative_to(site).with_suffix("").as_posix() for path in site.rglob("*.html")} - {"404"}


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=[\"']?(?:https?:)?//[^>]*>", text)
        assert loaded == [], page.name
        # The theme would fetch its drawing library for these.
        assert 'class="mermaid"' not in text, page.name


def test_the_search_knows_pages_and_functions(site: Path) -> None:
    entries = json.loads((site / "search/search_index.json").read_text(encoding="utf-8"))["docs"]
    titles = {entry["title"] for entry in entries}
    assert "Holes" in titles
    assert any("krippendorff_alpha" in title for title in titles)


def test_every_room_is_documented(site: Path) -> None:
    rooms = {name for layer in ROOMS for name in layer} - NOT_A_LIBRARY
    assert rooms == {page.stem for page in (REPOSITORY / "docs/reference").glob("*.md")} - {"index"}
    for room in rooms:
        text = (site / f"reference/{room}.html").read_text(encoding="utf-8")
        assert re.search(rf'id="prefpaint\.{room}\.\w+\.\w+"', text), room
