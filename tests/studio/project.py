"""A folder of small real pictures to be rated, and a server for it in a process of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prefpaint.images import ImageFolder, write_image
from prefpaint.preferences.store import RatingStore
from prefpaint.studio.config import StudioConfig
from prefpaint.studio.studio import Studio

REPOSITORY = Path(__file__).resolve().parents[2]


def make_pictures(folder: Path, prompts: int = 6, kept: int = 3, size: int = 24) -> None:
    """Prompts of the train split with three candidates each, and `kept` of the seen split with their originals."""
    images, masks = ImageFolder(folder / "images"), ImageFolder(folder / "masks", masks=True)
    fills = ImageFolder(folder / "fills")
    rng = np.random.default_rng(0)
    rows, candidates = [], []
    for split, count in (("train", prompts), ("seen", kept)):
        for number in range(count):
            name = f"{split}_{number:05d}"
            mask = np.zeros((size, size), np.uint8)
            mask[:, size // 3 :] = 1
            image = np.clip(rng.uniform(40, 210, 3) + rng.normal(0, 10, (size, size, 3)), 0, 255).astype(np.uint8)
            write_image(images.file(name), image)
            write_image(masks.file(name), mask)
            pattern = "outpaint_strip" if split == "seen" or number % 2 else "warp"
            sums = (images.checksum(name), masks.checksum(name))
            words = f"a red car {number}" if number % 2 and split == "train" else ""
            rows.append((name, "embedded", split, pattern, words, *sums))
            for index in range(3 if split == "train" else 0):
                candidate = f"{name}_{index}"
                shifted = np.clip(image.astype(int) + 25 * index, 0, 255).astype(np.uint8)
                write_image(fills.file(candidate), np.where(mask[..., None] > 0, shifted, image))
                candidates.append((candidate, name, index, 0, fills.checksum(candidate)))
    columns = ["prompt_id", "source", "split", "pattern", "text_prompt", "image_sha256", "mask_sha256"]
    pd.DataFrame(rows, columns=columns).to_parquet(folder / "prompts.parquet")
    columns = ["candidate_id", "prompt_id", "index", "seed", "sha256"]
    pd.DataFrame(candidates, columns=columns).to_parquet(folder / "candidates.parquet")


def open_studio(folder: Path, location: Path | str, order: Sequence[str] = (), **config: Any) -> Studio:
    """The studio of a folder made by `make_pictures`, with a store elsewhere."""
    return Studio(
        RatingStore(location),
        pd.read_parquet(folder / "prompts.parquet"),
        pd.read_parquet(folder / "candidates.parquet"),
        ImageFolder(folder / "images"),
        ImageFolder(folder / "masks", masks=True),
        ImageFolder(folder / "fills"),
        StudioConfig.model_validate(config),
        order,
    )


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """The studio behind real HTTP, in a process that can be killed and started again on the same port."""

    def __init__(self, folder: Path, location: Path | str, **config: Any) -> None:
        self.port = free_port()
        call = [sys.executable, "-m", "tests.studio.project"]
        kind = "folder" if isinstance(location, Path) else "url"
        self._call = [*call, str(folder), kind, str(location), str(self.port), json.dumps(config)]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def address(self) -> str:
        """Where browsers find it."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, **config: Any) -> None:
        """Start it, with another configuration where one is given, and wait until it answers."""
        if config:
            self._call[-1] = json.dumps(config)
        path = os.pathsep.join((str(REPOSITORY / "src"), str(REPOSITORY)))
        self._process = subprocess.Popen(self._call, env={**os.environ, "PYTHONPATH": path})
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", "/api/studio")
                connection.getresponse().read()
                return
            except (OSError, HTTPException):
                assert self._process.poll() is None, "the server ended"
                time.sleep(0.05)
        raise AssertionError("the server does not answer")

    def kill(self) -> None:
        """`kill -9`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


class Client:
    """One rater's browser without a page: keeps its cookie, and tries again while the server is away."""

    def __init__(self, port: int) -> None:
        self.port, self.cookie = port, ""
        self._connection: HTTPConnection | None = None

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """One request; raises OSError or HTTPException where the server goes away."""
        if self._connection is None:
            self._connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Cookie": self.cookie} if self.cookie else {}
        content = None
        if body is not None:
            headers["Content-Type"], content = "application/json", json.dumps(body)
        try:
            self._connection.request(method, path, content, headers)
            response = self._connection.getresponse()
            found = response.read()
        except (OSError, HTTPException):
            self._connection.close()
            self._connection = None
            raise
        given = response.getheader("set-cookie")
        if given:
            self.cookie = given.split(";")[0]
        return response.status, found

    def persist(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """As the page does it: until the server has answered."""
        while True:
            try:
                status, found = self.call(method, path, body)
                if status < 500:
                    return status, found
            except (OSError, HTTPException):
                pass
            time.sleep(0.02)

    def json(self, path: str, body: Any = None) -> dict[str, Any]:
        """POST that must succeed."""
        status, found = self.persist("POST", path, body)
        assert status == 200, (path, status, found)
        return dict(json.loads(found))


if __name__ == "__main__":
    from prefpaint.studio.server import serve

    _, pictures, kind, where, port, settings = sys.argv
    place: Path | str = Path(where) if kind == "folder" else where
    serve(open_studio(Path(pictures), place, **json.loads(settings)), "127.0.0.1", int(port))
