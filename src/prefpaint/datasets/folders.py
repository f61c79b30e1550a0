"""Folders of folders that are completed one by one."""

import logging

from prefpaint.datasets.base import PathDataset
from prefpaint.errors import PrefPaintError
from prefpaint.folders import Folders, FoldersWork, complete_folders

logger = logging.getLogger(__name__)


class FoldersDataset(PathDataset):
    """A folder of folders: saves a `FoldersWork`, loads `Folders`.

    A save that was killed leaves whole folders only; the next one with the same fingerprints makes the rest.
    """

    def load(self) -> Folders:
        """The finished folders by name.

        Raises:
            PrefPaintError: the folder is missing.
        """
        if not self._exists():
            raise PrefPaintError(f"{self._filepath}: is missing; run its pipeline or `dvc pull`")
        return Folders(self._filepath)

    def _put(self, data: FoldersWork) -> None:
        folders = Folders(self._filepath)
        others = len(set(folders) - set(data.fingerprints))
        if others:
            logger.warning(
                "%s: %d folders of earlier runs do not belong to this one and are removed", folders.path, others
            )
        complete_folders(folders, data)
