"""Model folders, replaced as a whole."""

from pathlib import Path
from typing import Any, Literal

from kedro.utils import load_obj

from prefpaint.datasets.base import PathDataset
from prefpaint.errors import PrefPaintError
from prefpaint.files import whole_folder


class DiffusersPipelineDataset(PathDataset):
    """A diffusers inpainting checkpoint: a folder or, for loading only, a hub id.

    Loads as a pipeline of its family's diffusers class in float32 on the CPU; saves any diffusers pipeline.

    Args:
        filepath: the folder.
        hub_id: instead of `filepath`: an id on the Hugging Face hub.
        dtype: of the saved weights; float16 halves the files.
        metadata: for plugins such as Kedro-Viz; ignored here.
    """

    def __init__(
        self,
        filepath: str = "",
        hub_id: str = "",
        dtype: Literal["float32", "float16"] = "float32",
        metadata: dict[str, Any] | None = None,
    ) -> None:
        if bool(filepath) == bool(hub_id):
            raise ValueError("give either filepath (a folder) or hub_id")
        super().__init__(filepath, metadata)
        self._hub_id, self._dtype = hub_id, dtype

    def load(self) -> Any:
        """Load the checkpoint.

        Raises:
            PrefPaintError: it is missing, incomplete, damaged, or not an inpainting checkpoint.
        """
        from prefpaint.inpainting.checkpoint import load_pipeline

        return load_pipeline(self._hub_id or self._filepath)

    def _put(self, data: Any) -> None:
        from prefpaint.inpainting.checkpoint import save_pipeline

        if self._hub_id:
            raise PrefPaintError(f"{self._hub_id}: a hub checkpoint cannot be saved to; give a filepath")
        with whole_folder(self._filepath) as temporary:
            save_pipeline(data, temporary, self._dtype)

    def _exists(self) -> bool:
        return bool(self._hub_id) or (self._filepath / "model_index.json").exists()

    def _describe(self) -> dict[str, Any]:
        return {"hub_id": self._hub_id} if self._hub_id else super()._describe()


class ReleaseDataset(PathDataset):
    """A diffusers checkpoint with its model card: saves (pipeline, README.md's text), loads the pipeline."""

    def load(self) -> Any:
        """Load the checkpoint.

        Raises:
            PrefPaintError: it is missing or incomplete.
        """
        from prefpaint.inpainting.checkpoint import load_pipeline

        return load_pipeline(self._filepath)

    def _put(self, data: Any) -> None:
        from prefpaint.inpainting.checkpoint import save_pipeline

        pipe, card = data
        with whole_folder(self._filepath) as temporary:
            save_pipeline(pipe, temporary)
            (temporary / "README.md").write_text(card, encoding="utf-8")


class PretrainedDataset(PathDataset):
    """A model with `save_pretrained(folder)` and `from_pretrained(folder)`.

    Args:
        filepath: the folder.
        model: dotted path of the model's class, imported when the dataset is used.
        metadata: for plugins such as Kedro-Viz; ignored here.
    """

    def __init__(self, filepath: str, model: str, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(filepath, metadata)
        self._model = model

    def load(self) -> Any:
        """Load the model.

        Raises:
            PrefPaintError: the folder is missing.
        """
        if not self._exists():
            raise PrefPaintError(f"{self._filepath}: is missing; run its pipeline or `dvc pull`")
        return load_obj(self._model).from_pretrained(self._filepath)

    def _put(self, data: Any) -> None:
        with whole_folder(self._filepath) as temporary:
            data.save_pretrained(Path(temporary))

    def _describe(self) -> dict[str, Any]:
        return {**super()._describe(), "model": self._model}
