"""Animations as GIF and MP4."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from prefpaint.animations import write_animation
from prefpaint.datasets.base import FileDataset


class AnimationDataset(FileDataset):
    """Frames, each (H, W, 3) uint8 and of one size, as a GIF or an MP4; loads as the file's bytes.

    The file ending decides. Frames are any iterable, such as the values of an `ImageFolder`; see
    `animations.write_animation`.
    """

    def _read(self, path: Path) -> bytes:
        return path.read_bytes()

    def _write(self, data: Iterable[np.ndarray], path: Path) -> None:
        write_animation(data, path, self._filepath)
