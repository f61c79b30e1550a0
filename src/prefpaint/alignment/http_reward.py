"""A reward behind HTTP: pictures are posted as JSON, scores come back.

    POST {"images": [base64 PNG, …], "masks": [base64 PNG, …], "texts": [text, …]}  →  200 {"scores": [number, …]}

Images are RGB; masks are grey, 255 where the hole is; texts are the prompts' words, "" for none. One finite number for
each picture, in their order.
"""

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from time import monotonic, sleep
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

import numpy as np
from PIL import Image

from prefpaint.errors import PrefPaintError

FIRST_WAIT = 1.0
TOO_MANY = 429
# What a score may take in an answer, and all around them.
LONGEST_SCORE, LONGEST_REST = 100, 10_000
# Of a wrong answer in an error message.
SHOWN = 80


class _NoRedirect(HTTPRedirectHandler):
    """A redirected POST would arrive as a GET without pictures."""

    def redirect_request(self, *arguments: Any, **named: Any) -> None:
        return None


_OPENER = build_opener(_NoRedirect)


class _Unavailable(Exception):
    """The server may do better next time."""


@dataclass(frozen=True)
class HTTPScorer:
    """Asks a server for scores.

    Attributes:
        key: of the configuration, for errors.
        url: of the server.
        timeout: seconds for one answer.
        retries: further attempts.
    """

    key: str
    url: str
    timeout: float
    retries: int

    def __call__(self, images: np.ndarray, masks: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """Scores of uint8 images (N, H, W, 3) with masks (N, H, W) and N words; (N,) float64, finite.

        Raises:
            PrefPaintError: the server cannot be reached even after the last retry, refuses the request, or answers
                with something else than N finite numbers.
        """
        asked = {
            "images": [_png(image) for image in images],
            "masks": [_png(mask * np.uint8(255)) for mask in masks],
            "texts": list(texts),
        }
        body = json.dumps(asked).encode()
        longest = LONGEST_REST + LONGEST_SCORE * len(images)
        for attempt in range(self.retries + 1):
            try:
                return self._scores(self._post(body, longest), len(images))
            except _Unavailable as error:
                reason = str(error)
            if attempt < self.retries:
                sleep(FIRST_WAIT * 2**attempt)
        raise PrefPaintError(
            f"{self.key}: {self.url} gave no scores in {self.retries + 1} attempt(s) ({reason}); start the server, "
            "then run again: the run resumes from its last checkpoint"
        )

    def _post(self, body: bytes, longest: int) -> bytes:
        """The answer's body, at most `longest` bytes and one more."""
        request = Request(self.url, body, {"Content-Type": "application/json", "Accept": "application/json"})
        late, answer = monotonic() + self.timeout, b""
        try:
            with _OPENER.open(request, timeout=self.timeout) as response:
                # Read in parts: the timeout of a socket begins anew with every byte that arrives.
                while len(answer) <= longest and (part := response.read1(longest + 1 - len(answer))):
                    answer += part
                    if monotonic() > late:
                        raise TimeoutError("timed out")
                promised = response.headers.get("Content-Length", "")
            if promised.isdecimal() and len(answer) < min(int(promised), longest):
                raise ConnectionError("the answer broke off")
        except HTTPError as error:
            with error:
                if error.code >= 500 or error.code == TOO_MANY:
                    raise _Unavailable(f"status {error.code} {error.reason}") from error
                raise PrefPaintError(
                    f"{self.key}: {self.url} refused the pictures with status {error.code} ({error.reason}); correct "
                    "the URL or the server"
                ) from error
        # URLError, time-outs and broken connections are OSErrors.
        except (OSError, HTTPException) as error:
            raise _Unavailable(str(getattr(error, "reason", "") or error or type(error).__name__)) from error
        return answer

    def _scores(self, answer: bytes, count: int) -> np.ndarray:
        try:
            given = json.loads(answer, parse_int=float)
        except (ValueError, RecursionError) as error:
            raise self._wrong("not JSON", answer) from error
        if not isinstance(given, Mapping) or not isinstance(given.get("scores"), list):
            raise self._wrong('no list under "scores"', answer)
        scores = given["scores"]
        if len(scores) != count:
            raise self._wrong(f"{len(scores)} score(s) for {count} picture(s)", answer)
        for score in scores:
            if not isinstance(score, float) or not math.isfinite(score):
                raise self._wrong(f"{json.dumps(score)[:SHOWN]} among the scores", answer)
        return np.array(scores, np.float64)

    def _wrong(self, what: str, answer: bytes) -> PrefPaintError:
        said = ascii(answer[:SHOWN].decode(errors="replace"))
        return PrefPaintError(
            f'{self.key}: {self.url} answered with {what}, where {{"scores": [one finite number for each picture]}} '
            f"is needed; correct the server (its answer begins {said})"
        )


def _png(pixels: np.ndarray) -> str:
    """uint8 (H, W, 3) or (H, W) as a PNG file in base64."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()
