"""The try-it page: both models fill what was sent, and nobody gets in or breaks it."""

import base64
import io
import json
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from prefpaint.applications.best import Chooser
from prefpaint.applications.tryout.painter import LARGEST_PIXELS, Painter, Tried, read_picture
from prefpaint.applications.tryout.server import COOKIE, SESSION_SECONDS, create_app
from prefpaint.errors import PrefPaintError
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.context import Patch, paste
from prefpaint.inpainting.sampling import Inpainter
from prefpaint.trust.choice import ChoiceErrors
from tests.conftest import Project
from tests.pipelines.test_evaluate import make_inputs
from tests.studio.project import free_port
from tests.test_cli_errors import sentence

HERE = "http://127.0.0.1"


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Painter:
    given = make_inputs(tmp_path_factory.mktemp("tryout"))
    sampling = SamplingConfig(steps=2)
    inpainters = {name: Inpainter(given[f"{name}_model"], sampling, "cpu") for name in ("base", "aligned")}
    # Nine prompts suffice for the 90 % interval of one hole, and not for two holes at once.
    errors = ChoiceErrors(level=0.9, reward=((0.5,) * 9,) * 3, gain=((0.0,) * 9, (9.0,) * 9, (9.0,) * 9))
    return Painter(inpainters, Chooser(given["reward_model"], errors))


def encoded(image: np.ndarray, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind)
    return stream.getvalue()


def picture(height: int = 60, width: int = 90) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def right_half(height: int = 60, width: int = 90) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    mask[:, width // 2 :] = 255
    return mask


def body(**changes: Any) -> dict[str, Any]:
    image, mask = (base64.b64encode(encoded(one)).decode() for one in (picture(), right_half()))
    return {"picture": image, "mask": mask, "seed": 1, **changes}


def filled(image: np.ndarray, patches: list[Patch]) -> np.ndarray:
    image = image.copy()
    for patch in patches:
        paste(image, patch)
    return image


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_both_models_fill_the_hole_and_keep_the_rest(painter: Painter, kind: str) -> None:
    def paint(seed: int, text: str = "") -> dict[str, Tried]:
        return painter.paint(encoded(picture(), kind), encoded(right_half()), seed, text)

    tried = paint(1)
    assert set(tried) == {"base", "aligned"}
    assert all(np.isfinite(one.verdict.reward.value) for one in tried.values())
    grey = np.full((60, 90, 3), 128, np.uint8)
    for patches in (one.patches for one in tried.values()):
        # The band where the fill is blended in is 1 px wide at this size.
        assert (filled(grey, patches)[:, :44] == 128).all() and (filled(grey, patches)[:, 45:] != 128).any()
    np.testing.assert_array_equal(paint(1)["aligned"].patches[0].pixels, tried["aligned"].patches[0].pixels)
    for other in (paint(2), paint(1, "a cat")):
        assert (other["aligned"].patches[0].pixels != tried["aligned"].patches[0].pixels).any()


def test_a_large_picture_is_filled_at_its_own_size(painter: Painter) -> None:
    mask = np.zeros((500, 700), np.uint8)
    mask[10:20, 10:20] = mask[400:430, 600:640] = 255
    tried = painter.paint(encoded(picture(500, 700)), encoded(mask), 0)
    image = filled(picture(500, 700), tried["aligned"].patches)
    assert len(tried["aligned"].patches) == 2
    changed = (image != picture(500, 700)).any(2)
    assert changed[mask > 0].mean() > 0.9 and changed.mean() < 0.01


@pytest.mark.parametrize(
    ("picture_bytes", "mask", "message"),
    [
        (b"dear diary", encoded(right_half()), "the picture is not a PNG"),
        (encoded(picture())[:200], encoded(right_half()), "the picture is not a PNG"),
        (encoded(picture(), "BMP"), encoded(right_half()), "the picture is not a PNG"),
        (encoded(picture()), b"", "the mask is not a PNG"),
        (encoded(picture()), encoded(np.zeros((60, 90), np.uint8)), "the mask has no hole"),
        (encoded(picture()), encoded(np.full((60, 90), 255, np.uint8)), "the mask covers everything"),
        (encoded(picture()), encoded(right_half(90, 60)), "the mask has 60 × 90 pixels and the picture 90 × 60"),
    ],
)
def test_what_cannot_be_filled_is_one_sentence(
    painter: Painter, picture_bytes: bytes, mask: bytes, message: str
) -> None:
    with pytest.raises(PrefPaintError, match=message):
        painter.paint(picture_bytes, mask, 0)


def test_what_is_transparent_is_grey(painter: Painter) -> None:
    clear, grey = np.zeros((40, 40, 4), np.uint8), np.full((40, 40, 3), 128, np.uint8)
    tried, same = (painter.paint(encoded(one), encoded(right_half(40, 40)), 0) for one in (clear, grey))
    np.testing.assert_array_equal(tried["base"].patches[0].pixels, same["base"].patches[0].pixels)


def test_a_picture_too_large_is_refused_before_it_is_decoded() -> None:
    stream = io.BytesIO()
    Image.new("1", (6000, LARGEST_PIXELS // 6000 + 1)).save(stream, "PNG")
    with pytest.raises(PrefPaintError, match="more than 30,000,000 pixels"):
        read_picture(stream.getvalue(), "picture")


def test_a_session(painter: Painter) -> None:
    client = TestClient(create_app(painter, [picture()]), base_url=HERE)
    assert client.get("/").status_code == client.get("/static/try.js").status_code == 200
    assert client.get("/api/about").json() == {"examples": 1, "token": False}
    assert client.get("/example/0").content.startswith(b"\x89PNG") and client.get("/example/1").status_code == 404
    found = client.post("/api/fill", json=body()).json()
    assert [one["name"] for one in found["fills"]] == ["base", "aligned"]
    for one in found["fills"]:
        assert one["interval"] == pytest.approx([one["reward"] - 0.5, one["reward"] + 0.5]) and one["level"] == 0.9
        assert one["sentence"] == "", "one fill is no choice"
    (patch,) = found["fills"][0]["patches"]
    with Image.open(io.BytesIO(base64.b64decode(patch["image"].removeprefix("data:image/png;base64,")))) as sent:
        assert sent.mode == "RGBA" and patch["left"] + sent.width <= 90 and patch["top"] + sent.height <= 60
    for one, best in zip(found["fills"], client.post("/api/fill", json=body(samples=4)).json()["fills"], strict=True):
        assert best["reward"] >= one["reward"] and not best["sure"] and "Too close to choose" in best["sentence"]
    for samples in (0, 9, "4", 2.5):
        assert client.post("/api/fill", json=body(samples=samples)).status_code == 422
    answer = client.post("/api/fill", json=body(picture="AAAA"))
    assert answer.status_code == 422 and "is not a PNG" in answer.json()["detail"]


def test_elsewhere_than_on_loopback_a_token_is_needed(painter: Painter, monkeypatch: pytest.MonkeyPatch) -> None:
    client = TestClient(create_app(painter, [picture()], "0.0.0.0", "the token"), base_url=HERE)
    for path in ("/api/about", "/example/0"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers={"Cookie": f"{COOKIE}=forged"}).status_code == 401
    assert client.post("/api/fill", json=body()).status_code == 401
    assert client.post("/api/sign-in", json={"token": "another"}).status_code == 401
    answer = client.post("/api/sign-in", json={"token": "the token"})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and "max-age=43200" in cookie
    assert client.get("/api/about").json()["token"] is True
    kept = client.cookies[COOKIE]
    assert client.post("/api/sign-out").status_code == 200
    client.cookies.set(COOKIE, kept)
    assert client.get("/api/about").status_code == 401, "signed out is signed out"
    client.cookies.clear()
    client.post("/api/sign-in", json={"token": "the token"})
    assert client.get("/api/about").status_code == 200
    later = time.monotonic() + SESSION_SECONDS + 1
    with monkeypatch.context() as patched:
        patched.setattr("prefpaint.applications.tryout.server.time.monotonic", lambda: later)
        assert client.get("/api/about").status_code == 401, "sessions end"
    for _ in range(10):
        client.post("/api/sign-in", json={"token": "guess"})
    assert client.post("/api/sign-in", json={"token": "the token"}).status_code == 429


def test_other_sites_stay_out(painter: Painter) -> None:
    client = TestClient(create_app(painter, []), base_url=HERE)
    assert client.post("/api/fill", json=body(), headers={"Origin": "https://evil.example"}).status_code == 403
    assert client.get("/api/about", headers={"Host": "evil.example"}).status_code == 400


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=40)
    | st.binary(max_size=40).map(lambda data: base64.b64encode(data).decode()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("picture", "mask", "seed", "text", "samples", "more"), anything)
    )
    | anything,
    path=st.sampled_from(["/api/fill", "/api/sign-in", "/example/../../etc/passwd", "/static/..%2f..%2fserver.py"]),
)
def test_a_hostile_session(painter: Painter, changes: Any, path: str) -> None:
    client = TestClient(create_app(painter, [picture()]), base_url=HERE, raise_server_exceptions=False)
    sent = (
        body(**changes)
        if isinstance(changes, dict) and set(changes) <= {"picture", "mask", "seed", "text", "samples", "more"}
        else changes
    )
    content = json.dumps(sent).encode("utf-8", "surrogatepass")
    answer = client.post(path, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code < 500, answer.text
    assert b"root:" not in answer.content and b"import " not in answer.content


def test_the_command(project: Project) -> None:
    assert "does not exist yet; run `kedro run` or `dvc pull`" in sentence(project.run("try"))
    assert project.run("run").returncode == 0
    port = free_port()
    call = [sys.executable, "-m", "kedro", "try", "--port", str(port)]
    process = subprocess.Popen(call, cwd=project.path, env=project.environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert any(f"Try it at http://127.0.0.1:{port}" in line for line in process.stdout)
    finally:
        process.kill()
        process.wait()
