"""The studio's web pages and the few addresses behind them."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi import Path as InPath
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, model_validator

from prefpaint.preferences.exchange import to_csv
from prefpaint.preferences.names import NAME_RULE, is_name
from prefpaint.preferences.schema import CRITERIA, HIGHEST, LOWEST
from prefpaint.preferences.store import COMPARED, StoreError, fitting
from prefpaint.studio.overview import overview
from prefpaint.studio.questions import Answer
from prefpaint.studio.studio import NotYours, Rater, Studio
from prefpaint.web import FailedSignIns, harden, is_loopback, run, serve_files

COOKIE = "prefpaint_session"
LARGEST_BODY = 16 * 1024
LARGEST_ID = 2**63 - 1
MOST_PLACES = 16
STATIC = Path(__file__).with_name("static")
PAGES = {"/": "rate.html", "/organiser": "organiser.html"}
FILES = {
    "icon.svg": "image/svg+xml",
    "studio.css": "text/css",
    "rate.js": "text/javascript",
    "organiser.js": "text/javascript",
}

Score = Annotated[int, Field(ge=LOWEST, le=HIGHEST, strict=True)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SignIn(_Body):
    """Who somebody says they are."""

    name: str = Field(min_length=1, max_length=64)
    token: str = Field("", max_length=200)


Key = Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{16,64}$")]


class Undo(_Body):
    """An answer is taken back."""

    key: Key


class Given(_Body):
    """An answer as the page sends it."""

    page: int = Field(ge=1, le=LARGEST_ID, strict=True)
    key: Key
    verdict: Literal["rated", "cannot judge"]
    scores: list[Annotated[list[Score], Field(min_length=len(CRITERIA), max_length=len(CRITERIA))]] = Field(
        [], max_length=MOST_PLACES
    )
    choice: int | None = Field(None, ge=0, le=MOST_PLACES, strict=True)
    seconds: float = Field(ge=0, le=86_400, allow_inf_nan=False)

    @model_validator(mode="after")
    def _fits(self) -> "Given":
        if (self.verdict == "rated") != (bool(self.scores) or self.choice is not None):
            raise ValueError("scores or a choice are given when the verdict is rated, and only then")
        return self


def create_app(studio: Studio, host: str = "127.0.0.1") -> FastAPI:
    """The web application.

    Args:
        studio: what is rated.
        host: the address it will listen on. On any but loopback, and behind a proxy (`studio.url`), raters need
            tokens, and their sign-ins are counted by the address they come from.
    """
    url = studio.config.url
    needs_token = url is not None or not is_loopback(host)
    failures = FailedSignIns()
    app = FastAPI(title="PrefPaint rating studio", openapi_url=None, max_body_size=LARGEST_BODY)

    harden(app, host, url)
    serve_files(app, STATIC, PAGES, FILES)

    @app.exception_handler(StoreError)
    def busy(request: Request, error: StoreError) -> Response:
        return JSONResponse(
            {"detail": "the ratings cannot be stored right now; trying again"}, 503, {"Retry-After": "1"}
        )

    def signed_in(request: Request) -> Rater:
        rater = studio.rater(request.cookies.get(COOKIE))
        if rater is None:
            raise HTTPException(401, "sign in first")
        return rater

    def organiser(rater: Annotated[Rater, Depends(signed_in)]) -> Rater:
        if not rater.organiser:
            raise HTTPException(403, "this is for organisers")
        return rater

    Signed = Annotated[Rater, Depends(signed_in)]
    Organiser = Annotated[Rater, Depends(organiser)]

    @app.post("/api/sign-in")
    def sign_in(request: Request, response: Response, body: SignIn) -> dict[str, Any]:
        failures.check(request)
        if not is_name(body.name.strip()):
            raise HTTPException(422, f"this is not a valid name; {NAME_RULE}")
        opened = studio.sign_in(body.name.strip(), body.token.strip(), needs_token)
        if opened is None:
            failures.count(request)
            raise HTTPException(401, "name and token do not match")
        session, rater = opened
        response.set_cookie(
            COOKIE,
            session,
            max_age=int(studio.config.session_hours * 3600),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return {"name": rater.name, "organiser": rater.organiser}

    @app.post("/api/sign-out")
    def sign_out(request: Request, response: Response) -> dict[str, Any]:
        studio.sign_out(request.cookies.get(COOKIE))
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return {}

    @app.get("/api/studio")
    def about(request: Request) -> dict[str, Any]:
        rater = studio.rater(request.cookies.get(COOKIE))
        who = {"name": rater.name, "organiser": rater.organiser} if rater else None
        scale = {"criteria": CRITERIA, "highest": HIGHEST, "lowest": LOWEST}
        return {"rater": who, "needs_token": needs_token, "question": studio.config.question, **scale}

    # A page may be opened by asking for it, which a GET should not do.
    @app.post("/api/page")
    def page(rater: Signed) -> dict[str, Any]:
        return studio.page(rater)

    @app.post("/api/answer")
    def answer(rater: Signed, body: Given) -> dict[str, Any]:
        try:
            return studio.answer(rater, Answer(**body.model_dump(exclude={"page"}), page_id=body.page))
        except NotYours as error:
            raise HTTPException(404, "page not found") from error
        except ValueError as error:
            raise HTTPException(422, str(error)) from error

    @app.post("/api/undo")
    def undo(rater: Signed, body: Undo) -> dict[str, Any]:
        return studio.undo(rater, body.key)

    @app.get("/image/{page}/{place}")
    def image(
        rater: Signed,
        page: Annotated[int, InPath(ge=1, le=LARGEST_ID)],
        place: Annotated[int, InPath(ge=0, le=MOST_PLACES)],
    ) -> Response:
        try:
            picture = studio.picture(rater, page, place)
        except NotYours as error:
            raise HTTPException(404, "picture not found") from error
        return Response(picture, media_type="image/png", headers={"Cache-Control": "private, max-age=3600, immutable"})

    @app.get("/api/overview")
    def progress(rater: Organiser) -> dict[str, Any]:
        return overview(studio.store, studio.candidates, studio.work, studio.config)

    def attached(found: pd.DataFrame, pairs: dict[str, str], name: str) -> Response:
        """Those rows that are about pictures as they are now, as a file."""
        found = found[fitting(found, studio.candidates.set_index("candidate_id")["sha256"], pairs)]
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(to_csv(found), media_type="text/csv", headers=headers)

    @app.get("/api/ratings.csv")
    def export(rater: Organiser) -> Response:
        return attached(studio.store.ratings(), {"candidate_id": "sha256"}, "ratings.csv")

    @app.get("/api/comparisons.csv")
    def export_comparisons(rater: Organiser) -> Response:
        return attached(studio.store.comparisons(), COMPARED, "comparisons.csv")

    return app


def serve(studio: Studio, host: str, port: int) -> None:
    """Serve until interrupted."""
    run(create_app(studio, host), host, port, behind_proxy=studio.config.url is not None)
