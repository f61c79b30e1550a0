"""The web addresses: what they answer, and that nobody gets in where they do not belong."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prefpaint.preferences import rating_tables as tables
from prefpaint.preferences import store
from prefpaint.studio.accounts import add_rater
from prefpaint.studio.server import COOKIE, LARGEST_BODY, create_app
from prefpaint.studio.studio import Studio
from prefpaint.web import FAILURES_PER_MINUTE, is_loopback
from tests.studio.project import open_studio

HERE = "http://127.0.0.1"
KEY = "0123456789abcdef"


@pytest.fixture
def studio(pictures: Path, tmp_path: Path) -> Iterator[Studio]:
    made = open_studio(pictures, tmp_path / "store", calibration=0)
    yield made
    made.store.close()


def browser(studio: Studio, name: str | None = None, token: str = "", host: str = "127.0.0.1") -> TestClient:
    client = TestClient(create_app(studio, host), base_url=HERE, raise_server_exceptions=False)
    if name:
        answer = client.post("/api/sign-in", json={"name": name, "token": token})
        assert answer.status_code == 200, answer.text
    return client


def good(page: int, **changes: Any) -> dict[str, Any]:
    return {"page": page, "key": KEY, "verdict": "rated", "scores": [[1, 2, 3]] * 3, "seconds": 1.5, **changes}


def test_a_session(studio: Studio) -> None:
    client = browser(studio, "ann")
    assert client.get("/api/studio").json()["rater"] == {"name": "ann", "organiser": False}
    page = client.post("/api/page").json()["page"]
    for place in range(4):
        picture = client.get(f"/image/{page['id']}/{place}")
        assert picture.status_code == 200 and picture.content.startswith(b"\x89PNG")
    after = client.post("/api/answer", json=good(page["id"])).json()
    assert after["progress"]["done"] == 1 and len(studio.store.ratings()) == 3
    assert client.post("/api/undo", json={"key": KEY[::-1]}).json()["page"]["given"] == [[1, 2, 3]] * 3
    assert client.post("/api/sign-out").status_code == 200
    assert client.post("/api/page").status_code == 401


def test_nobody_gets_in_before_the_first_rater(studio: Studio) -> None:
    client = browser(studio)
    client.cookies.set(COOKIE, "forged")
    assert client.get("/api/studio").json()["rater"] is None and client.post("/api/page").status_code == 401


def test_the_cookie_and_the_headers(studio: Studio) -> None:
    client = browser(studio)
    answer = client.post("/api/sign-in", json={"name": "ann"})
    cookie = answer.headers["set-cookie"].lower()
    assert (
        cookie.startswith(COOKIE) and "httponly" in cookie and "samesite=strict" in cookie and "max-age=43200" in cookie
    )
    page = client.get("/")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff" and page.headers["referrer-policy"] == "no-referrer"
    secure = TestClient(create_app(studio), base_url="https://127.0.0.1").post("/api/sign-in", json={"name": "bob"})
    assert "secure" in secure.headers["set-cookie"].lower()


@pytest.mark.parametrize("path", ["/", "/organiser", "/static/rate.js", "/static/organiser.js", "/static/studio.css"])
def test_pages_are_served_and_hold_nothing_from_elsewhere(studio: Studio, path: str) -> None:
    page = browser(studio).get(path)
    assert page.status_code == 200
    assert "http://" not in page.text and "https://" not in page.text and "innerHTML" not in page.text
    # The policy allows neither script nor style inside a page.
    assert "style=" not in page.text and "onclick" not in page.text and "<script>" not in page.text


def test_organisers_alone_see_everybody(studio: Studio) -> None:
    ann = browser(studio, "ann")
    page = ann.post("/api/page").json()["page"]
    ann.post("/api/answer", json=good(page["id"]))
    olga = browser(studio, "olga", add_rater(studio.store, "olga", organiser=True))
    found = olga.get("/api/overview").json()
    assert found["ratings"] == 3 and [row["name"] for row in found["raters"]] == ["ann"]
    export = olga.get("/api/ratings.csv")
    assert export.text.splitlines()[0] == "candidate_id,rater,structure,texture,overall,rated_at,sha256"
    assert len(export.text.splitlines()) == 4 and "attachment" in export.headers["content-disposition"]
    for path in ("/api/overview", "/api/ratings.csv"):
        assert ann.get(path).status_code == 403 and browser(studio).get(path).status_code == 401


def test_elsewhere_than_on_loopback_a_token_is_needed(studio: Studio, pictures: Path, tmp_path: Path) -> None:
    token = add_rater(studio.store, "ann")
    client = browser(studio, host="0.0.0.0")
    assert client.get("/api/studio").json()["needs_token"]
    assert client.post("/api/sign-in", json={"name": "bob"}).status_code == 401
    assert client.post("/api/sign-in", json={"name": "ann"}).status_code == 401
    assert client.post("/api/sign-in", json={"name": "ann", "token": token}).status_code == 200
    proxied = open_studio(pictures, tmp_path / "other", url="https://rate.example.org/")
    behind = TestClient(create_app(proxied), base_url="https://rate.example.org")
    assert behind.post("/api/sign-in", json={"name": "bob"}).status_code == 401
    proxied.store.close()


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("127.9.9.9", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.4", False),
        ("example.org", False),
        ("127.0.0.1.example.org", False),
        ("", False),
    ],
)
def test_what_is_loopback(host: str, alone: bool) -> None:
    assert is_loopback(host) == alone


def test_failed_sign_ins_are_limited(studio: Studio) -> None:
    token = add_rater(studio.store, "ann")
    client = browser(studio)
    for _ in range(FAILURES_PER_MINUTE):
        assert client.post("/api/sign-in", json={"name": "ann", "token": "guess"}).status_code == 401
    answer = client.post("/api/sign-in", json={"name": "ann", "token": token})
    assert answer.status_code == 429 and answer.headers["retry-after"] == "60"


def test_other_sites_and_other_names_of_this_machine_stay_out(studio: Studio) -> None:
    client = browser(studio, "ann")
    assert client.post("/api/page", headers={"Origin": "https://evil.example"}).status_code == 403
    assert client.post("/api/page", headers={"Origin": "null"}).status_code == 403
    assert client.post("/api/page", headers={"Origin": HERE}).status_code == 200
    assert client.post("/api/page", headers={"Host": "evil.example"}).status_code == 400
    # What a form of another site could send without asking first is not taken for JSON.
    body = json.dumps({"name": "bob"})
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        assert client.post("/api/sign-in", content=body, headers={"Content-Type": kind}).status_code == 422


def test_a_busy_store_is_no_crash(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    client = browser(studio, "ann")
    monkeypatch.setattr(store, "PATIENCE_S", 0)
    with studio.store.engine.connect() as other:
        # A writer that does not come to an end.
        studio.store.engine.dispose(close=False)
        other.exec_driver_sql("PRAGMA busy_timeout=0")
        other.rollback()
        other.execution_options(writes=True)
        with other.begin():
            answer = client.post("/api/page")
    assert answer.status_code == 503 and answer.headers["retry-after"] == "1"
    assert client.post("/api/page").status_code == 200


# ---------------------------------------------------------------- a hostile session

hostile_text = st.text(max_size=80) | st.sampled_from(
    [
        "../../../../etc/passwd",
        "..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/etc/passwd",
        "....//....//etc/passwd",
        "/etc/passwd",
        "file:///etc/passwd",
        "C:\\Windows\\win.ini",
        "1/../../../../etc/passwd",
        "1%00.png",
        "<script>alert(1)</script>",
        "' OR 1=1; DROP TABLE ratings; --",
        "\x00",
        "\ud800",
        "{{7*7}}",
        "9" * 400,
        "-1",
        "1e9",
        "NaN",
    ]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | hostile_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(hostile_text, inner, max_size=3),
    max_leaves=8,
)
paths = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["/image/", "/static/", "/api/", "/", "/image/1/", "/api/ratings.csv/", "//"]), hostile_text
    ),
)
HOSTILE = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def field(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, TestClient, Studio]]:
    """Ann has a page open; Mallory is signed in too."""
    studio = open_studio(pictures, tmp_path_factory.mktemp("hostile"), calibration=0)
    ann, mallory = browser(studio, "ann"), browser(studio, "mallory")
    ann.post("/api/page")
    yield ann, mallory, studio
    studio.store.close()


def served(answer: Any, pictures: Path) -> None:
    """No crash, and nothing but our own pages, JSON and pictures of the image folders."""
    assert answer.status_code < 500, (answer.status_code, answer.text)
    kind = answer.headers.get("content-type", "")
    if answer.status_code == 200 and kind.startswith("image/png"):
        known = [path.read_bytes() for path in (pictures / "fills").glob("*.png")]
        assert answer.content in known or len(answer.content) < 5000
    assert b"root:" not in answer.content and b"SQLite format" not in answer.content


@HOSTILE
@given(path=paths, method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD"]))
def test_hostile_paths(field: Any, pictures: Path, path: str, method: str) -> None:
    _, mallory, _ = field
    try:
        request = mallory.build_request(method, HERE + path)
    except Exception:  # not an address at all: no client can send it
        return
    answer = mallory.send(request)
    served(answer, pictures)
    if answer.status_code == 200:
        assert request.url.path in {"/", "/organiser", "//"} or request.url.path.startswith(("/static/", "/api/studio"))


@HOSTILE
@given(address=st.sampled_from(["/api/sign-in", "/api/answer", "/api/page", "/api/undo", "/api/sign-out"]), body=values)
def test_hostile_bodies(field: Any, pictures: Path, address: str, body: Any) -> None:
    _, _, studio = field
    client = browser(studio)
    client.cookies.set(COOKIE, "forged" * 8)
    served(client.post(address, content=_encode(body), headers={"Content-Type": "application/json"}), pictures)


def _encode(body: Any) -> bytes:
    return json.dumps(body).encode("utf-8", "surrogatepass")


answers = st.fixed_dictionaries(
    {},
    optional={
        "page": st.integers(-2, 6) | values,
        "key": st.just(KEY) | st.text("0123456789abcdef", min_size=16, max_size=16) | values,
        "verdict": st.sampled_from(["rated", "cannot judge", "withdrawn"]) | values,
        "scores": st.lists(st.lists(st.integers(-1, 9), min_size=2, max_size=4), max_size=4) | values,
        "choice": st.integers(-1, 4) | values,
        "seconds": st.floats() | values,
        "more": values,
    },
)


@HOSTILE
@given(changes=answers)
def test_hostile_answers_store_nothing_that_is_no_rating(field: Any, pictures: Path, changes: dict[str, Any]) -> None:
    ann, mallory, studio = field
    theirs = ann.post("/api/page").json()["page"]
    before = studio.store.rows(sa.select(tables.pages).where(tables.pages.c.id == theirs["id"]))
    sent = good(theirs["id"]) | changes
    answer = mallory.post("/api/answer", content=_encode(sent), headers={"Content-Type": "application/json"})
    served(answer, pictures)
    after = studio.store.rows(sa.select(tables.pages).where(tables.pages.c.id == theirs["id"]))
    assert after["state"].tolist() == before["state"].tolist(), "another rater's page was touched"
    rated = studio.store.rows(sa.select(tables.ratings))
    assert rated[["structure", "texture", "overall"]].isin(range(8)).all(axis=None)
    assert set(rated["candidate_id"]) <= set(studio.candidates["candidate_id"])
    assert studio.store.rows(sa.select(tables.answers.c.seconds))["seconds"].between(0, 86_400).all()


@HOSTILE
@given(cookie=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='";,\\'), max_size=60))
def test_forged_sessions(field: Any, cookie: str) -> None:
    _, _, studio = field
    client = browser(studio)
    for path in ("/api/overview", "/api/ratings.csv", "/image/1/0"):
        assert client.get(path, headers={"Cookie": f"{COOKIE}={cookie}"}).status_code == 401
    for path in ("/api/page", "/api/undo"):
        answer = client.post(path, json={"key": KEY}, headers={"Cookie": f"{COOKIE}={cookie}"})
        assert answer.status_code == 401


@HOSTILE
@given(name=hostile_text, token=hostile_text)
def test_hostile_names(field: Any, name: str, token: str) -> None:
    _, _, studio = field
    client = browser(studio, None, host="0.0.0.0")
    answer = client.post(
        "/api/sign-in", content=_encode({"name": name, "token": token}), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in (401, 422) and COOKIE not in answer.headers.get("set-cookie", "")


def test_a_script_in_a_name_stays_text(studio: Studio) -> None:
    name = "<script>alert(1)</script>"
    client = browser(studio, name)
    page = client.post("/api/page").json()["page"]
    client.post("/api/answer", json=good(page["id"]))
    olga = browser(studio, "olga", add_rater(studio.store, "olga", organiser=True))
    found = olga.get("/api/overview")
    assert found.headers["content-type"] == "application/json" and found.json()["raters"][0]["name"] == name


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "+1", "@SUM(A1)", "-1", "a\x00b", "a\u202eb"])
def test_names_that_a_spreadsheet_would_run_or_a_terminal_would_obey(studio: Studio, name: str) -> None:
    answer = browser(studio).post("/api/sign-in", json={"name": name})
    assert answer.status_code == 422 and "this is not a valid name; use up to 64" in answer.json()["detail"]


@pytest.mark.parametrize("size", [LARGEST_BODY + 1, 5_000_000])
def test_oversized_bodies(studio: Studio, size: int) -> None:
    client = browser(studio, "ann")
    body = b'{"name": "' + b"a" * size + b'"}'
    for address in ("/api/sign-in", "/api/answer"):
        assert client.post(address, content=body, headers={"Content-Type": "application/json"}).status_code == 413

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(body), 4096):
            yield body[start : start + 4096]

    answer = client.post("/api/sign-in", content=pieces(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 8000, b"\xff\xfe", b"null", b'{"page": 1e999}', b'{"page": NaN}'])
def test_malformed_bodies(studio: Studio, body: bytes) -> None:
    client = browser(studio, "ann")
    answer = client.post("/api/answer", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)


@pytest.mark.parametrize(("host", "named"), [("127.0.0.2", "127.0.0.2:8500"), ("::1", "[::1]:8500")])
def test_every_loopback_address_answers_to_its_own_name(studio: Studio, host: str, named: str) -> None:
    client = TestClient(create_app(studio, host), base_url=f"http://{named}")
    assert client.get("/api/studio").status_code == 200
    assert client.get("/api/studio", headers={"Host": "evil.example"}).status_code == 400


def test_a_proxys_address_is_compared_as_browsers_write_it(pictures: Path, tmp_path: Path) -> None:
    studio = open_studio(pictures, tmp_path, url="https://Rate.Example.org")
    client = TestClient(create_app(studio), base_url=HERE)
    answer = client.post("/api/sign-in", json={"name": "ann"}, headers={"Origin": "https://rate.example.org"})
    assert answer.status_code == 401, "a wrong token, not another site"
    studio.store.close()


def test_an_undo_that_is_sent_twice_takes_back_one_answer(studio: Studio) -> None:
    client = browser(studio, "ann")
    for number in range(3):
        page = client.post("/api/page").json()["page"]
        client.post("/api/answer", json=good(page["id"], key=f"{number:016d}"))
    first = client.post("/api/undo", json={"key": "u" * 16}).json()
    assert first["progress"]["done"] == 2
    assert client.post("/api/undo", json={"key": "u" * 16}).json() == first
    assert client.post("/api/undo", json={"key": "v" * 16}).json()["progress"]["done"] == 1
