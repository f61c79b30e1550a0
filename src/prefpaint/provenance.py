"""What every saved dataset was made from, so that a later stage alone notices what has changed since.

`data/.provenance.json` holds one record per node: digests of its outputs, of the inputs it loaded, of the files its
parameters name, and its parameters. A record speaks only of the very outputs it was written for: where `dvc checkout`,
`dvc pull` or a person puts others in their place, nothing is known of them, and nothing is said.
"""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
from kedro.framework.project import pipelines, settings
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from prefpaint.config import Config, fingerprint
from prefpaint.datasets import RatingStoreDataset, WorkspaceDataset
from prefpaint.errors import PrefPaintError
from prefpaint.files import files_digest, whole_file
from prefpaint.images import MARKER
from prefpaint.parameters import known_models

log = logging.getLogger(__name__)

# In the project's root; git does not see it there.
LEDGER = Path("data/.provenance.json")
PARAMETER = "params:"


class Ledger:
    """The records, and digests that need not be computed again.

    Args:
        root: of the project.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.path = root, root / LEDGER
        self.records: dict[str, dict[str, Any]] = {}
        self._digests: dict[str, list[str]] = {}
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            self.records, self._digests = dict(kept["records"]), dict(kept["digests"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # Nothing is known then; the next runs write it anew.

    def save(self) -> None:
        """Write it, whole or not at all; what a run has made is worth more than its record."""
        text = json.dumps({"records": self.records, "digests": self._digests}, indent=1, sort_keys=True)
        try:
            with whole_file(self.path) as temporary:
                temporary.write_text(text, encoding="utf-8")
        except PrefPaintError as error:
            log.warning("later stages will not notice what changes: %s", error)

    def state(self, path: Path) -> str | None:
        """What a file or folder holds, whatever its name and times: digest, number of files, digest of its marker.

        Contents are read again only where a size or a time of change is another. None: it does not exist, or cannot be
        read.
        """
        try:
            return self._state(self.root / path)
        except OSError:
            return None

    def _state(self, path: Path) -> str | None:
        if path.is_file():
            files = [path]
        else:
            files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
        if not files:
            return None
        names = [file.relative_to(path).as_posix() for file in files]
        stats = [file.stat() for file in files]
        quick = fingerprint([[name, s.st_size, s.st_mtime_ns] for name, s in zip(names, stats, strict=True)])
        key = path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.as_posix()
        known = self._digests.get(key)
        if known is None or known[0] != quick:
            marker = path / MARKER
            digest = sha256(" ".join([*names, files_digest(files)]).encode()).hexdigest()[:16]
            mark = files_digest([marker])[:16] if marker.is_file() else "-"
            known = self._digests[key] = [quick, f"{digest} {len(files)} {mark}"]
        return known[1]


@dataclass
class Provenance:
    """The records of one project, seen by one run.

    Attributes:
        ledger: where they are kept.
        stages: all pipelines by name; what those outside `__default__` make counts as given.
        catalog: of the run.
        settings: parameters by top-level key, as the configuration says.
        given: the same with those of the command line.
        env: of the run.
    """

    ledger: Ledger
    stages: Mapping[str, Pipeline]
    catalog: DataCatalog
    settings: Mapping[str, Any]
    given: Mapping[str, Any]
    env: str | None = None
    _states: dict[str, str | None] = field(default_factory=dict)
    _loaded: dict[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.whole = self.stages["__default__"]
        self._makers = {output: node for node in self.whole.nodes for output in node.outputs}
        self._names = {node.name for node in self.whole.nodes}

    # ------------------------------------------------------------ what there is

    def _is_kept(self, name: str) -> bool:
        """Whether a dataset outlives the run."""
        return (
            not name.startswith(PARAMETER)
            and name in self.catalog
            and not isinstance(self.catalog[name], WorkspaceDataset)
            and bool({"filepath", "hub_id"} & set(self.catalog[name]._describe()))
        )

    def _state(self, name: str) -> str | None:
        if name not in self._states:
            dataset = self.catalog[name]
            described = dataset._describe()
            if isinstance(dataset, RatingStoreDataset):
                self._states[name] = _ratings_state(dataset)
            elif described.get("hub_id"):
                self._states[name] = f"hub {described['hub_id']}"
            else:
                self._states[name] = self.ledger.state(Path(described["filepath"]))
        return self._states[name]

    def _sources(self, node: Node) -> tuple[set[str], set[str]]:
        """Kept datasets and parameters that a node's outputs are made from, through those in memory."""
        kept, keys = set(), set()
        for name in node.inputs:
            if name.startswith(PARAMETER):
                keys.add(name.removeprefix(PARAMETER).split(".")[0])
            elif self._is_kept(name):
                kept.add(name)
            elif name in self._makers:
                more = self._sources(self._makers[name])
                kept |= more[0]
                keys |= more[1]
        return kept, keys

    def _files(self, keys: Iterable[str]) -> dict[str, str | None]:
        """States of the files and folders that parameters name."""
        return {
            f"{key}.{name}": self.ledger.state(path)
            for key in sorted(keys)
            for name, path in _paths(self.given[key].model_dump())
        }

    # ------------------------------------------------------------ writing records

    def begin(self, node: Node) -> None:
        """Remember what a node loads, as it is now."""
        for name in node.inputs:
            if self._is_kept(name):
                self._loaded[name] = self._state(name)

    def saved(self, name: str) -> None:
        """Forget what a dataset was before."""
        self._states.pop(name, None)

    def end(self, node: Node) -> None:
        """Write the record of a node whose outputs are all saved."""
        outputs = [name for name in node.outputs if self._is_kept(name)]
        if not outputs or node.name not in self._names:
            return
        for name in outputs:
            self.saved(name)
        kept, keys = self._sources(node)
        self.ledger.records[node.name] = {
            "outputs": {name: self._state(name) for name in outputs},
            "inputs": {name: self._loaded[name] if name in self._loaded else self._state(name) for name in kept},
            "files": self._files(keys),
            "parameters": {key: _dump(self.given[key]) for key in keys},
            "settings": {key: _dump(self.settings[key]) for key in keys},
            "env": self.env,
        }
        self.ledger.save()

    def broken(self, node: Node) -> None:
        """Record that a node failed while it saved: its outputs are of two runs."""
        outputs = [name for name in node.outputs if self._is_kept(name)]
        for name in outputs:
            self.saved(name)
        now = {name: self._state(name) for name in outputs}
        if node.name in self._names and self.ledger.records.get(node.name, {}).get("outputs") != now:
            self.ledger.records[node.name] = {"unfinished": now}
            self.ledger.save()

    # ------------------------------------------------------------ reading them

    def check(self, names: Iterable[str]) -> str | None:
        """What is out of date among datasets and all they were made from.

        Args:
            names: datasets that are about to be loaded.

        Returns:
            One sentence about the first that is out of date, in the order in which they are made; None: nothing is.
        """
        wanted = [name for name in names if name in self._makers]
        if not wanted:
            return None
        before = self.whole.to_outputs(*wanted)
        used = {*wanted, *(name for node in before.nodes for name in node.inputs)}
        found = {node: reason for node in before.nodes if (reason := self._reason(node, used))}
        if not found:
            return None
        first, reason = next(iter(found.items()))
        again = {node.name for node in before.from_nodes(*(node.name for node in found)).nodes}
        parts = {stage: {node.name for node in made.nodes} for stage, made in self.stages.items()}
        del parts["__default__"]
        run = [stage for stage, names in parts.items() if again & names and names <= self._names]
        command = f"--pipeline{'s' if len(run) > 1 else ''}={','.join(run)}"
        if len(run) == 1 and self._starts_inside(first, self.stages[run[0]]):
            command += f" --from-nodes={first.name}"
        option = f" --env={self.env}" if self.env and self.env != "local" else ""
        return (
            f"{reason}; run `kedro run {command}{option}`, or add `--params=run.out_of_date=warn` to use what is there"
        )

    def _starts_inside(self, node: Node, stage: Pipeline) -> bool:
        """Whether a node can be run from what its stage has saved: what comes before it is not made again."""
        return all(self._is_kept(name) or name.startswith(PARAMETER) for name in node.inputs) and bool(
            set(node.inputs) & stage.all_outputs()
        )

    def _reason(self, node: Node, used: set[str]) -> str | None:
        record = self.ledger.records.get(node.name)
        if record is None:
            return None
        kept = [name for name in node.outputs if self._is_kept(name)]
        made = next((name for name in kept if name in used), kept[0])
        if "unfinished" in record:
            same = all(self._state(name) == state for name, state in record["unfinished"].items())
            return f"{made} is not whole: the run that made it failed while it was saved" if same else None
        for name, state in record["outputs"].items():
            if self._state(name) != state:
                return _lost(name, state, self._state(name))
        for name, state in sorted(record["inputs"].items()):
            if not self._is_kept(name):
                continue
            now = self._state(name)
            if now != state and not (now is None and isinstance(self.catalog[name], RatingStoreDataset)):
                what = "has changed since" if now else "is gone"
                return f"{made} is out of date: {name}, from which it was made, {what}"
        for key, before in record["parameters"].items():
            if key in self.given and (change := self._change(key, before, record["settings"][key])):
                env = f" (environment {record['env']})" if record["env"] != self.env else ""
                return f"{made} is out of date: it was made with {change[0]}{env}, and now {change[1]}"
        for name, now in self._files(key for key in record["parameters"] if key in self.given).items():
            if name in record["files"] and now != record["files"][name]:
                return f"{made} is out of date: the files of {name} have changed since it was made"
        return None

    def _change(self, key: str, before: Any, settings: Any) -> tuple[str, str] | None:
        """A parameter's value then and now; None where nothing changed, or only the command line of then gave it."""
        now, kind = _dump(self.given[key]), type(self.given[key])
        before, settings = _as_now(kind, before), _as_now(kind, settings)
        if now == before or (self.given[key] == self.settings[key] and now == settings):
            return None
        place, (old, new) = next(_differences(key, before, now))
        return f"{place} {old}", str(new)


def read_provenance(
    root: Path, loader: Any, catalog: DataCatalog, runtime_params: Mapping[str, Any] | None = None
) -> Provenance:
    """The records of a project, and the parameters of all its stages.

    Args:
        root: of the project.
        loader: of its configuration.
        catalog: of the run.
        runtime_params: of the command line.
    """
    models = known_models(dict(pipelines))

    def read(raw: Mapping[str, Any]) -> dict[str, Any]:
        return {key: model.model_validate(raw[key]) for key, model in models.items()}

    given = configured = read(loader["parameters"])
    if runtime_params:
        without = type(loader)(loader.conf_source, env=loader.env, **settings.CONFIG_LOADER_ARGS)
        configured = read(without["parameters"])
    return Provenance(Ledger(root), dict(pipelines), catalog, configured, given, loader.env or "local")


def _dump(model: Config) -> Any:
    """A parameter's values without those that change memory and speed alone."""
    return model.model_dump(mode="json", exclude=set(model.speed_only))


def _as_now(kind: type[Config], values: Any) -> Any:
    """Values of an earlier version of this program, with the defaults of knobs that it did not have."""
    try:
        return _dump(kind.model_validate(values))
    except ValueError:
        return values


def _differences(place: str, before: Any, now: Any) -> Iterator[tuple[str, tuple[Any, Any]]]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*now, *(key for key in before if key not in now)]:
            if before.get(key) != now.get(key):
                yield from _differences(f"{place}.{key}", before.get(key), now.get(key))
    else:
        yield place, (json.dumps(before), json.dumps(now))


def _paths(values: Any, place: str = "") -> Iterator[tuple[str, Path]]:
    """Files and folders among parameters, by their place; a text without a slash is a name."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _paths(value, f"{place}.{key}" if place else str(key))
    elif isinstance(values, Path):
        yield place, values
    elif isinstance(values, str) and "/" in values and Path(values).exists():
        yield place, Path(values)


def _lost(name: str, before: str | None, now: str | None) -> str | None:
    """A reason where a folder lacks files of the work it is marked with; None where something else is in its place."""
    if before is None or now is None:
        return None
    (_, count, mark), (_, left, mark_now) = before.split(), now.split()
    if mark == "-" or mark != mark_now or int(left) >= int(count):
        return None
    return f"{name} is not whole: {int(count) - int(left)} of its {int(count) - 1} pictures are gone"


def _ratings_state(dataset: RatingStoreDataset) -> str | None:
    """What people said: logins and clean-ups change the file, and not this. None: the database cannot be read."""
    if dataset.is_untouched():
        return "no ratings"
    try:
        store = dataset.load()
        tables = (store.ratings(), store.comparisons()) if store.is_there() else ()
        store.close()
    except PrefPaintError:
        return None
    if all(table.empty for table in tables):
        return "no ratings"
    sums = [pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes() for table in tables]
    return sha256(b" ".join(sums)).hexdigest()[:16]
