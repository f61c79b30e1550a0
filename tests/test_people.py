"""`kedro rate`, `kedro raters`, `kedro ratings`: from a first token to scores of people, with the real commands."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import Project, make_project
from tests.studio.project import Client, free_port
from tests.test_cli_errors import sentence


@pytest.fixture(scope="session")
def painted(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Project:
    """A project with candidates and nobody's ratings."""
    return make_project(tmp_path_factory.mktemp("painted") / "project", tiny_base).finish("masks", "candidates")


@pytest.fixture
def ready(painted: Project, tmp_path: Path) -> Project:
    """A copy of it."""
    return painted.copy(tmp_path / "ready")


def serve(project: Project, *options: str) -> Iterator[int]:
    """`kedro rate` until the test ends."""
    port = free_port()
    call = [sys.executable, "-m", "kedro", "rate", "--port", str(port), *options]
    process = subprocess.Popen(call, cwd=project.path, env=project.environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "ratings go to" in line:
            break
    assert f"http://127.0.0.1:{port}" in "".join(lines), lines
    yield port
    process.send_signal(signal.SIGINT)
    assert process.wait(20) in (0, 1, -signal.SIGINT)


def test_people_rate_and_the_pipeline_takes_it_up(ready: Project) -> None:
    added = ready.run("raters", "add", "ann", "--address", "http://this-machine:8500/")
    token = re.findall(r"token (\S+)", added.stdout)
    assert added.returncode == 0 and len(token) == 1 and "http://this-machine:8500/#name=ann&token=" in added.stdout
    ready.set(studio={"calibration": 1, "repeat_every": 0})
    running = serve(ready)
    client = Client(next(running))
    time.sleep(0.5)
    client.json("/api/sign-in", {"name": "ann", "token": token[0]})
    found, count = client.json("/api/page"), 0
    while found["page"]:
        body = {"page": found["page"]["id"], "key": f"{count:016d}", "verdict": "rated", "seconds": 9.0}
        found = client.json(
            "/api/answer", body | {"scores": [[count % 8, 3, (count * 5 + place) % 8] for place in range(3)]}
        )
        count += 1
    assert count == 1 + 14
    next(running, None)
    assert [path.name for path in (ready.path / "data/01_raw/ratings").iterdir()] == ["ratings.sqlite"]

    listed = ready.run("raters", "list")
    assert "0 of 14 prompts have 3 raters; 14 begun" in listed.stdout and "42 ratings" in listed.stdout
    done = ready.run("run", "--pipeline=preferences")
    assert done.returncode == 0, done.stderr
    assert "42 ratings and 0 comparisons of people, from the store" in done.stderr
    ratings = pd.read_parquet(ready.path / "data/05_model_input/ratings.parquet")
    assert len(ratings) == 42 and set(ratings["rater"]) == {"ann"}
    metrics = json.loads((ready.path / "data/08_reporting/preferences_metrics.json").read_text())
    assert metrics["simulated"] == 0 and metrics["raters"] == 1

    # Out as a table, and in again under another name.
    assert ready.run("ratings", "export", "out.csv").returncode == 0
    text = (ready.path / "out.csv").read_text()
    assert text.count("\n") == 43
    (ready.path / "bob.csv").write_text(text.replace(",ann,", ",bob,") + "nobody,bob,1,1,1,2026-01-01,none\n")
    strict = ready.run("ratings", "import", "bob.csv", "--strict")
    assert "1 rows are wrong and --strict was given: nothing was imported" in sentence(strict)
    assert "bob.csv, line 44: candidate nobody is unknown" in strict.stderr
    loose = ready.run("ratings", "import", "bob.csv")
    assert loose.returncode == 0 and "42 good rows, 42 of them new; 1 rejected" in loose.stdout
    again = ready.run("ratings", "import", "bob.csv", "out.csv")
    assert again.stdout.count("42 good rows, 0 of them new") == 2

    # The referee and all that follows know that people rated.
    done = ready.run("run", "--pipelines=preferences,reward,bound,align,extend,novel_view,reconstruct,evaluate,report")
    assert done.returncode == 0, done.stderr
    assert "nobody has rated the pictures compared here" in (ready.path / "data/08_reporting/report.html").read_text()


def test_people_choose_and_the_pipeline_takes_it_up(ready: Project) -> None:
    ready.set(studio={"calibration": 1, "repeat_every": 0, "question": "pairs"})
    running = serve(ready)
    client = Client(next(running))
    client.json("/api/sign-in", {"name": "ann"})
    found, count = client.json("/api/page"), 0
    while found["page"]:
        body = {"page": found["page"]["id"], "key": f"{count:016d}", "verdict": "rated", "seconds": 9.0}
        found, count = client.json("/api/answer", body | {"choice": count % 3}), count + 1
    assert count == 1 + 3 * 14
    next(running, None)
    listed = ready.run("raters", "list")
    assert "0 of 14 prompts have 3 raters; 14 begun" in listed.stdout and "α" not in listed.stdout
    assert "42 comparisons; two raters choose alike: –" in listed.stdout

    assert "holds 42 comparisons and no ratings; add --comparisons" in sentence(ready.run("ratings", "export", "a.csv"))
    assert ready.run("ratings", "export", "a.csv", "--comparisons").returncode == 0
    again = ready.run("ratings", "import", "a.csv")
    assert "42 good rows, 0 of them new; 0 rejected" in again.stdout
    done = ready.run("run", "--pipelines=preferences,reward")
    assert done.returncode == 0, done.stderr
    assert "0 ratings and 42 comparisons of people, from the store" in done.stderr
    scores = pd.read_parquet(ready.path / "data/05_model_input/scores.parquet")
    assert len(scores) == 42 and scores["raters"].eq(1).all()


def test_tasks_for_label_studio(ready: Project) -> None:
    done = ready.run("ratings", "tasks", "out", "--address", "http://images/")
    assert done.returncode == 0, done.stderr
    tasks = json.loads((ready.path / "out/tasks.json").read_text())
    assert len(tasks) == 14 and tasks[0]["data"]["incomplete"].startswith("http://images/")
    assert len(list((ready.path / "out/images").iterdir())) == 14 * 4
    assert "already exists" in sentence(ready.run("ratings", "tasks", "out"))


def test_what_can_be_mended_is_one_sentence(ready: Project, project: Project) -> None:
    assert "does not exist yet; run `kedro run --pipelines=masks,candidates`" in sentence(project.run("rate"))
    assert "tokens are required there" in sentence(ready.run("rate", "--host", "0.0.0.0"))
    assert "nobody has rated yet" in sentence(ready.run("ratings", "export", "out.csv"))
    assert "nowhere.csv was not found" in sentence(ready.run("ratings", "import", "nowhere.csv"))
    assert "is not a valid name; use up to 64" in sentence(ready.run("raters", "add", "=1+1"))
    assert "rater 'zoe': is unknown" in sentence(ready.run("raters", "block", "zoe"))
    running = serve(ready)
    assert "cannot listen on" in sentence(ready.run("rate", "--port", str(next(running))))
    next(running, None)
    ready.set(studio={"order": "uncertain"})
    wanted = "reward_model does not exist yet; run `kedro run --pipelines=preferences,reward,bound` once some prompts"
    assert wanted in sentence(ready.run("rate"))
    ready.set(studio={"overlap": 0})
    assert "parameter studio.overlap: " in sentence(ready.run("rate"))
    ready.set(studio={"overlap": 1, "url": "https://example.org/rate?x=1"})
    assert "studio.url: must be an address without a path" in sentence(ready.run("rate"))
