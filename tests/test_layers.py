"""Rooms import downwards only, no modules import each other in a circle, and the library knows nothing of Kedro."""

from graphlib import CycleError, TopologicalSorter

import grimp
import pytest

# From the top. A layer may use the layers below it; members of one layer do not use each other.
KEDRO: tuple[set[str], ...] = (
    {"__main__", "cli", "settings"},
    {"commands", "hooks", "pipeline_registry"},
    {"pipelines"},
    {"provenance"},
    {"datasets", "parameters"},
)
ROOMS: tuple[set[str], ...] = (
    {"experiments", "rehearsal", "reporting"},
    {"applications", "studio"},
    {"evaluation"},
    {"alignment"},
    {"judges", "small_model", "trust"},
    {"reward"},
    {"preferences"},
    {"fills"},
    {"inpainting"},
    {"masks"},
    {"photographs"},
    {"stats"},
)
PLAIN: tuple[set[str], ...] = (
    {"animations", "folders", "images", "pretrained", "progress", "tables", "web"},
    {"config", "distributed", "files", "lock"},
    {"errors"},
)


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("prefpaint", include_external_packages=True, cache_dir=None)


def upward(graph: grimp.ImportGraph, layers: tuple[set[str], ...]) -> list[str]:
    """Imports that no order of the layers allows."""
    order = [grimp.Layer(*(f"prefpaint.{name}" for name in layer)) for layer in layers]
    return [
        " → ".join((sorted(route.heads)[0], *route.middle, sorted(route.tails)[0]))
        for dependency in graph.find_illegal_dependencies_for_layers(order)
        for route in dependency.routes
    ]


def test_everything_has_its_layer(graph: grimp.ImportGraph) -> None:
    placed = [f"prefpaint.{name}" for layer in (*KEDRO, *ROOMS, *PLAIN) for name in layer]
    assert sorted(graph.find_children("prefpaint")) == sorted(placed)


def test_nothing_imports_upwards(graph: grimp.ImportGraph) -> None:
    assert upward(graph, (*KEDRO, *ROOMS, *PLAIN)) == []


def test_an_upward_import_would_be_found(graph: grimp.ImportGraph) -> None:
    assert upward(graph, ROOMS[::-1])


def test_the_library_does_not_import_kedro(graph: grimp.ImportGraph) -> None:
    kedro = {package for package in graph.modules if package.startswith("kedro")}
    importers = {module for package in kedro for module in graph.find_modules_that_directly_import(package)}
    glue = {name for layer in KEDRO for name in layer}
    assert len(importers) > len(glue) / 2
    assert {module for module in importers if module.split(".")[1] not in glue} == set()


def test_no_import_circle(graph: grimp.ImportGraph) -> None:
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))
