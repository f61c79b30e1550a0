"""Folders for checkpoints of work in progress."""

from pathlib import Path
from typing import Any, NoReturn

from kedro.io import DatasetError

from prefpaint.datasets.base import PathDataset


class WorkspaceDataset(PathDataset):
    """A scratch folder that a node may keep between runs; loads as a `Path` that exists.

    It is an input, never an output: the node that uses it tells from its own fingerprints what still fits.
    """

    def load(self) -> Path:
        """The folder, made if it does not exist."""
        self._filepath.mkdir(parents=True, exist_ok=True)
        return self._filepath

    def _put(self, data: Any) -> NoReturn:
        """Never: files are put into the folder directly."""
        raise DatasetError(f"{self._filepath}: a workspace is filled by its node, not saved")

    def _exists(self) -> bool:
        return True
