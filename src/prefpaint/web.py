"""What the project's web pages share: who may reach them, and what their answers look like."""

import ipaddress
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import FileResponse, JSONResponse
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from prefpaint.errors import PrefPaintError

FAILURES_PER_MINUTE = 10
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'; "
    "form-action 'self'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_free(host: str, port: int) -> None:
    """Raise `PrefPaintError` where an address cannot be listened on."""
    import socket

    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, number) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise PrefPaintError(
            f"cannot listen on {host}:{port} ({error.strerror}); give another --port or --host"
        ) from error


def address_of(host: str, port: int) -> str:
    """What a browser on this machine is given."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def harden(app: FastAPI, host: str, url: str | None = None) -> None:
    """Keep other sites and other names of this machine out, and answer malformed requests in a sentence.

    Args:
        app: the application.
        host: the address it will listen on.
        url: what a reverse proxy in front calls it.
    """
    # A page elsewhere that resolves its own name to this machine must not get in.
    hosts = ["127.0.0.1", "localhost", "::1", "[::1]", host] if is_loopback(host) else ["*"]
    hosts += [str(urlsplit(url).hostname)] if url else []

    @app.middleware("http")
    async def guard(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
        origin = request.headers.get("origin")
        own = {f"{request.url.scheme}://{request.headers.get('host')}", url}
        if request.method != "GET" and origin is not None and origin not in own:
            response: Response = JSONResponse({"detail": "this page belongs to another site"}, 403)
        else:
            response = await go_on(request)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> Response:
        # FastAPI's own answer repeats the input, which need not be text that JSON can hold.
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if isinstance(part, (str, int)))
        return JSONResponse({"detail": f"{where.encode('ascii', 'replace').decode()}: {first['type']}"}, 422)


def serve_files(app: FastAPI, folder: Path, pages: dict[str, str], files: dict[str, str]) -> None:
    """Serve exactly the files that are named.

    Args:
        app: the application.
        folder: where they lie.
        pages: HTML file by address.
        files: media type by name, served below /static/.
    """
    for address, name in pages.items():
        app.add_api_route(address, _file(folder / name, "text/html"), methods=["GET"])
    for name, kind in files.items():
        app.add_api_route(f"/static/{name}", _file(folder / name, kind), methods=["GET"])


def _file(path: Path, kind: str) -> Callable[[], Response]:
    def serve() -> Response:
        return FileResponse(path, media_type=kind, headers={"Cache-Control": "no-cache"})

    return serve


class FailedSignIns:
    """Counts failed sign-ins by the address they come from."""

    def __init__(self) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._limit = RateLimitItemPerMinute(FAILURES_PER_MINUTE)

    def check(self, request: Request) -> None:
        """Raise `HTTPException` 429 after too many failures."""
        if not self._limiter.test(self._limit, _client(request)):
            raise HTTPException(429, "too many failed sign-ins; wait a minute", {"Retry-After": "60"})

    def count(self, request: Request) -> None:
        """One more."""
        self._limiter.hit(self._limit, _client(request))


def _client(request: Request) -> str:
    return request.client.host if request.client else ""


def run(app: FastAPI, host: str, port: int, behind_proxy: bool = False) -> None:
    """Serve until interrupted."""
    import uvicorn

    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        server_header=False,
        # Where there is a proxy, it alone says who a request comes from.
        proxy_headers=behind_proxy,
        forwarded_allow_ips="127.0.0.1",
    )
