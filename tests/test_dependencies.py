"""What the package imports is declared, and is meant to be imported."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

OWN = "prefpaint"
# Extras that the package itself never imports: whoever works on it wants them.
NOT_INSTALLED = {"all", "docs", "test"}
# What the extras for users bring.
EXTRAS = {
    "studio": ("fastapi", "limits", "uvicorn"),
    "viz": ("kedro_viz",),
    "dvc": ("dvc",),
    "tracking": ("tensorboard",),
    "postgres": ("psycopg",),
    "formats": ("pillow_heif", "pillow_jxl"),
}
# Modules of the extra `studio`.
SERVERS = {"prefpaint.applications.tryout.server", "prefpaint.studio.server", "prefpaint.web"}


def normal(name: str) -> str:
    """A distribution's name as registries compare it: Great_Expectations and great-expectations are the same."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(project: dict[str, object]) -> set[str]:
    """Normal names of the distributions that installing the project, or an extra of it for users, brings."""
    extras = project.get("optional-dependencies", {})
    assert isinstance(extras, dict)
    lists = [project["dependencies"], *(wanted for extra, wanted in extras.items() if extra not in NOT_INSTALLED)]
    names = [re.match(r"[A-Za-z0-9._-]+", line) for lines in lists for line in lines]  # type: ignore[attr-defined]
    return {normal(name[0]) for name in names if name}


def imported(source: str) -> Iterator[str]:
    """Dotted names that a module imports from other packages; `from a.b import c` gives a.b.c."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def foreign(files: Iterable[Path]) -> dict[str, set[str]]:
    """Third-party dotted names with the files that import them."""
    found: dict[str, set[str]] = {}
    for file in files:
        for name in imported(file.read_text(encoding="utf-8")):
            if name.partition(".")[0] not in {OWN, *sys.stdlib_module_names}:
                found.setdefault(name, set()).add(file.name)
    return found


def undeclared(names: Iterable[str], known: set[str]) -> set[str]:
    """Top-level modules of which no distribution is known; one that is not installed is looked for by its own name."""
    homes = packages_distributions()
    tops = {name.partition(".")[0] for name in names}
    return {top for top in tops if not known & {normal(home) for home in homes.get(top, [top])}}


def private(names: Iterable[str]) -> set[str]:
    """Dotted names with a component that begins with exactly one underscore."""
    return {name for name in names if re.search(r"(^|\.)_(?!_)", name)}


PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
FOREIGN = foreign(sorted((REPOSITORY / "src").rglob("*.py")))


def test_every_import_is_declared() -> None:
    assert len(FOREIGN) > 50
    missing = undeclared(FOREIGN, declared(PROJECT))
    where = {name: files for name, files in FOREIGN.items() if name.partition(".")[0] in missing}
    assert not where, f"put them into the dependencies of pyproject.toml: {where}"


def test_nothing_private_of_another_package_is_imported() -> None:
    assert not {name: FOREIGN[name] for name in private(FOREIGN)}


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("import yaml", ["yaml"]),
        ("import os, numpy.random as r", ["os", "numpy.random"]),
        ("def f():\n    from kedro_datasets._typing import TablePreview", ["kedro_datasets._typing.TablePreview"]),
        ("from kedro_datasets import _typing", ["kedro_datasets._typing"]),
        ("from . import _own", []),
        ("if TYPE_CHECKING:\n    from torch import Tensor", ["torch.Tensor"]),
    ],
)
def test_imports_are_found_wherever_they_stand(line: str, names: list[str]) -> None:
    assert list(imported(line)) == names


def test_what_is_missing_or_private_is_found() -> None:
    known = declared({"dependencies": ["PyYAML>=6", "torch==2.*"], "optional-dependencies": {"test": ["click"]}})
    assert known == {"pyyaml", "torch"}
    assert undeclared(["yaml", "torch.nn", "click.echo", "not_installed_here.x"], known) == {
        "click",
        "not_installed_here",
    }
    assert undeclared(["not_installed_here"], {"not-installed-here"}) == set()
    names = ["a._b.c", "_a", "a.b._c", "a.__version__", "a.__init__.b", "a_b.c_"]
    assert private(names) == {"a._b.c", "_a", "a.b._c"}


WITHOUT = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {missing} else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Without, sys.meta_path)
"""


def without_extras(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python as it is where no extra is installed."""
    missing = tuple(name for names in EXTRAS.values() for name in names)
    program = WITHOUT.format(missing=missing) + code
    return subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_everything_but_the_web_servers_works_without_extras() -> None:
    code = (
        "import pkgutil, importlib, prefpaint\n"
        f"servers = {SERVERS}\n"
        "for module in pkgutil.walk_packages(prefpaint.__path__, 'prefpaint.'):\n"
        "    if module.name not in servers and not module.name.endswith('__main__'):\n"
        "        importlib.import_module(module.name)\n"
        "        print(module.name)\n"
    )
    done = without_extras(code)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 100
    for server in SERVERS:
        assert "No module named 'fastapi'" in without_extras(f"import {server}").stderr


@pytest.mark.parametrize("command", ["rate", "try"])
def test_a_missing_web_server_is_one_sentence(command: str) -> None:
    done = without_extras(f"from prefpaint.cli import cli; cli(['{command}'])")
    assert done.returncode == 1
    assert done.stderr == f"Error: `kedro {command}` needs `pip install 'prefpaint[studio]'`: fastapi is missing\n"


def test_a_missing_tracker_is_one_sentence() -> None:
    code = (
        "from pathlib import Path; from prefpaint.alignment.tracking import Tracking\n"
        "try: Tracking(('tensorboard',), Path('unused'), {})\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = without_extras(code)
    assert done.stdout.startswith("PrefPaintError align.trackers: tensorboard is not installed"), done.stderr
    assert "`pip install 'prefpaint[tracking]'`" in done.stdout


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"\0\0\0\x1cftypheic", "is HEIF and needs `pip install 'prefpaint[formats]'`: pillow_heif is missing"),
        (b"\xff\x0a\xe8\xb0", "is JPEG XL and needs `pip install 'prefpaint[formats]'`: pillow_jxl is missing"),
    ],
)
def test_a_missing_decoder_is_one_sentence_whatever_the_files_name(tmp_path: Path, head: bytes, said: str) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(head + bytes(100))
    code = (
        "from pathlib import Path; from prefpaint.photographs.sources import read_image\n"
        f"try: read_image(Path({str(path)!r}), 100)\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    assert without_extras(code).stdout.strip() == f"PrefPaintError {path} {said}"


def test_make_installs_every_extra() -> None:
    extras = PROJECT["optional-dependencies"]
    (everything,) = extras["all"]
    assert set(re.findall(r"\w+", everything)) - {"prefpaint"} == set(extras) - {"all"}
    assert "--editable '.[all]'" in (REPOSITORY / "Makefile").read_text()


def test_every_dependency_is_explained() -> None:
    """The table in docs/architecture.md has a row for each, with the extra that it comes with."""
    text = (REPOSITORY / "docs/architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:`[^`|]+`(?:, )?)+) \|([^|]*)\| [^|]+ \|$", text, re.MULTILINE)
    explained = {(normal(name), extra.strip("` ")) for names, extra in rows for name in re.findall(r"`([^`]+)`", names)}
    lists = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
    del lists["all"]
    wanted = {
        (normal(name[0]), extra)
        for extra, lines in lists.items()
        for line in lines
        if (name := re.match(r"[A-Za-z0-9._-]+", line))
    }
    assert sorted(wanted - explained) == [] and sorted(explained - wanted) == []


def test_every_dependency_is_pinned() -> None:
    pins = {normal(line.partition("==")[0]) for line in (REPOSITORY / "constraints.txt").read_text().splitlines()[1:]}
    lists = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    names = {normal(name[0]) for lines in lists for line in lines if (name := re.match(r"[A-Za-z0-9._-]+", line))}
    assert sorted(names - pins - {OWN}) == []
