"""Pictures to rate, and a store in every kind of database that is on the machine."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from prefpaint.preferences.store import RatingStore, StoreError
from tests.studio.project import free_port, make_pictures


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six prompts to rate and three for calibration."""
    folder = tmp_path_factory.mktemp("pictures")
    make_pictures(folder)
    return folder


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a PostgreSQL server of the test's own; skipped where PostgreSQL is not installed."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    initdb = versions[-1] if versions else Path(shutil.which("initdb") or "")
    if not initdb.is_file():
        # A server cannot be installed by pip; SQLite runs the same tests everywhere.
        pytest.skip("no PostgreSQL on this machine")
    # It refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None
    # Not below pytest's own folder, which that user may not enter, and whose path is too long for a socket.
    folder = Path(tempfile.mkdtemp(prefix="prefpaint-postgres-"))
    if user:
        shutil.chown(folder, user)
    port = free_port()
    try:
        initialise = [initdb, "-D", folder / "data", "-U", "rater", "--auth=trust", "--no-sync"]
        subprocess.run(initialise, check=True, capture_output=True, user=user, cwd="/")
        start = [initdb.with_name("postgres"), "-D", folder / "data", "-p", str(port), "-k", folder, "-h", "127.0.0.1"]
        server = subprocess.Popen(start, user=user, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        url = f"postgresql+psycopg://rater@127.0.0.1:{port}/postgres"
        until = time.monotonic() + 30
        while True:
            try:
                RatingStore(url).is_there()
                break
            except StoreError:
                # It takes a moment until it listens.
                assert server.poll() is None and time.monotonic() < until, "PostgreSQL does not start"
                time.sleep(0.1)
        yield url
        # Fast shutdown: without waiting for clients.
        server.send_signal(signal.SIGINT)
        server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """An empty store's place."""
    if request.param == "sqlite":
        return tmp_path / "store"
    import sqlalchemy as sa

    url = str(request.getfixturevalue("postgres"))
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    engine.dispose()
    return url
