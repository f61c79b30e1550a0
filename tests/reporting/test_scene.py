"""The scene on the page: what is said of it, what is embedded, and the viewer in a real browser."""

import base64
import gzip
import json
import re
import shutil
import struct
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from hashlib import sha256
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prefpaint.reporting import page as page_module
from prefpaint.reporting.page import Report, render_report
from prefpaint.reporting.sentences import scene_sentences
from tests.conftest import REPOSITORY
from tests.reporting.test_page import Links, png, report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ROOM = REPOSITORY / "src/prefpaint/reporting"
ANGLE, ASPECT = 0.9, 1.25
METRICS = {
    "field_of_view": ANGLE,
    "aspect": ASPECT,
    "pivot": 1.0,
    "farthest_yaw": 0.4,
    "farthest_pitch": 0.2,
    "depth": "measured",
    "consistency_shared": 1.5,
    "consistency_independent": 15.25,
    "consistency_ratio": 9.125,
    "consistency_ratio_low": 8.5,
    "consistency_ratio_high": 10.0,
    "stereo_psnr_scene": 14.5,
    "stereo_psnr_gain_base": 0.25,
    "stereo_psnr_gain_base_low": -0.125,
    "stereo_psnr_gain_base_high": 0.5,
    "stereo_psnr_gain_telea": -0.75,
    "stereo_psnr_gain_telea_low": -1.5,
    "stereo_psnr_gain_telea_high": -0.25,
}


def relief(colour: tuple[float, float, float], side: int = 24) -> bytes:
    """GLB of what a camera at the origin sees: a ground two units away, and a square half as far in its middle."""
    rows, columns = np.mgrid[:side, :side]
    reach = np.tan(ANGLE / 2)
    x, y = reach * (2 * columns / (side - 1) - 1), reach / ASPECT * (1 - 2 * rows / (side - 1))
    near = (abs(x) < reach / 3) & (abs(y) < reach / 3)
    depth = np.where(near, 1.0, 2.0)
    places = np.stack([x * depth, y * depth, -depth], -1).reshape(-1, 3).astype("<f4")
    colours = np.where(near[..., None], colour, np.stack([columns, rows, 0 * rows], -1) / side)
    alike = np.arange(side * side).reshape(side, side)
    corners = [alike[:-1, :-1], alike[1:, :-1], alike[:-1, 1:], alike[:-1, 1:], alike[1:, :-1], alike[1:, 1:]]
    parts = [places.tobytes(), colours.astype("<f4").tobytes(), np.stack(corners, -1).astype("<u4").tobytes()]
    starts = np.cumsum([0, *map(len, parts)]).tolist()
    kinds = [(5126, "VEC3", side * side), (5126, "VEC3", side * side), (5125, "SCALAR", 6 * (side - 1) ** 2)]
    content = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "COLOR_0": 1}, "indices": 2}]}],
        "accessors": [
            {"bufferView": view, "componentType": number, "type": kind, "count": count}
            for view, (number, kind, count) in enumerate(kinds)
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": start, "byteLength": len(part)}
            for start, part in zip(starts, parts, strict=False)
        ],
        "buffers": [{"byteLength": starts[-1]}],
    }
    content["accessors"][0] |= {"min": places.min(0).tolist(), "max": places.max(0).tolist()}  # type: ignore[index]
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    chunks = (
        struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", starts[-1], b"BIN\0") + b"".join(parts)
    )
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


MESHES = {"base": relief((0.9, 0.05, 0.05)), "aligned": relief((0.05, 0.05, 0.9))}


@cache
def plain() -> Report:
    return report()


def with_scene(**changes: Any) -> Report:
    given = plain()
    metrics = {**given.metrics, "reconstruct_metrics": METRICS | changes}
    return replace(given, metrics=metrics, figures={**given.figures, "reconstruct_figure": png()}, meshes=MESHES)


def test_both_meshes_and_the_viewer_are_in_the_page() -> None:
    html = render_report(with_scene())
    for name, mesh in MESHES.items():
        (found,) = re.findall(rf'<script type="text/plain" id="mesh-{name}">([^<]*)</script>', html)
        assert gzip.decompress(base64.b64decode(found)) == mesh
    viewer = (ROOM / "static/viewer.js").read_text(encoding="utf-8")
    assert viewer in html and "</script" not in viewer
    assert f'data-fov="{ANGLE}"' in html and 'href="#scene"' in html
    page = Links()
    page.feed(html)
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in page.links)
    # The viewer and what base64 adds; meshes come on top.
    added = (
        len(html) - len(render_report(plain())) - sum(4 * -(-len(gzip.compress(mesh)) // 3) for mesh in MESHES.values())
    )
    assert added < 700_000
    assert html.count("A scene in three dimensions") == 3, "in the navigation, the heading and the table of numbers"


def test_a_page_without_a_scene_has_no_section_and_no_script() -> None:
    for given in (replace(with_scene(), meshes={}), plain()):
        html = render_report(given)
        assert 'id="scene"' not in html and "<script" not in html
    assert 'title="consistency_shared"' in render_report(replace(with_scene(), meshes={})), "no number is lost"


def test_large_meshes_stay_out_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "LARGEST_MESH", len(MESHES["base"]) - 1)
    html = render_report(with_scene())
    assert "<script" not in html and "<canvas" not in html
    assert "data/07_model_output/reconstruct/base.glb" in html and 'id="scene"' in html


def test_what_is_said_of_a_scene() -> None:
    first, consistency, second_view, caveat = scene_sentences(METRICS)
    assert "depth was measured" in first and "guessed" in scene_sentences({"depth": "guessed"})[0]
    assert "estimated by a network" in scene_sentences({"depth": "estimated"})[0]
    assert "differ by 1.500 grey levels" in consistency and "9.125 times as much (8.500 to 10" in consistency
    assert "14.500 dB (PSNR)" in second_view and "+0.250 dB (−0.125 to +0.500) against the base's" in second_view
    assert "−0.750 dB (−1.500 to −0.250) against Telea's method" in second_view
    assert scene_sentences({})[-1] == caveat and len(scene_sentences({})) == 2
    shown = unescape(render_report(with_scene()))
    assert all(sentence in shown for sentence in scene_sentences(METRICS))


def test_the_asset_was_made_from_these_sources() -> None:
    digest = sha256()
    for name in ("main.js", "package-lock.json"):
        digest.update((ROOM / "viewer" / name).read_bytes())
    viewer = (ROOM / "static/viewer.js").read_text(encoding="utf-8")
    assert digest.hexdigest() in viewer, "remake it: `npm ci && npm run build` in src/prefpaint/reporting/viewer"
    assert "Permission is hereby granted" in viewer, "three.js's licence travels with it"
    assert "http" not in (ROOM / "viewer/package-lock.json").read_text(encoding="utf-8")


needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
# Drawing in three dimensions without a graphics card.
GL = ["--no-sandbox", "--disable-quic", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
SIZES: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 860}},
    "phone": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=GL)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def scene_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("scene") / "report.html"
    file.write_text(render_report(with_scene()), encoding="utf-8")
    return file


def colours_at(page: Any, across: float, down: float) -> list[list[int]]:
    """Colours of both canvases at shares of their width and height."""
    from io import BytesIO

    from PIL import Image

    colours = []
    for canvas in page.query_selector_all("canvas"):
        with Image.open(BytesIO(canvas.screenshot())) as shot:
            colours.append(list(shot.convert("RGB").getpixel((int(across * shot.width), int(down * shot.height)))))
    return colours


def state(page: Any) -> list[float]:
    """Yaw and pitch, radians, and distance by that of the photograph's camera."""
    return [float(page.get_attribute(".scene", f"data-{name}")) for name in ("yaw", "pitch", "distance")]


def srgb(linear: float) -> float:
    """The sRGB standard's transfer function, 0 to 255."""
    return 255 * (12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055)


@needs_chromium
@pytest.mark.parametrize("size", SIZES)
def test_one_camera_for_both_scenes(chromium: Any, scene_file: Path, size: str) -> None:
    asked, troubles = [], []
    context = chromium.new_context(**SIZES[size], offline=True, reduced_motion="reduce")
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    page.goto(scene_file.as_uri())
    page.wait_for_timeout(100)
    assert page.get_attribute(".scene", "data-state") is None, "it starts when it is scrolled to"
    page.locator(".scene").scroll_into_view_if_needed()
    page.wait_for_selector(".scene[data-state=shown]")
    assert state(page) == [0, 0, 1]
    # The near squares, in the colours of the meshes, which are linear; two levels are rounding.
    for found, wanted in zip(colours_at(page, 0.5, 0.5), [(0.9, 0.05, 0.05), (0.05, 0.05, 0.9)], strict=True):
        assert np.abs(np.array(found) - [srgb(value) for value in wanted]).max() <= 2
    # The ground ends where the picture does: its outermost pixels fill the canvas.
    assert all(colours_at(page, across, 0.02)[0] != [233, 237, 241] for across in (0.02, 0.98))
    start = [colours_at(page, across, 0.2) for across in (0.2, 0.8)]
    assert start[0][0] == start[0][1] != start[1][0], "the same ground"
    box = page.query_selector_all("canvas")[1].bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    # A wheel over what was not touched scrolls the page.
    page.mouse.wheel(0, 40)
    page.wait_for_timeout(100)
    assert state(page) == [0, 0, 1]
    page.locator(".scene").scroll_into_view_if_needed()
    box = page.query_selector_all("canvas")[1].bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.46, box["y"] + box["height"] / 2, steps=3)
    page.mouse.up()
    page.wait_for_function("document.querySelector('.scene').dataset.yaw > 0.02")
    turned = [colours_at(page, across, 0.2) for across in (0.2, 0.8)]
    # Both canvases turn when one is dragged, by the same: the ground that they share looks alike still.
    assert turned[0][0] == turned[0][1] != start[0][0] and turned[1][0] == turned[1][1] != start[1][0]
    assert page.evaluate("document.activeElement.className") == "panes"
    for _ in range(30):
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowUp")
        page.keyboard.press("-")
    yaw, pitch, distance = state(page)
    assert (yaw, pitch, distance) == pytest.approx((0.4, 0.2, 1.5), abs=1e-3), "not to the back of it"
    page.keyboard.press("ArrowLeft")
    assert state(page)[0] == pytest.approx(0.34, abs=1e-3)
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.wheel(0, -400)
    page.wait_for_function("document.querySelector('.scene').dataset.distance < 1.5")
    page.click("[data-reset]")
    assert state(page) == [0, 0, 1]
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert not troubles and all(url.startswith(("file:", "data:", "blob:")) for url in asked)
    context.close()


@needs_chromium
def test_it_sways_until_it_is_touched(chromium: Any, scene_file: Path) -> None:
    page = chromium.new_page()
    page.goto(scene_file.as_uri())
    page.locator(".scene").scroll_into_view_if_needed()
    page.wait_for_function("Math.abs(document.querySelector('.scene').dataset.yaw) > 0.02")
    page.locator(".panes").focus()
    page.wait_for_timeout(50)
    held = state(page)
    page.wait_for_timeout(200)
    assert state(page) == held
    page.close()


@needs_chromium
def test_a_browser_without_webgl_is_told_so(chromium: Any, scene_file: Path) -> None:
    page = chromium.new_page()
    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page.goto(scene_file.as_uri())
    page.locator(".scene").scroll_into_view_if_needed()
    page.wait_for_selector(".scene[data-state=trouble]")
    assert "does not draw in three dimensions" in page.inner_text("[data-trouble]")
    assert not page.is_visible("canvas") and not page.is_visible("[data-reset]")
    page.close()
