"""A reward behind HTTP, with real servers: what is sent, what is tried again, and what stops a run."""

import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from prefpaint import distributed
from prefpaint.alignment import http_reward
from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.http_reward import HTTPScorer
from prefpaint.alignment.job import Job
from prefpaint.alignment.loop import Result
from prefpaint.alignment.run import align
from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder
from prefpaint.inpainting.checkpoint import module_digest
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.reward.config import RewardConfig
from prefpaint.small_model.build import build_small_pipeline
from prefpaint.trust.config import GammaConfig
from tests.judges.outside_models import pictures
from tests.pipelines.test_modes import Bright, trust_in
from tests.tiny import SIZE, TINY_MODEL, tiny_prompts

MASKS = np.zeros((4, 32, 32), np.uint8)
MASKS[:, 8:24, 8:24] = 1
BROKEN, SLOW = b'{"scores": [1, ', b'{"scores": [1, 2, 3, 4]}'
# What a server says to a request: status and body; None to hang up.
Answer = Callable[[dict[str, Any]], tuple[int, bytes] | None]


class Server:
    """A scorer on this machine that keeps what it was asked."""

    def __init__(self, answer: Answer, port: int = 0) -> None:
        asked: list[dict[str, Any]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                said = answer(asked[-1])
                if said is None:
                    self.close_connection = True
                    return
                self.send_response(said[0])
                if 300 <= said[0] < 400:
                    self.send_header("Location", "/elsewhere")
                # What a server sends that dies while it answers, or one that takes its time.
                if said[1] == BROKEN:
                    self.send_header("Content-Length", "50")
                self.end_headers()
                for byte in said[1] if said[1] == SLOW else ():
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.1)
                if said[1] != SLOW:
                    self.wfile.write(said[1])

            def log_message(self, *arguments: Any) -> None:
                pass

        self.asked, self.server = asked, ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}/score"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    started: list[Server] = []

    def start(answer: Answer, port: int = 0) -> Server:
        started.append(Server(answer, port))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long would have been waited between attempts."""
    found: list[float] = []
    monkeypatch.setattr(http_reward, "sleep", found.append)
    return found


def pixels(png: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))


def brightness(asked: dict[str, Any]) -> tuple[int, bytes]:
    """The hole's mean, as a server would measure it."""
    found = [
        pixels(image)[pixels(mask) > 0].mean() / 255
        for image, mask in zip(asked["images"], asked["masks"], strict=True)
    ]
    return 200, json.dumps({"scores": found}).encode()


TEXTS = ["a cat", "", "“é”", "a dog"]


def scorer(url: str, **knobs: Any) -> HTTPScorer:
    return HTTPScorer(**{"key": "align.rewards.far", "url": url, "timeout": 5.0, "retries": 3, **knobs})


def test_pictures_arrive_as_they_are(serve: Serve) -> None:
    server = serve(brightness)
    found = scorer(server.url)(pictures(), MASKS, TEXTS)
    np.testing.assert_array_equal(found, [p[m > 0].mean() / 255 for p, m in zip(pictures(), MASKS, strict=True)])
    (asked,) = server.asked
    assert set(asked) == {"images", "masks", "texts"}
    np.testing.assert_array_equal([pixels(image) for image in asked["images"]], pictures())
    np.testing.assert_array_equal([pixels(mask) for mask in asked["masks"]], MASKS * 255)
    assert asked["texts"] == TEXTS


@pytest.mark.parametrize("failure", [(500, b""), (503, b"busy"), (429, b""), (200, BROKEN), None], ids=str)
def test_a_server_that_recovers_is_asked_again(
    serve: Serve, waits: list[float], failure: tuple[int, bytes] | None
) -> None:
    left = [failure] * 3
    server = serve(lambda asked: left.pop() if left else brightness(asked))
    assert len(scorer(server.url)(pictures(), MASKS, TEXTS)) == 4
    assert waits == [1, 2, 4] and len(server.asked) == 4


@pytest.mark.parametrize(
    ("failure", "said"),
    [((500, b""), "status 500 Internal Server Error"), ((429, b""), "status 429 Too Many Requests"), (None, "closed")],
    ids=str,
)
def test_a_server_that_stays_away_stops_the_run(
    serve: Serve, waits: list[float], failure: tuple[int, bytes] | None, said: str
) -> None:
    server = serve(lambda asked: failure)
    with pytest.raises(PrefPaintError, match=rf"gave no scores in 4 attempt\(s\) \(.*{said}.*resumes") as caught:
        scorer(server.url)(pictures(), MASKS, TEXTS)
    assert str(caught.value).startswith(f"align.rewards.far: {server.url} ") and "\n" not in str(caught.value)
    assert waits == [1, 2, 4] and len(server.asked) == 4


def test_nobody_there(serve: Serve, waits: list[float]) -> None:
    server = serve(brightness)
    server.stop()
    with pytest.raises(PrefPaintError, match=r"gave no scores in 1 attempt\(s\) \(.*refused"):
        scorer(server.url, retries=0)(pictures(), MASKS, TEXTS)
    assert waits == []


def test_a_late_server_is_asked_again(serve: Serve, waits: list[float]) -> None:
    late = [True]

    def answer(asked: dict[str, Any]) -> tuple[int, bytes]:
        if late and late.pop():
            time.sleep(0.6)
        return brightness(asked)

    server = serve(answer)
    assert len(scorer(server.url, timeout=0.3)(pictures(), MASKS, TEXTS)) == 4
    assert waits == [1] and len(server.asked) == 2


def test_every_byte_in_time_is_late_too(serve: Serve, waits: list[float]) -> None:
    server = serve(lambda asked: (200, SLOW))
    with pytest.raises(PrefPaintError, match=r"gave no scores in 2 attempt\(s\) \(timed out\)"):
        scorer(server.url, timeout=0.5, retries=1)(pictures(), MASKS, TEXTS)
    assert scorer(server.url, timeout=10)(pictures(), MASKS, TEXTS).tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("status", [302, 307, 400, 404])
def test_a_refusal_is_final(serve: Serve, waits: list[float], status: int) -> None:
    server = serve(lambda asked: (status, b""))
    with pytest.raises(PrefPaintError, match=rf"{server.url} refused the pictures with status {status} .*correct"):
        scorer(server.url)(pictures(), MASKS, TEXTS)
    assert waits == [] and len(server.asked) == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"hello\nthere", r"not JSON, .*begins 'hello\\nthere'"),
        (b"\xff\xfe\xfd", "not JSON"),
        (b"[" * 9000, "not JSON"),
        (b'{"scores": [1, 2, 3, 4], "x": "' + b"a" * 20_000, "not JSON"),
        (b"[1, 2, 3, 4]", 'no list under "scores"'),
        (b'{"rewards": [1, 2, 3, 4]}', 'no list under "scores", .*rewards'),
        (b'{"scores": "1234"}', 'no list under "scores"'),
        (b'{"scores": [1, 2, 3]}', r"3 score\(s\) for 4 picture\(s\)"),
        (b'{"scores": [1, 2, 3, "4"]}', r'"4" among the scores'),
        (b'{"scores": [1, 2, 3, true]}', "true among the scores"),
        (b'{"scores": [1, 2, 3, null]}', "null among the scores"),
        (b'{"scores": [1, 2, 3, [4]]}', "among the scores"),
        (b'{"scores": [1, 2, 3, NaN]}', "NaN among the scores"),
        (b'{"scores": [1, 2, 3, 1e999]}', "Infinity among the scores"),
        (b'{"scores": [1, 2, 3, 1' + b"0" * 400 + b"]}", "Infinity among the scores"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_lie_is_final(serve: Serve, waits: list[float], answer: bytes, said: str) -> None:
    server = serve(lambda asked: (200, answer))
    with pytest.raises(PrefPaintError, match=said) as caught:
        scorer(server.url)(pictures(), MASKS, TEXTS)
    assert str(caught.value).startswith(f"align.rewards.far: {server.url} answered with ")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert waits == [] and len(server.asked) == 1


def test_whole_numbers_are_numbers(serve: Serve) -> None:
    server = serve(lambda asked: (200, b'{"scores": [1, -2, 3.5, 1e3]}'))
    assert scorer(server.url)(pictures(), MASKS, TEXTS).tolist() == [1, -2, 3.5, 1000]


def job(folder: Path, url: str, **knobs: Any) -> Job:
    """A tiny alignment to the learned reward and a server's."""
    ids, images, masks = tiny_prompts(folder, 10)
    prompts = pd.DataFrame({"prompt_id": ids, "split": ["train"] * 6 + ["validation"] * 4, "image_sha256": ids})
    far = {"kind": "http", "url": url, "retries": 0, "timeout": 20, "batch": 5, "weight": 0.5}
    config = {
        **{"iterations": 4, "prompts": 3, "candidates": 4, "steps": 3, "trained_steps": 2, "lr": 1e-3, "trackers": ()},
        **{"watch": {"every": 2, "prompts": 4}, "rewards": {"learned": {"kind": "learned"}, "far": far}},
    }
    return Job(
        base=build_small_pipeline(TINY_MODEL, SIZE, 1),
        reward_model=Bright(1.0),  # type: ignore[arg-type]
        trust=trust_in(),
        referee=Bright(0.5),  # type: ignore[arg-type]
        prompts=prompts,
        prompt_images=images,
        prompt_masks=masks,
        candidate_images=ImageFolder(folder / "none"),
        scores=pd.DataFrame({"candidate_id": [], "prompt_id": [], "split": [], "score": []}),
        rater=None,
        config=AlignConfig.model_validate(config | knobs),
        gamma=GammaConfig(),
        sampling=SamplingConfig(steps=3, batch=16),
        reward=RewardConfig(),
    )


def same(left: Result, right: Result) -> bool:
    return (left.history, left.watched) == (right.history, right.watched) and module_digest(
        left.network
    ) == module_digest(right.network)


@pytest.mark.parametrize(("mode", "lies", "after"), [("ddpo", False, 5), ("ddpo", True, 9), ("nft", False, 9)], ids=str)
def test_a_run_outlives_its_scorer(serve: Serve, tmp_path: Path, mode: str, lies: bool, after: int) -> None:
    """12 samples of an iteration are three batches; a look at validation, for the base too at first, is one each.

    The sixth request belongs to the second iteration, the tenth to the third, after the first look.
    """
    first = serve(brightness)
    whole = align(job(tmp_path / "whole", first.url, mode=mode), tmp_path / "whole/workspace")
    left = [True] * after

    def dying(asked: dict[str, Any]) -> tuple[int, bytes] | None:
        return brightness(asked) if left and left.pop() else ((200, b'{"scores": []}') if lies else None)

    first.stop()
    server = serve(dying, first.port)
    with pytest.raises(PrefPaintError, match=f"align.rewards.far: {server.url} ") as caught:
        align(job(tmp_path / "parts", server.url, mode=mode), tmp_path / "parts/workspace")
    assert "\n" not in str(caught.value)
    kept = sorted(file.name for file in (tmp_path / "parts/workspace").glob("iteration_*.pt"))
    assert kept == [f"iteration_{number:06d}.pt" for number in ([1] if after == 5 else [1, 2])]
    server.stop()
    serve(brightness, first.port)
    assert same(align(job(tmp_path / "parts", first.url, mode=mode), tmp_path / "parts/workspace"), whole)


def test_every_reward_is_watched(serve: Serve, tmp_path: Path) -> None:
    server = serve(brightness)
    found = align(job(tmp_path, server.url), tmp_path / "workspace")
    for row in found.history:
        # The learned reward is the hole's brightness too, and the server's counts half.
        assert row["reward_learned"] == pytest.approx(row["reward_far"], abs=1e-6)
        assert row["reward"] == pytest.approx(1.5 * row["reward_far"], abs=1e-6)
        assert np.isfinite(row["width"]) and row["gamma_spread"] > 0
    for look in found.watched:
        assert look["reward_gain"] == pytest.approx(1.5 * look["far_gain"], abs=1e-6)
        assert look["learned_gain"] == pytest.approx(2 * look["referee_gain"], abs=1e-6)
    # Samples of 4 iterations in batches of 5, the base's fills once, two looks.
    assert len(server.asked) == 4 * 3 + 1 + 2


def test_every_process_asks_for_its_own(serve: Serve, tmp_path: Path) -> None:
    server = serve(brightness)
    knobs: dict[str, Any] = {"iterations": 1, "watch": {"every": 1, "prompts": 4}}
    alone = align(job(tmp_path / "one", server.url, **knobs), tmp_path / "one/workspace")
    sent = sorted(image for asked in server.asked for image in asked["images"])
    server.asked.clear()

    made = job(tmp_path / "two", server.url, **knobs)
    distributed.launch(lambda: align(made, tmp_path / "two/workspace"), 2, "align")
    # The aligned fills differ by rounding, those of the base and of the first iteration not at all.
    assert len(sent) == 12 + 4 + 4
    again = sorted(image for asked in server.asked for image in asked["images"])
    assert len(again) == len(sent) and len(set(again) & set(sent)) >= len(set(sent)) - 4
    shared = align(made, tmp_path / "two/workspace")
    # float32 sums in another order.
    for name, value in alone.history[0].items():
        assert shared.history[0][name] == pytest.approx(value, abs=1e-5), name
