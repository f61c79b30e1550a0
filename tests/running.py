"""Running a pipeline on objects in memory."""

from collections.abc import Iterable, Mapping
from typing import Any

from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.runner import SequentialRunner


class Kept(MemoryDataset):
    """Stays after the runner has used it, so that the test can look at it."""

    def _release(self) -> None:
        pass


def run_pipeline(pipeline: Pipeline, given: Mapping[str, Any], outputs: Iterable[str]) -> dict[str, Any]:
    """Some outputs of a pipeline that needs just what is given."""
    catalog = DataCatalog({name: MemoryDataset(value, copy_mode="assign") for name, value in given.items()})
    for name in outputs:
        catalog[name] = Kept(copy_mode="assign")
    assert pipeline.inputs() == set(given)
    SequentialRunner().run(pipeline, catalog)
    return {name: catalog.load(name) for name in outputs}
