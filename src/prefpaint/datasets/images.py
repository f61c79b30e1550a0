"""Folders of images that are completed item by item."""

import logging
from typing import Any

from prefpaint import distributed
from prefpaint.datasets.base import PathDataset
from prefpaint.errors import PrefPaintError
from prefpaint.images import MARKER, ImageFolder, ImageWork, complete_folder

logger = logging.getLogger(__name__)


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
        folder = ImageFolder(self._filepath, self._masks)
        others = len(set(folder) - set(data.keys))
        if others and distributed.is_main():
            logger.warning(
                "%s: %d pictures of earlier runs do not belong to this one and are removed", folder.path, others
            )
        complete_folder(folder, data)

    def _exists(self) -> bool:
        return (self._filepath / MARKER).exists()
