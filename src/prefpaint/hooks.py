"""Kedro hooks: mistakes are caught before anything runs, and progress is shown node by node."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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

log = logging.getLogger(__name__)


class ParametersFit:
    """Checks all parameters of the environment; Kedro's own message would not name the right keys."""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Raise `PrefPaintError` for the first parameter that does not fit its model, or an unknown environment."""
        _check_environment(context.config_loader)
        check_parameters(context.config_loader["parameters"], known_models(dict(pipelines)))


def _check_environment(loader: Any) -> None:
    source = Path(loader.conf_source)
    if not source.is_dir():
        return  # An archive, or a remote place.
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

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Raise `PrefPaintError` for the first free input, parameters aside, that does not exist."""
        for name in sorted(pipeline.inputs()):
            if name.startswith("params:") or name not in catalog or catalog.exists(name):
                continue
            place = catalog[name]._describe().get("filepath", "its file")
            raise PrefPaintError(f"{name}: {place} does not exist yet; run {_maker(name, run_params)}")


def _maker(name: str, run_params: dict[str, Any]) -> str:
    """The commands that make a dataset."""
    environment = run_params.get("env")
    option = f" --env={environment}" if environment and environment != "local" else ""
    stages = [stage for stage, made in pipelines.items() if stage != "__default__" and name in made.all_outputs()]
    commands = [f"`kedro run --pipeline={stage}{option}`" for stage in stages]
    return " or ".join([*commands, "`dvc pull`"])


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
