"""The try-it page and the addresses behind it."""

import base64
import binascii
import hashlib
import io
import math
import secrets
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi import Path as InPath
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from prefpaint.applications.tryout.painter import Painter
from prefpaint.errors import PrefPaintError
from prefpaint.trust.choice import Interval
from prefpaint.web import FailedSignIns, harden, serve_files

COOKIE = "prefpaint_try"
SESSION_SECONDS = 12 * 3600
LARGEST_BODY = 40 * 1024 * 1024
# As base64: files of up to 18 MiB.
LONGEST_IMAGE = 24 * 1024 * 1024
LONGEST_TEXT = 1000
MOST_SAMPLES = 8
STATIC = Path(__file__).with_name("static")
FILES = {"icon.svg": "image/svg+xml", "try.css": "text/css", "try.js": "text/javascript"}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SignIn(_Body):
    """The token that the page's owner was shown."""

    token: str = Field(max_length=200)


class Asked(_Body):
    """A picture and its holes, as base64, and what should be there."""

    picture: str = Field(max_length=LONGEST_IMAGE)
    mask: str = Field(max_length=LONGEST_IMAGE)
    seed: int = Field(0, ge=0, lt=2**63, strict=True)
    text: str = Field("", max_length=LONGEST_TEXT)
    samples: int = Field(1, ge=1, le=MOST_SAMPLES, strict=True)


def _png(image: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _ends(interval: Interval) -> list[float] | None:
    """JSON knows no infinity."""
    return [interval.low, interval.high] if math.isfinite(interval.low) else None


def _session(request: Request) -> str:
    return hashlib.sha256(request.cookies.get(COOKIE, "").encode("utf-8", "surrogatepass")).hexdigest()


def create_app(
    painter: Painter, examples: list[np.ndarray], host: str = "127.0.0.1", token: str | None = None
) -> FastAPI:
    """The web application.

    Args:
        painter: both models.
        examples: (H, W, 3) uint8, for visitors without a picture of their own.
        host: the address it will listen on.
        token: what visitors must know; None: nothing, as on loopback.
    """
    app = FastAPI(title="PrefPaint: try it", openapi_url=None, max_body_size=LARGEST_BODY)
    harden(app, host)
    serve_files(app, STATIC, {"/": "try.html"}, FILES)
    failures = FailedSignIns()
    # Kept for as long as the page is served; only a hash of the token itself is kept.
    expected = hashlib.sha256(token.encode()).hexdigest() if token is not None else None
    # When each ends, by the hash of its cookie.
    sessions: dict[str, float] = {}

    def allowed(request: Request) -> None:
        if expected is not None and sessions.get(_session(request), 0) < time.monotonic():
            raise HTTPException(401, "sign in first")

    guarded = [Depends(allowed)]

    @app.post("/api/sign-in")
    def sign_in(request: Request, response: Response, body: SignIn) -> dict[str, Any]:
        failures.check(request)
        given = hashlib.sha256(body.token.strip().encode("utf-8", "surrogatepass")).hexdigest()
        if expected is not None and not secrets.compare_digest(given, expected):
            failures.count(request)
            raise HTTPException(401, "wrong token")
        now, session = time.monotonic(), secrets.token_urlsafe(32)
        for ended in [name for name, end in sessions.items() if end < now]:
            del sessions[ended]
        sessions[hashlib.sha256(session.encode()).hexdigest()] = now + SESSION_SECONDS
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, session, max_age=SESSION_SECONDS, httponly=True, samesite="strict", secure=secure)
        return {}

    @app.post("/api/sign-out")
    def sign_out(request: Request, response: Response) -> dict[str, Any]:
        sessions.pop(_session(request), None)
        response.delete_cookie(COOKIE)
        return {}

    @app.get("/api/about", dependencies=guarded)
    def about() -> dict[str, Any]:
        return {"examples": len(examples), "token": expected is not None}

    @app.get("/example/{number}", dependencies=guarded)
    def example(number: Annotated[int, InPath(ge=0, le=10_000)]) -> Response:
        if number >= len(examples):
            raise HTTPException(404, "example not found")
        stream = io.BytesIO()
        Image.fromarray(examples[number]).save(stream, "PNG")
        return Response(stream.getvalue(), media_type="image/png")

    @app.post("/api/fill", dependencies=guarded)
    def fill(body: Asked) -> dict[str, Any]:
        try:
            picture, mask = (base64.b64decode(text, validate=True) for text in (body.picture, body.mask))
        except (binascii.Error, ValueError) as error:
            raise HTTPException(422, "the picture or the mask is not base64") from error
        try:
            tried = painter.paint(picture, mask, body.seed, body.text, body.samples)
        except PrefPaintError as error:
            raise HTTPException(422, str(error)) from error
        fills = [
            {
                "name": name,
                "reward": one.verdict.reward.value,
                "interval": _ends(one.verdict.reward),
                "level": one.verdict.level,
                "sure": one.verdict.sure,
                "sentence": one.verdict.sentence,
                "patches": [
                    {"left": patch.context.box.left, "top": patch.context.box.top, "image": _png(patch.pixels)}
                    for patch in one.patches
                ],
            }
            for name, one in tried.items()
        ]
        return {"fills": fills}

    return app
