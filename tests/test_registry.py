"""Pipelines register quickly and without the heavy libraries."""

import json
import resource
import subprocess
import sys

from tests.conftest import REPOSITORY, Project

STAGES = [
    "masks",
    "candidates",
    "preferences",
    "reward",
    "bound",
    "align",
    "extend",
    "novel_view",
    "reconstruct",
    "evaluate",
    "report",
    "release",
]
# Nothing is made from these but the page, so their place in the drawing is free.
APPLICATIONS = {"extend", "novel_view", "reconstruct"}
# What it makes is in the layer `reporting`.
REPORT = {"report"}


def test_registering_imports_no_heavy_library() -> None:
    code = (
        "import json, sys; from prefpaint.pipeline_registry import register_pipelines; register_pipelines();"
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    heavy = {"torch", "great_expectations", "diffusers", "transformers", "matplotlib", "sklearn", "skimage"}
    assert not heavy & set(json.loads(done.stdout))


def test_registry_list_takes_less_than_four_seconds(project: Project) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = project.run("registry", "list")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Processor time: what a stopwatch shows where nothing else runs.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 4
    assert set(STAGES) <= {line.removeprefix("- ") for line in done.stdout.splitlines()}


def test_default_runs_the_stages_in_their_order() -> None:
    from prefpaint.pipeline_registry import register_pipelines

    registered = register_pipelines()
    made: set[str] = set()
    for stage in STAGES:
        later = set().union(*(registered[name].all_outputs() for name in STAGES)) - made
        assert not registered[stage].inputs() & later, stage
        made |= registered[stage].all_outputs()
    assert registered["__default__"].all_outputs() == made


def test_the_page_alone_is_made_from_every_stage() -> None:
    from prefpaint.pipeline_registry import register_pipelines

    registered = register_pipelines()
    made = {stage: registered[stage].all_outputs() for stage in STAGES}
    users = {stage: {user for user in STAGES if registered[user].inputs() & made[stage]} for stage in STAGES}
    assert {stage for stage in STAGES if "report" in users[stage]} == set(STAGES) - {"report", "release"}
    assert users["extend"] == users["novel_view"] == {"report"}
    assert users["report"] == set()


def test_kedro_viz_can_draw_the_layers() -> None:
    """Kedro-Viz switches layers off, with a warning alone, where they go round in a circle."""
    from graphlib import TopologicalSorter

    import yaml

    from prefpaint.pipeline_registry import register_pipelines

    catalog = yaml.safe_load((REPOSITORY / "conf/base/catalog.yml").read_text())
    layer = {name: entry["metadata"]["kedro-viz"]["layer"] for name, entry in catalog.items()}
    before: dict[str, set[str]] = {}
    for node in (node for pipeline in register_pipelines().values() for node in pipeline.nodes):
        for output in set(node.outputs) & set(layer):
            before.setdefault(layer[output], set()).update({layer[i] for i in node.inputs if i in layer})
    order = list(TopologicalSorter({key: value - {key} for key, value in before.items()}).static_order())
    assert set(STAGES) - REPORT < set(order)
    assert [name for name in order if name in STAGES and name not in APPLICATIONS] == [
        stage for stage in STAGES if stage not in APPLICATIONS | REPORT
    ]
    # The model card is written from the reports.
    assert order.index("evaluate") < order.index("reporting") < order.index("release")
