"""Kedro hooks: mistakes are caught before anything runs, and progress is shown node by node."""

import logging
import time
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from prefpaint import distributed
from prefpaint.errors import PrefPaintError
from prefpaint.parameters import check_parameters, known_models

log = logging.getLogger(__name__)


class ParametersFit:
    """Checks all parameters of the environment; Kedro's own message would not name the right keys."""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Raise `PrefPaintError` for the first parameter that does not fit its model."""
        check_parameters(context.config_loader["parameters"], known_models(dict(pipelines)))


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
