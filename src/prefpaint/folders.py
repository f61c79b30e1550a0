"""Folders of folders that are made one after another and survive a kill."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prefpaint.files import whole_folder

MARKER = "fingerprint.txt"


class Folders(Mapping[str, Path]):
    """Finished folders in a folder, by name."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __getitem__(self, key: str) -> Path:
        if key not in set(self):
            raise KeyError(key)
        return self.path / key

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(marker.parent.name for marker in self.path.glob(f"[!.]*/{MARKER}")))

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True)
class FoldersWork:
    """Folders to be made, lazily: the dataset that saves them requests only those it lacks.

    Attributes:
        fingerprints: of everything each depends on, by name; when it differs, the earlier folder is made again.
        produce: given the names still missing, yields (name, what puts files into an empty folder), in any order. Names
            that it leaves out are not made.
    """

    fingerprints: Mapping[str, str]
    produce: Callable[[Sequence[str]], Iterable[tuple[str, Callable[[Path], None]]]]


def complete_folders(folders: Folders, work: FoldersWork) -> None:
    """Make the folders of `work` that are missing, and remove all others.

    A killed call leaves whole folders only; the next one makes the rest.

    Raises:
        PrefPaintError: the disk is full.
    """
    folders.path.mkdir(parents=True, exist_ok=True)
    for path in folders.path.iterdir():
        marker = path / MARKER
        if path.is_dir() and not (marker.is_file() and marker.read_text() == work.fingerprints.get(path.name)):
            shutil.rmtree(path)
    missing = [name for name in work.fingerprints if name not in folders]
    for name, fill in work.produce(missing) if missing else ():
        with whole_folder(folders.path / name) as temporary:
            fill(temporary)
            (temporary / MARKER).write_text(work.fingerprints[name])
