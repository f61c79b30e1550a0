"""`kedro run`: Kedro's own command, with names checked before anything is loaded."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.project import pipelines
from kedro.pipeline import Pipeline
from kedro.runner import SequentialRunner
from kedro.utils import find_kedro_project, load_obj
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from prefpaint.commands.base import OneSentence
from prefpaint.errors import PrefPaintError
from prefpaint.parameters import suggest


class Run(OneSentence):
    """Kedro's `run` whose every misspelt name ends in one sentence."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Read the options; Kedro reads the file of `--config` here."""
        try:
            with self.one_sentence():
                return super().make_context(*arguments, **options)
        except (KeyError, TypeError, AttributeError, YAMLError, OmegaConfBaseException) as error:
            raise click.ClickException(
                "--config: the file must hold a section `run` with options of `kedro run`, such as `pipeline: reward`"
            ) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Check, then run, in the project's root: paths in its configuration start there."""
        root = find_kedro_project(Path.cwd())
        if root:
            os.chdir(root)
        with self.one_sentence():
            check_options(ctx.params)
        return super().invoke(ctx)


run = Run("run", params=kedro_run.params, callback=kedro_run.callback, help=kedro_run.help)


def check_options(given: dict[str, Any]) -> None:
    """Raise for the first option of `kedro run` that names nothing.

    Args:
        given: options as Kedro's command takes them.

    Raises:
        PrefPaintError: a pipeline, node, tag, dataset, namespace or runner does not exist, or does not serve here.
    """
    _check_runner(given)
    if given["load_versions"]:
        raise PrefPaintError(
            "--load-versions: datasets of this project have no versions of Kedro's; `git checkout` and `dvc checkout` "
            "bring earlier data back"
        )
    registered = dict(pipelines)
    names = [given["pipeline"]] if given["pipeline"] else given["pipelines"] or ["__default__"]
    for name in names:
        _check("pipeline", name, registered)
    chosen = sum((registered[name] for name in names), Pipeline([]))
    nodes = {node.name: None for node in chosen.nodes}
    for name in [*given["node_names"], *given["from_nodes"], *given["to_nodes"]]:
        _check("node", name, nodes, _whose(name, registered, lambda pipeline: {node.name for node in pipeline.nodes}))
    for name in [*given["from_inputs"], *given["to_outputs"]]:
        _check("dataset", name, sorted(chosen.datasets()), _whose(name, registered, Pipeline.datasets))
    _check_all("tag", given["tags"], {tag for node in chosen.nodes for tag in node.tags})
    _check_all("namespace", given["namespaces"], {node.namespace for node in chosen.nodes if node.namespace})
    filters = ("tags", "from_nodes", "to_nodes", "node_names", "from_inputs", "to_outputs")
    try:
        chosen.filter(**{name: given[name] or None for name in filters}, node_namespaces=given["namespaces"] or None)
    except ValueError as error:
        raise PrefPaintError(f"no node fits all options of `kedro run`; leave one out ({error})") from error


def _check_runner(given: dict[str, Any]) -> None:
    name = given["runner"] or "SequentialRunner"
    try:
        runner: Any = load_obj(name, "kedro.runner")
    except (ImportError, AttributeError, ValueError) as error:
        raise PrefPaintError(f"--runner={name}: there is no such runner; leave the option out") from error
    if not (isinstance(runner, type) and issubclass(runner, SequentialRunner)):
        raise PrefPaintError(
            f"--runner={name}: nodes run one after the other here, each on all cores; for several processes see "
            "sampling.processes and align.processes"
        )
    options = given["runner_params"]
    if given["is_async"] or options.get("is_async"):
        raise PrefPaintError(
            "--async: pictures are made while they are saved, one folder after the other; leave the option out"
        )
    for option in options:
        _check("runner parameter", option, ["is_async"])


def _check(kind: str, name: str, known: Iterable[str], elsewhere: str = "") -> None:
    if name not in known:
        raise PrefPaintError(f"{kind} {name}: does not exist{elsewhere or '; ' + suggest(name, list(known))}")


def _check_all(kind: str, names: Iterable[str], known: set[str]) -> None:
    for name in names:
        if not known:
            raise PrefPaintError(f"{kind} {name}: this project's nodes have no {kind}s; use --pipelines or --nodes")
        _check(kind, name, sorted(known))


def _whose(name: str, registered: dict[str, Pipeline], names_in: Any) -> str:
    """That a node or dataset belongs to other pipelines than the chosen ones."""
    found = [stage for stage, pipeline in registered.items() if stage != "__default__" and name in names_in(pipeline)]
    return f" in what is run; it belongs to `--pipelines={','.join(found)}`" if found else ""
