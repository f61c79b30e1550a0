"""What all datasets of this project share."""

from abc import abstractmethod
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from prefpaint import distributed
from prefpaint.errors import PrefPaintError
from prefpaint.files import whole_file


class PathDataset(AbstractDataset[Any, Any]):
    """A dataset that is one local file or folder.

    Where several processes run the same pipeline, the main one writes, and all wait until it is done.

    Args:
        filepath: where it is; relative paths start at the project's root.
        metadata: for plugins such as Kedro-Viz; ignored here.
    """

    def __init__(self, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath, self.metadata = Path(filepath), metadata

    def save(self, data: Any) -> None:
        """Write the file or folder, once.

        Raises:
            PrefPaintError: the disk is full; the earlier file or folder stays as it was.
        """
        if distributed.is_main():
            self._put(data)
        distributed.barrier()

    @abstractmethod
    def _put(self, data: Any) -> None:
        """Write the file or folder."""

    def _exists(self) -> bool:
        return self._filepath.exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class FileDataset(PathDataset):
    """One file that is written whole or not at all; kedro-datasets' own write in place."""

    @abstractmethod
    def _read(self, path: Path) -> Any:
        """The file's content."""

    @abstractmethod
    def _write(self, data: Any, path: Path) -> None:
        """Write the content to a path that does not exist yet."""

    def load(self) -> Any:
        """Read the file.

        Raises:
            PrefPaintError: it is missing or damaged.
        """
        try:
            return self._read(self._filepath)
        except FileNotFoundError as error:
            raise PrefPaintError(f"{self._filepath}: is missing; run its pipeline or `dvc pull`") from error
        except (OSError, ValueError) as error:
            raise PrefPaintError(f"{self._filepath}: cannot be read ({error}); remove it and make it again") from error

    def _put(self, data: Any) -> None:
        with whole_file(self._filepath) as temporary:
            self._write(data, temporary)
