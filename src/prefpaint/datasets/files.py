"""Tables, JSON, text and figures as whole files; the same content gives the same bytes."""

import base64
import json
from pathlib import Path
from typing import Any, NewType

import pandas as pd

from prefpaint.datasets.base import FileDataset

FIGURE_DPI = 110
# Kedro-Viz chooses how to show a preview by the name of its type; no package offers these types publicly.
TablePreview = NewType("TablePreview", dict[str, Any])
JSONPreview = NewType("JSONPreview", str)
ImagePreview = NewType("ImagePreview", str)


class TableDataset(FileDataset):
    """A pandas table as Parquet, or as CSV if the file name says so: those that `dvc plots` draws."""

    def _read(self, path: Path) -> pd.DataFrame:
        if self._filepath.suffix == ".csv":
            return pd.read_csv(path, float_precision="round_trip")
        return pd.read_parquet(path)

    def _write(self, data: pd.DataFrame, path: Path) -> None:
        if self._filepath.suffix == ".csv":
            data.to_csv(path, index=False)
        else:
            data.to_parquet(path, index=False)

    def preview(self, nrows: int = 10) -> TablePreview:
        """The first rows, for Kedro-Viz."""
        return TablePreview(json.loads(self._read(self._filepath).head(nrows).to_json(orient="split")))


class JSONDataset(FileDataset):
    """Numbers, strings and containers of them as JSON, keys in order."""

    def _read(self, path: Path) -> Any:
        return json.loads(path.read_text(encoding="utf-8"))

    def _write(self, data: Any, path: Path) -> None:
        path.write_text(json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")

    def preview(self) -> JSONPreview:
        """The whole file, for Kedro-Viz."""
        return JSONPreview(json.dumps(self._read(self._filepath)))


class TextDataset(FileDataset):
    """Text of any kind: HTML, Markdown."""

    def _read(self, path: Path) -> str:
        return path.read_text(encoding="utf-8")

    def _write(self, data: str, path: Path) -> None:
        path.write_text(data, encoding="utf-8")


class BytesDataset(FileDataset):
    """A file of a format that something else wrote in memory: meshes, point clouds."""

    def _read(self, path: Path) -> bytes:
        return path.read_bytes()

    def _write(self, data: bytes, path: Path) -> None:
        path.write_bytes(data)


class FigureDataset(FileDataset):
    """A Matplotlib figure saved as PNG; loads as the file's bytes, to be put into a page."""

    def _read(self, path: Path) -> bytes:
        return path.read_bytes()

    def _write(self, data: Any, path: Path) -> None:
        # Matplotlib would write its version into the file.
        data.savefig(path, format="png", dpi=FIGURE_DPI, metadata={"Software": None})

    def preview(self) -> ImagePreview:
        """The picture, for Kedro-Viz."""
        return ImagePreview(base64.b64encode(self._filepath.read_bytes()).decode())
