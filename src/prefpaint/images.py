"""Folders of PNG images that are filled item by item and survive a kill."""

import io
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from prefpaint import distributed
from prefpaint.errors import PrefPaintError
from prefpaint.files import whole_file

logger = logging.getLogger(__name__)

MARKER = "fingerprint.txt"
# What every PNG file ends with: an empty chunk and its checksum.
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"


class ImageFolder(Mapping[str, np.ndarray]):
    """Read-only view of a folder of PNG files; images are decoded one at a time, on access.

    Keys are file names without the ending; values are (H, W, 3) uint8, (H, W) uint16 for 16-bit files (depth
    maps), or (H, W) uint8 in {0, 1} for masks (files hold 0 and 255).

    Args:
        path: the folder.
        masks: whether the files are masks.
    """

    def __init__(self, path: Path, masks: bool = False) -> None:
        self.path, self.masks = Path(path), masks

    def file(self, key: str) -> Path:
        """Path of an image, whether or not it exists."""
        return self.path / f"{key}.png"

    def __getitem__(self, key: str) -> np.ndarray:
        path = self.file(key)
        if not path.exists():
            raise KeyError(key)
        try:
            with Image.open(path) as image:
                if self.masks:
                    return (np.asarray(image.convert("L")) >= 128).astype(np.uint8)
                if image.mode == "I;16":
                    return np.asarray(image, dtype=np.uint16)
                return np.asarray(image.convert("RGB"))
        except (OSError, SyntaxError, ValueError) as error:
            raise self._damaged(key, error) from error

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(path.stem for path in self.path.glob("*.png") if not path.name.startswith(".")))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.file(key).exists()

    def stack(self, keys: Iterable[str]) -> np.ndarray:
        """Several images of one size as (N, H, W, 3) or (N, H, W) uint8.

        Raises:
            PrefPaintError: an image is missing.
        """
        try:
            return np.stack([self[key] for key in keys])
        except KeyError as error:
            raise PrefPaintError(f"{self.file(error.args[0])}: is missing; run its pipeline again") from error

    def size(self, key: str) -> tuple[int, int]:
        """Width and height of an image in pixels, without decoding it."""
        try:
            with Image.open(self.file(key)) as image:
                return image.size
        except (OSError, SyntaxError, ValueError) as error:
            raise self._damaged(key, error) from error

    def _damaged(self, key: str, error: Exception) -> PrefPaintError:
        return PrefPaintError(f"{self.file(key)}: is damaged ({error}); remove it and run its pipeline again")

    def batches(self, keys: Sequence[str], size: int) -> list[np.ndarray]:
        """Places of keys, int64, in batches of at most `size` images of one shape.

        Shapes in the order of their first image, places of a shape in their own order.

        Raises:
            PrefPaintError: an image is missing.
        """
        of_shape: dict[tuple[int, int], list[int]] = {}
        for place, shape in enumerate(self.shapes(keys)):
            of_shape.setdefault(shape, []).append(place)
        return [
            np.array(places[start : start + size])
            for places in of_shape.values()
            for start in range(0, len(places), size)
        ]

    def shapes(self, keys: Sequence[str]) -> list[tuple[int, int]]:
        """Height and width of images in pixels, without decoding them.

        Raises:
            PrefPaintError: an image is missing.
        """
        found: dict[str, tuple[int, int]] = {}
        for key in keys:
            if key not in found:
                if key not in self:
                    raise PrefPaintError(f"{self.file(key)}: is missing; run its pipeline again")
                found[key] = self.size(key)[::-1]
        return [found[key] for key in keys]

    def checksum(self, key: str) -> str:
        """SHA-256 of the file's bytes, hexadecimal.

        Raises:
            PrefPaintError: the image is missing or damaged, so that nothing is recorded of half a file.
        """
        content = self._content(key)
        try:
            _check_png(content)
        except (OSError, SyntaxError, ValueError) as error:
            raise self._damaged(key, error) from error
        return sha256(content).hexdigest()

    def is_whole(self, key: str) -> bool:
        """Whether an image is there from its first byte to its last, by the checksums in the file.

        Nothing is decoded: this costs little more than reading the file.
        """
        if key not in self:
            return False
        try:
            _check_png(self.file(key).read_bytes())
        except (OSError, SyntaxError, ValueError):
            return False
        return True

    def _content(self, key: str) -> bytes:
        try:
            return self.file(key).read_bytes()
        except FileNotFoundError as error:
            raise PrefPaintError(f"{self.file(key)}: is missing; run its pipeline again") from error
        except OSError as error:
            raise self._damaged(key, error) from error


def _check_png(content: bytes) -> None:
    """Hold every chunk of a PNG file against its checksum.

    Raises:
        OSError, SyntaxError, ValueError: the file is cut short, damaged or no PNG.
    """
    if not content.endswith(PNG_END):
        raise ValueError("its end is missing")
    # Pillow checks what precedes the first pixels when it opens a file, and the rest here.
    with PngImagePlugin.PngImageFile(io.BytesIO(content)) as image:
        image.verify()


def in_order(places: Sequence[np.ndarray], parts: Sequence[np.ndarray]) -> np.ndarray:
    """Results of `ImageFolder.batches`, (n, …) each, joined in the order of the keys: (N, …)."""
    return np.concatenate(parts)[np.argsort(np.concatenate(places))]


@dataclass(frozen=True)
class ImageWork:
    """Images to be made, lazily: the dataset that saves them requests only those it lacks.

    Attributes:
        fingerprint: of everything the images depend on; when it differs, earlier images are thrown away. Where
            images depend on different things, one for each key.
        keys: of all images.
        produce: given the keys still missing, yields (key, image) in any order, images as in `ImageFolder`.
        processes: how many processes to start for it on this machine.
    """

    fingerprint: str | Mapping[str, str]
    keys: Sequence[str]
    produce: Callable[[Sequence[str]], Iterable[tuple[str, np.ndarray]]]
    processes: int = 1


def complete_folder(folder: ImageFolder, work: ImageWork) -> None:
    """Make the images of `work` that the folder lacks; leave exactly those of `work` in it.

    A killed call leaves whole images only; the next one makes the rest. An image that a full disk or a copy cut short
    or damaged is made again, with a warning. Where several processes call this, each makes its share, and all return
    when the folder is complete.

    Raises:
        PrefPaintError: the disk is full.
    """
    if work.processes > 1 and distributed.processes() == 1:
        distributed.launch(lambda: complete_folder(folder, work), work.processes, folder.path.name)
        return
    if distributed.is_main():
        _prepare(folder, work)
    distributed.barrier()
    missing = [key for key in work.keys if key not in folder]
    distributed.barrier()  # All processes have looked before any of them writes.
    mine = distributed.share(missing)
    if mine:
        for key, image in work.produce(mine):
            write_image(folder.file(key), image)
    distributed.barrier()


def _prepare(folder: ImageFolder, work: ImageWork) -> None:
    """Remove what does not belong to some work, and mark the folder as its own."""
    folder.path.mkdir(parents=True, exist_ok=True)
    marker = folder.path / MARKER
    if isinstance(work.fingerprint, str):
        marks = dict.fromkeys(work.keys, work.fingerprint)
        lines = [work.fingerprint]
    else:
        marks = {key: f"{work.fingerprint[key]} {key}" for key in work.keys}
        lines = sorted(marks.values())
    before = marker.read_text().splitlines() if marker.exists() else []
    known = set(before)
    damaged = []
    for path in sorted(folder.path.iterdir()):
        kept = path.suffix != ".png" or marks.get(path.stem) in known
        if path.name.startswith(".") or not kept:
            path.unlink()
        elif path.suffix == ".png" and not folder.is_whole(path.stem):
            damaged.append(path.name)
            path.unlink()
    if damaged:
        logger.warning(
            "%s: %d pictures are damaged or cut short (first %s) and are made again",
            folder.path,
            len(damaged),
            damaged[0],
        )
    if before != lines or not marker.exists():
        with whole_file(marker) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines))


def write_image(path: Path, image: np.ndarray) -> None:
    """Write (H, W, 3) uint8, (H, W) uint16, or an (H, W) uint8 mask in {0, 1}, as PNG, whole or not at all."""
    is_mask = image.ndim == 2 and image.dtype == np.uint8
    picture = Image.fromarray(image * np.uint8(255) if is_mask else image)
    with whole_file(path) as temporary:
        picture.save(temporary, format="PNG")
