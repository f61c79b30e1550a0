"""The database of people's ratings as a Kedro dataset."""

from typing import Any, NoReturn

from kedro.io import DatasetError

from prefpaint.datasets.base import PathDataset


class RatingStoreDataset(PathDataset):
    """Loads as a `prefpaint.preferences.store.RatingStore`, whether or not anything was rated yet.

    Args:
        filepath: the folder of the SQLite file; DVC looks there for changes.
        credentials: {url: …} of another database as SQLAlchemy writes it, in conf/local/credentials.yml, because it
            holds a password; then the folder stays empty.
        metadata: for plugins such as Kedro-Viz; ignored here.
    """

    def __init__(
        self, filepath: str, credentials: dict[str, str] | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(filepath, metadata)
        self._url = (credentials or {}).get("url")

    def load(self) -> Any:
        """The store; nothing is opened or made before it is used."""
        # Only the `preferences` pipeline and the studio need SQLAlchemy.
        from prefpaint.preferences.store import RatingStore

        return RatingStore(self._url or self._filepath)

    def is_untouched(self) -> bool:
        """Whether nobody can have rated yet, told without opening the store."""
        return not self._url and not any(self._filepath.glob("*.sqlite"))

    def _put(self, data: Any) -> NoReturn:
        """Never: ratings are added to the store one by one."""
        raise DatasetError(f"{self._filepath}: ratings are added by `kedro rate` and `kedro ratings import`, not saved")

    def _exists(self) -> bool:
        return True
