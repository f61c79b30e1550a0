"""The photographs the embedded model is pretrained on, taken out of Debian packages.

`pretraining.csv` lists them with package, licence and author. The pictures themselves come from the packages, so that
anybody can build the same set again.
"""

import csv
import logging
import os
import shutil
import struct
import subprocess
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path, PurePosixPath

from PIL import Image

from prefpaint.errors import PrefPaintError
from prefpaint.files import whole_file
from prefpaint.photographs.sources import read_image
from prefpaint.progress import Progress

logger = logging.getLogger(__name__)

LIST = Path(__file__).with_name("pretraining.csv")
SPLITS = ("train", "validation", "held_out")
# The splits of a fixed size, in the order in which they are filled; train gets the rest.
SIZES = {"held_out": 40, "validation": 24}
SHORTEST_SIDE = 320
QUALITY = 92
# What every JPEG file that we write ends with.
JPEG_END = b"\xff\xd9"

# Different photographs of one view, found by matching local features of every two pictures. No two of the listed
# pictures are alike beyond that: their 16 × 16 thumbnails correlate at 0.944 at most.
ALIKE = (
    ("endless-sky__badlands3", "endless-sky__bwerner2"),
    ("gcompris__categorization__eiffelTower", "gcompris__details__TourEiffel_background"),
    ("gcompris__details__Neuschwanstein_background", "gcompris__explore_monuments__neuschwansteinCastle"),
)

RCC_ZLIB, RCC_FOLDER, RCC_ZSTD = 1, 2, 4


@dataclass(frozen=True)
class ListedPhotograph:
    """One row of the list.

    Attributes:
        file: name of the finished picture, unique, ends in .jpg.
        package: Debian package that holds the picture.
        path: the end of the picture's path in the package, or in a Qt resource archive of the package.
        licence: as the package states it.
        author: as the package states it; may be empty.
        source: address of the original; may be empty.
        split: train, validation or held_out.
    """

    file: str
    package: str
    path: str
    licence: str
    author: str
    source: str
    split: str

    @property
    def stem(self) -> str:
        """The file's name without its ending."""
        return PurePosixPath(self.file).stem


COLUMNS = [field.name for field in fields(ListedPhotograph)]


@dataclass(frozen=True)
class Downloaded:
    """What a folder holds after `download_photographs`.

    Attributes:
        counts: number of pictures by split.
        missing: file names of the listed pictures that could not be obtained.
    """

    counts: dict[str, int]
    missing: list[str]


def read_list(path: Path = LIST) -> list[ListedPhotograph]:
    """The listed photographs, in the order of the list.

    Raises:
        PrefPaintError: the file cannot be read, lacks a column, or has a row with a wrong split or file name.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PrefPaintError(f"{path}: cannot be read as a list of photographs ({error})") from error
    listed = []
    for number, row in enumerate(rows, start=1):
        lacking = [column for column in COLUMNS if row.get(column) is None]
        if lacking:
            raise PrefPaintError(f"{path}, row {number}: has no {lacking[0]}; the columns are {', '.join(COLUMNS)}")
        one = ListedPhotograph(**{column: row[column] for column in COLUMNS})
        if one.split not in SPLITS:
            raise PrefPaintError(f"{path}, row {number}: split is {one.split!r}; it must be one of {', '.join(SPLITS)}")
        # The name becomes part of a path that is written to.
        if one.file != PurePosixPath(one.file).name or not one.stem or not one.file.endswith(".jpg"):
            raise PrefPaintError(f"{path}, row {number}: {one.file!r} is not a plain file name that ends in .jpg")
        listed.append(one)
    return listed


def choose_splits(stems: Iterable[str], alike: Iterable[Sequence[str]] = ALIKE) -> dict[str, str]:
    """Divide photographs among the splits, the same way on every machine.

    The order is that of the SHA-256 of the stems: the first 40 are held out, the next 24 are for validation, the
    rest is for training. Photographs that look alike stay together, at the place of the last of them.

    Args:
        stems: unique names of the photographs.
        alike: disjoint groups of stems that must share a split; stems that are not among `stems` are ignored.

    Returns:
        The split of each stem, in the order of the hashes.
    """
    order = sorted(stems, key=lambda stem: sha256(stem.encode()).hexdigest())
    place = {stem: number for number, stem in enumerate(order)}
    groups = {stem: [stem] for stem in order}
    for group in alike:
        members = sorted((stem for stem in group if stem in place), key=place.__getitem__)
        groups.update(dict.fromkeys(members, members))
    free = dict(SIZES)
    splits = {}
    for stem in order:
        group = groups[stem]
        if stem != group[-1]:
            continue
        split = next((name for name, room in free.items() if room >= len(group)), "train")
        if split in free:
            free[split] -= len(group)
        splits.update(dict.fromkeys(group, split))
    return {stem: splits[stem] for stem in order}


class QtResources:
    """Read access to a Qt resource archive (.rcc), versions 1 to 3.

    Args:
        path: of the archive.

    Raises:
        PrefPaintError: the file is not such an archive or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            data = path.read_bytes()
        except OSError as error:
            raise self._damaged(error.strerror or str(error)) from error
        if data[:4] != b"qres":
            raise PrefPaintError(f"{path}: is not a Qt resource archive")
        try:
            self._entries = dict(self._walk(data))
        except (struct.error, UnicodeDecodeError) as error:
            raise self._damaged(str(error)) from error

    def names(self) -> list[str]:
        """Paths of the files in the archive, each beginning with a slash, in the order of the archive."""
        return list(self._entries)

    def read(self, name: str) -> bytes:
        """Content of one file, decompressed.

        Raises:
            KeyError: the archive holds no such file.
            PrefPaintError: the archive is damaged or uses an unknown compression.
        """
        flags, offset = self._entries[name]
        try:
            with open(self.path, "rb") as file:
                file.seek(offset)
                (size,) = struct.unpack(">I", file.read(4))
                content = file.read(size)
            if len(content) < size:
                raise self._damaged(f"{name} ends too early")
            if flags & RCC_ZLIB:
                # Qt puts the decompressed size, four bytes, before the zlib stream.
                return zlib.decompress(content[4:])
            return _zstd(content) if flags & RCC_ZSTD else content
        except (OSError, struct.error, zlib.error) as error:
            raise self._damaged(f"{name}: {error}") from error

    def _walk(self, data: bytes) -> Iterator[tuple[str, tuple[int, int]]]:
        """Every file's path with its flags and the offset of its content, which begins with its size."""
        version, tree, contents, names = struct.unpack_from(">4I", data, 4)
        if not 1 <= version <= 3:
            raise PrefPaintError(f"{self.path}: is a Qt resource archive of version {version}, which is unknown")
        # From version 2 on, a node ends with the file's time of change.
        node_size = 14 if version == 1 else 22
        seen: set[int] = set()
        waiting = [(0, "")]
        while waiting:
            number, path = waiting.pop()
            if number in seen:
                raise self._damaged("its folders form a circle")
            seen.add(number)
            at = tree + number * node_size
            name_at, flags = struct.unpack_from(">IH", data, at)
            if number:
                (length,) = struct.unpack_from(">H", data, names + name_at)
                # Between the length and the name lies a hash of the name.
                start = names + name_at + 6
                path = f"{path}/{data[start : start + 2 * length].decode('utf-16-be')}"
            if flags & RCC_FOLDER:
                count, first = struct.unpack_from(">II", data, at + 6)
                if count > len(data):
                    raise self._damaged("a folder has more files than the archive has bytes")
                waiting += [(child, path) for child in reversed(range(first, first + count))]
            else:
                # Language and territory come first; they do not matter here.
                (offset,) = struct.unpack_from(">I", data, at + 10)
                yield path, (flags, contents + offset)

    def _damaged(self, reason: str) -> PrefPaintError:
        return PrefPaintError(f"{self.path}: is a damaged Qt resource archive ({reason})")


def _zstd(content: bytes) -> bytes:
    import pyarrow as pa

    with pa.input_stream(pa.BufferReader(content), compression="zstd") as stream:
        return bytes(stream.read())


class UnpackedPackage:
    """Finds files in the folder that a package was unpacked into, and in the Qt resource archives there.

    Args:
        folder: what `dpkg-deb -x` filled.

    Raises:
        PrefPaintError: a Qt resource archive is damaged.
    """

    def __init__(self, folder: Path) -> None:
        # By the last part of the path; plain files come before those of archives.
        self._places: dict[str, list[tuple[str, QtResources | Path]]] = {}
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        for path in files:
            self._places.setdefault(path.name, []).append((f"/{path.relative_to(folder).as_posix()}", path))
        for path in files:
            if path.suffix == ".rcc":
                archive = QtResources(path)
                for name in archive.names():
                    self._places.setdefault(PurePosixPath(name).name, []).append((name, archive))

    def read(self, path: str) -> bytes | None:
        """Content of the first file whose path ends with `path`, or None if there is none.

        Raises:
            PrefPaintError: the archive that holds the file is damaged.
        """
        for name, place in self._places.get(PurePosixPath(path).name, []):
            if name.endswith(f"/{path}"):
                return place.read(name) if isinstance(place, QtResources) else place.read_bytes()
        return None


def find_package(package: str, folder: Path) -> Path | None:
    """The file of a package in a folder, or None; of several versions the one that was put there last."""
    found = [path for path in folder.glob(f"{package}_*.deb") if path.is_file()]
    return max(found, key=lambda path: (path.stat().st_mtime_ns, path.name), default=None)


def get_package(package: str, folder: Path) -> Path:
    """The file of a package in a folder; `apt-get` downloads it where it is missing, which needs no root.

    Raises:
        PrefPaintError: apt-get is not installed, it does not have the package, or the folder cannot be written.
    """
    found = find_package(package, folder)
    if found is not None:
        return found
    if shutil.which("apt-get") is None:
        raise PrefPaintError(
            f"{package}: no {package}_*.deb was found in {folder}, and this machine has no apt-get to download it; "
            "put the file there, for instance from https://packages.debian.org, or run this on Debian"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # apt-get writes into the current folder; an interrupted download must not look like a package.
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as temporary:
            done = subprocess.run(
                ["apt-get", "download", "--quiet", package], cwd=temporary, capture_output=True, text=True, check=False
            )
            got = find_package(package, Path(temporary))
            if done.returncode or got is None:
                raise PrefPaintError(
                    f"{package}: apt-get cannot download it ({_reason(done.stderr)}); run `apt-get update` and try "
                    f"again on Debian 12, or put its .deb file into {folder}"
                )
            os.replace(got, folder / got.name)
    except OSError as error:
        raise PrefPaintError(f"{folder}: cannot be written ({error.strerror}); give another --packages") from error
    return folder / got.name


def unpack(package: Path, folder: Path) -> None:
    """Unpack the files of a .deb into a folder; nothing of it is installed.

    Raises:
        PrefPaintError: dpkg-deb is not installed, or the package is damaged.
    """
    if shutil.which("dpkg-deb") is None:
        raise PrefPaintError(f"{package}: dpkg-deb is needed to unpack it; install dpkg, or run this on Debian")
    done = subprocess.run(["dpkg-deb", "-x", package, folder], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PrefPaintError(
            f"{package}: dpkg-deb cannot unpack it ({_reason(done.stderr)}); remove the file to download it again"
        )


def _reason(errors: str) -> str:
    """The last line a Debian tool wrote."""
    lines = errors.strip().splitlines()
    return lines[-1].removeprefix("E: ").removeprefix("dpkg-deb: error: ") if lines else "it does not say why"


def read_reduced(path: Path, shortest_side: int) -> Image.Image:
    """Decode an image as upright 8-bit RGB whose shortest side has at most `shortest_side` pixels.

    Raises:
        PrefPaintError: the file is not an image, is damaged, or is too small or too large to use.
    """
    try:
        with Image.open(path) as opened:
            width, height = opened.size
    except (OSError, Image.DecompressionBombError) as error:
        raise PrefPaintError(f"{path}: cannot be read as an image ({error})") from error
    return read_image(path, round(shortest_side * max(width, height) / min(width, height)))


def download_photographs(
    out: Path,
    packages: Path,
    shortest_side: int = SHORTEST_SIDE,
    listed: Sequence[ListedPhotograph] | None = None,
) -> Downloaded:
    """Write the listed photographs to out/train, out/validation and out/held_out, and their list to out/licences.csv.

    Existing pictures stay as they are, but for those that are cut short, and only packages of missing ones are needed.
    A picture that its package does not hold, as may happen with another version, is skipped with a warning.

    Args:
        out: folder to fill.
        packages: folder with .deb files; packages that are missing are downloaded into it.
        shortest_side: pixels; larger pictures are reduced to it, none is enlarged.
        listed: what to take; None for the whole list of the project.

    Raises:
        PrefPaintError: a package cannot be obtained or unpacked, a folder cannot be written, or `out` holds pictures of
            another shortest side.
    """
    listed = read_list() if listed is None else listed
    _keep_side(out, shortest_side)
    targets = {one: out / one.split / f"{one.stem}.jpg" for one in listed}
    wanted: dict[str, list[ListedPhotograph]] = {}
    for one, target in targets.items():
        _move_here(target, out)
        if not _is_whole(target):
            wanted.setdefault(one.package, []).append(one)
    todo = sum(map(len, wanted.values()))
    with Progress("photographs", len(listed), done=len(listed) - todo) as progress:
        for package, ones in wanted.items():
            file = get_package(package, packages)
            with tempfile.TemporaryDirectory(prefix="prefpaint-") as temporary:
                # The picture is decoded outside the package's tree, where it can overwrite nothing.
                folder, picture = Path(temporary) / "package", Path(temporary) / "picture"
                unpack(file, folder)
                unpacked = UnpackedPackage(folder)
                for one in ones:
                    _write_photograph(one, unpacked, picture, targets[one], shortest_side)
                    progress.step()
    present = [one for one, target in targets.items() if target.exists()]
    with whole_file(out / "licences.csv") as temporary_list:
        write_list(present, temporary_list)
    counts = {split: sum(one.split == split for one in present) for split in SPLITS}
    return Downloaded(counts, [one.file for one, target in targets.items() if not target.exists()])


def write_list(listed: Iterable[ListedPhotograph], path: Path) -> None:
    """Write rows that `read_list` reads."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(one) for one in listed)


def _write_photograph(
    one: ListedPhotograph, unpacked: UnpackedPackage, picture: Path, target: Path, shortest_side: int
) -> None:
    """Write one picture, or warn that it is skipped."""
    content = unpacked.read(one.path)
    if content is None:
        logger.warning("%s: package %s holds no %s; the picture is skipped", one.file, one.package, one.path)
        return
    picture.write_bytes(content)
    try:
        image = read_reduced(picture, shortest_side)
    except PrefPaintError:
        logger.warning(
            "%s: %s of package %s cannot be used as an image; it is skipped", one.file, one.path, one.package
        )
        return
    with whole_file(target) as temporary:
        image.save(temporary, "JPEG", quality=QUALITY)


def _is_whole(picture: Path) -> bool:
    """Whether a JPEG file is there to its end, and not only what a full disk or a copy left of it."""
    return picture.exists() and picture.read_bytes().endswith(JPEG_END)


def _move_here(target: Path, out: Path) -> None:
    """Take a picture out of another split's folder, where an earlier version of the list had it.

    Otherwise it would both be trained on and be used to judge the result.
    """
    for split in SPLITS:
        other = out / split / target.name
        if other != target and other.exists():
            target.parent.mkdir(exist_ok=True)
            os.replace(other, target)


def _keep_side(out: Path, shortest_side: int) -> None:
    """Remember the size of a folder's pictures, so that a later run does not mix two sizes."""
    record = out / "shortest_side.txt"
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PrefPaintError(f"{out}: cannot be made ({error.strerror}); give another folder") from error
    if record.exists():
        before = record.read_text().strip()
        if before != str(shortest_side):
            raise PrefPaintError(
                f"{out}: holds pictures of --shortest-side {before}; give that, or another folder for {shortest_side}"
            )
        return
    with whole_file(record) as temporary:
        temporary.write_text(f"{shortest_side}\n")
