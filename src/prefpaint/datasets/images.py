"""Folders of images that are completed item by item."""

from typing import Any

from prefpaint.datasets.base import PathDataset
from prefpaint.errors import PrefPaintError
from prefpaint.images import MARKER, ImageFolder, ImageWork, complete_folder


class ImageFolderDataset(PathDataset):
    """A folder of PNG files: saves an `ImageWork`, loads an `ImageFolder`.

    A save that was killed leaves whole images only; the next one with the same fingerprint makes the rest.

    Args:
        filepath: the folder.
        masks: whether the files are masks.
        metadata: for plugins such as Kedro-Viz; ignored here.
    """

    def __init__(self, filepath: str, masks: bool = False, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(filepath, metadata)
        self._masks = masks

    def load(self) -> ImageFolder:
        """A lazy view of the folder.

        Raises:
            PrefPaintError: the folder is missing.
        """
        if not self._exists():
            raise PrefPaintError(f"{self._filepath}: is missing; run its pipeline or `dvc pull`")
        return ImageFolder(self._filepath, self._masks)

    def save(self, data: ImageWork) -> None:
        """Make the images that the folder lacks, every process its share, and remove those that no longer belong.

        Raises:
            PrefPaintError: the disk is full; the images made so far stay.
        """
        self._put(data)

    def _put(self, data: ImageWork) -> None:
        complete_folder(ImageFolder(self._filepath, self._masks), data)

    def _exists(self) -> bool:
        return (self._filepath / MARKER).exists()
