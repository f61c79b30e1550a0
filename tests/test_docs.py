"""The README is short, what the docs point at exists, their snippets work, and their numbers are the metrics'."""

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from prefpaint.cli import COMMANDS
from prefpaint.pipeline_registry import register_pipelines
from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
# Kedro-Viz brings a command of its own.
KEDRO = {str(command.name) for command in COMMANDS} | {"package", "viz"}


def named(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


def snippets(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def links(text: str) -> list[str]:
    """Targets of links and pictures, those in code aside."""
    prose = re.sub(r"^```.*?^```$|^    .*?$|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"\]\(([^)\s]+)\)", prose) + re.findall(r'<(?:img|a)[^>]*? (?:src|href)="([^"]+)"', prose)


def anchors(text: str) -> set[str]:
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def script(name: str) -> ModuleType:
    """A script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def results() -> ModuleType:
    return script("results")


def committed(path: str) -> bytes | None:
    """A file as git has it in its index."""
    done = subprocess.run(["git", "show", f":{path}"], cwd=REPOSITORY, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


def test_the_readme_is_short() -> None:
    text = TEXTS[REPOSITORY / "README.md"]
    assert len(text.splitlines()) <= 150
    assert len(text.split()) <= 1200


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_and_pictures_exist(page: Path) -> None:
    for link in links(TEXTS[page]):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(REPOSITORY), link
        if anchor:
            assert anchor in anchors(TEXTS[target]), link


def test_every_page_and_picture_is_shown_somewhere() -> None:
    shown = {(page.parent / link.partition("#")[0]).resolve() for page, text in TEXTS.items() for link in links(text)}
    there = {*DOCS.glob("*.md"), *DOCS.glob("*.png"), REPOSITORY / "CONTRIBUTING.md"}
    assert sorted(named(path) for path in there - shown) == []


@pytest.mark.parametrize("page", [page for page in PAGES if snippets(TEXTS[page])], ids=named)
def test_snippets_compile_and_their_imports_resolve(page: Path) -> None:
    for snippet in snippets(TEXTS[page]):
        tree = ast.parse(snippet)
        compile(tree, named(page), "exec")
        for found in ast.walk(tree):
            if isinstance(found, ast.Import):
                for alias in found.names:
                    importlib.import_module(alias.name)
            elif isinstance(found, ast.ImportFrom):
                assert found.module and not found.level
                module = importlib.import_module(found.module)
                assert all(hasattr(module, alias.name) for alias in found.names), snippet


def test_the_readme_loads_the_release_with_all_it_needs() -> None:
    (snippet,) = snippets(TEXTS[REPOSITORY / "README.md"])
    assert "import torch\n" in snippet and "data/06_models/release" in snippet


def test_what_extending_shows_works() -> None:
    """Its snippets build on each other."""
    code = "\n".join(snippets(TEXTS[DOCS / "extending.md"]))
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_parameters_are_described_as_they_are() -> None:
    made_by = script("configuration")
    assert made_by.page(REPOSITORY / "conf/base") == TEXTS[DOCS / "configuration.md"], (
        "docs/configuration.md is out of date; run `python docs/configuration.py`"
    )


def test_every_benchmark_is_listed() -> None:
    scripts = {path.name for path in (REPOSITORY / "benchmarks").glob("*.py")}
    assert set(re.findall(r"^\| `(\w+\.py)` \|", TEXTS[DOCS / "benchmarks.md"], re.MULTILINE)) == scripts


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_exist(page: Path) -> None:
    text = TEXTS[page]
    for command in re.findall(r"(?:`|^    (?:\S* -m )?|-m )kedro ([a-z][\w-]*)", text, re.MULTILINE):
        assert command in KEDRO, command
    pipelines = set(register_pipelines())
    for names in re.findall(r"kedro run[^`\n]*? --pipelines?=([\w,]+)", text):
        assert set(names.split(",")) <= pipelines, names
    for environment in re.findall(r"kedro run[^`\n]*? --env=(\w+)", text):
        assert (REPOSITORY / "conf" / environment).is_dir(), environment


def test_numbers_are_those_of_the_metrics() -> None:
    """`python docs/results.py` writes them. Uncommitted metrics of a run of one's own do not count against the docs."""
    made_by = results()
    readers: list[Callable[[str], bytes | None]] = [made_by.from_folder(REPOSITORY)]
    if committed("README.md") is not None:
        readers.append(committed)
    text = TEXTS[REPOSITORY / "README.md"]
    gpus = TEXTS[DOCS / "gpus.md"]
    shown = (TEXTS[DOCS / "results.md"], text, gpus)
    wanted = [
        (
            made_by.results_page(read),
            made_by.insert(text, made_by.readme_table(read)),
            made_by.insert(gpus, made_by.rehearsal(read), made_by.REHEARSAL),
        )
        for read in readers
    ]
    assert shown in wanted, "numbers of docs/results.md, gpus.md or README.md are old; run `python docs/results.py`"


def test_what_is_not_there_is_not_measured() -> None:
    made_by = results()
    table = made_by.readme_table(lambda path: None)
    assert table.count(made_by.NOT_MEASURED) == 2 * 2 * 5
    assert made_by.results_page(lambda path: None).count("Not measured.") >= len(made_by.PAGE)


def test_numbers_are_written_with_their_intervals() -> None:
    made_by = results()
    key = "seen_noiseless_win_rate_independent_s1"
    ours = {key: 0.6712, f"{key}_low": 0.602, f"{key}_high": 0.734, "seen_noiseless_difference": -0.25}
    table = made_by.main_table({"": {"evaluate": ours | {"seen_prompts": 128}}})
    space = "\N{NO-BREAK SPACE}"
    assert f"| 67.1{space}% (60.2–73.4{space}%) | not measured |" in table
    assert "| −0.250 | not measured |" in table and "seen, 128 prompts" in table


def test_metrics_of_an_earlier_evaluation_are_not_shown() -> None:
    made_by = results()
    files = {"data/08_reporting/evaluate_metrics.json": b'{"seen_prompts": 1}'}
    assert made_by.load(files.get) == {}
    files["data/08_reporting/sanity_metrics.json"] = b'{"sanity_missed": 0}'
    assert made_by.load(files.get)["evaluate"] == {"seen_prompts": 1}


def test_copied_tables_end_with_what_they_were_measured_with(tmp_path: Path) -> None:
    import pandas as pd

    made_by = results()
    reports = tmp_path / "data/08_reporting"
    reports.mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    (reports / "evaluate_metrics.json").write_text("{}")
    row = {
        "run": "seed 1",
        "seen_noiseless_difference": 0.5,
        "seen_reward_difference": 1.0,
        "seen_prompts": float("nan"),
    }
    pd.DataFrame([row]).to_parquet(reports / "seeds.parquet")
    tables = made_by.collect(tmp_path, None)
    assert tables["seeds"]["content"] == [{"run": "seed 1", "seen_noiseless_difference": 0.5}]
    (tmp_path / made_by.TABLES).write_text(made_by.json.dumps(tables))
    read = made_by.from_folder(tmp_path)
    assert "| seed 1 | seen | not measured | not measured | +0.500 |" in made_by.seeds({}, read)
    (reports / "evaluate_metrics.json").write_text('{"seen_prompts": 2}')
    assert made_by.seeds({}, read) == made_by.NOTHING


def test_results_needs_no_kedro() -> None:
    code = (
        "import runpy, sys; module = runpy.run_path('docs/results.py'); module['readme_table'](lambda path: None);"
        "print(any(name.split('.')[0] in ('kedro', 'torch', 'pandas') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
