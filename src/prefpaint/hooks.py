"""Kedro hooks: mistakes are caught before anything runs, and progress is shown node by node."""

import logging
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from prefpaint import distributed
from prefpaint.errors import PrefPaintError
from prefpaint.lock import LOCK, RunLock
from prefpaint.parameters import check_parameters, known_models, suggest

if TYPE_CHECKING:
    from prefpaint.provenance import Provenance

log = logging.getLogger(__name__)


class ParametersFit:
    """Checks all parameters of the environment; Kedro's own message would not name the right keys."""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Raise `PrefPaintError` for the first parameter that does not fit its model, or an unknown environment."""
        _check_environment(context.config_loader)
        check_parameters(context.config_loader["parameters"], known_models(dict(pipelines)))


def _check_environment(loader: Any) -> None:
    chosen, stage = os.environ.get("KEDRO_ENV"), os.environ.get("DVC_STAGE")
    if stage and chosen and chosen != "local":
        raise PrefPaintError(
            f"KEDRO_ENV={chosen}: DVC does not see it, and would take the outcome for that of conf/base; run `kedro "
            f"run --env={chosen} --pipeline={stage.rpartition(':')[2]}` without DVC, or put the values into params.yaml"
        )
    source = Path(loader.conf_source)
    for env in filter(None, (loader.base_env, loader.env)):
        if not (source / env).is_dir():
            known = sorted(path.name for path in source.iterdir() if path.is_dir())
            raise PrefPaintError(f"environment {env}: {source / env} does not exist; {suggest(env, known)}")


class OneRun:
    """Two runs in one project would write the same files: the second is refused, with the name of the first."""

    def __init__(self) -> None:
        self.lock: RunLock | None = None

    @hook_impl(wrapper=True)
    def before_pipeline_run(self, run_params: dict[str, Any]) -> Iterator[None]:
        """Raise `PrefPaintError` if another process runs a pipeline of this project."""
        if not distributed.is_main():
            return (yield)  # Its main process has the lock.
        self.lock = self.lock or RunLock(Path(run_params["project_path"]) / LOCK)
        names = ",".join(run_params["pipeline_names"] or ())
        with self.lock.unless_it_fails("kedro run" + (f" --pipelines={names}" if names else "")):
            return (yield)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Let the next run begin."""
        if self.lock:
            self.lock.give_back()

    @hook_impl
    def on_pipeline_error(self) -> None:
        """The same after an error, in a notebook."""
        self.after_pipeline_run()


class InputsExist:
    """Says which pipeline makes a missing input, instead of failing in the middle of a node."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Raise `PrefPaintError` for the first free input, parameters aside, that does not exist."""
        for name in sorted(pipeline.inputs()):
            if name.startswith("params:") or name not in catalog or catalog.exists(name):
                continue
            place = catalog[name]._describe().get("filepath", "its file")
            raise PrefPaintError(f"{name}: {place} does not exist yet; run {_maker(name, run_params)}")


def _environment_option(run_params: dict[str, Any]) -> str:
    environment = run_params.get("env")
    return f" --env={environment}" if environment and environment != "local" else ""


def _maker(name: str, run_params: dict[str, Any]) -> str:
    """The commands that make a dataset."""
    option = _environment_option(run_params)
    stages = [stage for stage, made in pipelines.items() if stage != "__default__" and name in made.all_outputs()]
    commands = [f"`kedro run --pipeline={stage}{option}`" for stage in stages]
    return " or ".join([*commands, "`dvc pull`"])


class UpToDate:
    """A stage does not start from what an earlier one made before its own inputs or parameters changed."""

    def __init__(self) -> None:
        self.provenance: Provenance | None = None
        self.refuses = True
        self.made: set[str] = set()
        self.said: set[str] = set()
        self.saving: Node | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Keep the loader: parameters of all stages are compared."""
        self.loader: Any = context.config_loader

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Raise `PrefPaintError` if an input is out of date."""
        # Needed where something runs; pandas takes a while.
        from prefpaint.provenance import read_provenance

        self.provenance, self.made, self.said, self.saving = None, set(), set(), None
        if not distributed.is_main():
            return
        self.provenance = read_provenance(
            Path(run_params["project_path"]), self.loader, catalog, run_params["runtime_params"]
        )
        self.refuses = self.provenance.given["run"].out_of_date == "refuse"
        names = pipeline.inputs()
        if run_params["only_missing_outputs"]:
            names = names | {name for name in pipeline.all_outputs() if name in catalog and catalog.exists(name)}
        self._check(names)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """The same for what became out of date in this run, and a note of what the node loads."""
        if self.provenance:
            self._check(set(node.inputs) - self.made)
            self.provenance.begin(node)

    @hook_impl
    def before_dataset_saved(self, node: Node) -> None:
        """From here on outputs may be of two runs."""
        self.saving = node

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """Record what the node's outputs were made from once all of them are there."""
        self.made.add(dataset_name)
        if dataset_name == node.outputs[-1]:
            self.saving = None
            if self.provenance:
                self.provenance.end(node)

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Record that a node failed while it saved."""
        if self.provenance and self.saving:
            self.provenance.broken(self.saving)

    def _check(self, names: Iterable[str]) -> None:
        assert self.provenance
        sentence = self.provenance.check(names)
        if sentence and self.refuses:
            raise PrefPaintError(sentence)
        if sentence and sentence not in self.said:
            log.warning(sentence)
            self.said.add(sentence)


class NodeTimes:
    """Shows which node runs, and how long each took."""

    def __init__(self) -> None:
        self.total = self.done = 0
        self.started = 0.0

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        """Count the nodes."""
        self.total, self.done = len(pipeline.nodes), 0

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Start the clock."""
        self.started = time.monotonic()
        if not distributed.is_main():
            return
        log.info("%d/%d %s …", self.done + 1, self.total, node.name.replace("_", " "))

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, node: Node) -> None:
        """Show the time when the last output is saved: image folders are made while they are saved."""
        if dataset_name == node.outputs[-1] and distributed.is_main():
            self.done += 1
            spent = time.monotonic() - self.started
            log.info("%d/%d %s, %.0f s", self.done, self.total, node.name.replace("_", " "), spent)
