"""Rooms import downwards only, and no modules import each other in a circle."""

from graphlib import CycleError, TopologicalSorter

import grimp
import pytest

# From the top. A layer's rooms may use the layers below it and not each other; what lies below all of them is plain
# help: configuration, files, errors, progress.
LAYERS: tuple[set[str], ...] = (
    {"cli", "commands", "pipelines"},
    {"experiments", "reporting"},
    {"applications", "studio"},
    {"evaluation"},
    {"alignment"},
    {"trust"},
    {"reward"},
    {"datasets"},
    {"preferences"},
    {"fills"},
    {"inpainting"},
    {"masks"},
    {"photographs"},
    {"stats"},
)


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("prefpaint", cache_dir=None)


def test_every_room_has_its_layer(graph: grimp.ImportGraph) -> None:
    rooms = {name for name in graph.find_children("prefpaint") if graph.find_children(name)}
    # Pretraining stands apart: it trains what the rooms use, and borrows from many of them.
    assert rooms == {f"prefpaint.{room}" for layer in LAYERS for room in layer if room != "cli"} | {
        "prefpaint.small_model"
    }


def test_no_room_imports_upwards(graph: grimp.ImportGraph) -> None:
    layers = [grimp.Layer(*(f"prefpaint.{room}" for room in layer), independent=False) for layer in LAYERS]
    upward = [
        f"{dependency.importer} imports {dependency.imported}"
        for dependency in graph.find_illegal_dependencies_for_layers(layers)
    ]
    assert not upward


def test_nothing_below_pipelines_imports_pretraining(graph: grimp.ImportGraph) -> None:
    users = graph.find_modules_that_directly_import("prefpaint.small_model") | {
        importer
        for module in graph.find_descendants("prefpaint.small_model")
        for importer in graph.find_modules_that_directly_import(module)
    }
    outside = {user for user in users if not user.startswith(("prefpaint.small_model", "prefpaint.pipelines"))}
    assert not outside


def test_no_import_circle(graph: grimp.ImportGraph) -> None:
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))
