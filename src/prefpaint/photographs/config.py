"""Where photographs come from and how they are divided."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from prefpaint.config import Config


class PhotographsConfig(Config):
    """Source and split of the photographs that prompts are cut from."""

    folder: Path | None = Field(
        None,
        description="Your own folder of images (searched recursively). Empty: the eight colour photographs "
        "that the scikit-image, scikit-learn and matplotlib wheels carry.",
    )
    source: str = Field(
        "embedded",
        min_length=1,
        description="Name of this collection. Scores are normalised per (source, pattern).",
    )
    masks: Path | None = Field(
        None,
        description="Folder of masks named as their photographs, white where to repaint: holes of kind `own`. "
        "`tree_1.png` and `tree_2.png` are two holes of `tree.jpg`.",
    )
    annotations: Path | None = Field(
        None,
        description="Table of holes and words: CSV, Excel, JSONL or Parquet with columns image, mask and text_prompt "
        "(the last two may be empty), or COCO's JSON of objects or captions.",
    )
    invert_masks: bool = Field(False, description="Masks are black where to repaint.")
    objects: Literal["each", "together"] = Field(
        "each", description="Of COCO's JSON: a hole for each object, or one for all objects of a picture."
    )
    categories: tuple[str, ...] = Field((), description="Of COCO's JSON: categories to use. Empty: all.")
    category_words: bool = Field(
        True, description="Of COCO's JSON: the category's name is the hole's text. False to have objects removed."
    )
    on_unreadable: Literal["skip", "stop"] = Field(
        "skip", description="When an image cannot be read: skip: list it by name and continue; stop: stop the run."
    )
    size: int | tuple[int, int] | Literal["native"] = Field(
        64,
        description="Size of the images everything works on, in pixels: a side for squares; [height, width]; or "
        "native: each photograph whole, at its own shape and resolution (`longest_side`), but for a rim that leaves "
        "multiples of 16. Pictures are batched with others of their shape, so native is fast where few shapes are "
        "frequent. Cost grows with the number of pixels.",
    )
    split: dict[Literal["train", "validation", "test"], float] = Field(
        {"train": 0.66, "validation": 0.12, "test": 0.22},
        description="Shares of the photographs that are rated. Where there are too few to divide, each is cut into "
        "three regions instead. Either way no pixel belongs to two splits.",
    )
    unseen: float = Field(
        0.35,
        gt=0,
        lt=1,
        description="Share of all photographs, at least one, that is set aside first for the unseen prompts: nothing "
        "is rated, trained or chosen on them.",
    )
    near_duplicates: Literal["together", "ignore"] = Field(
        "together",
        description="Photographs that are the same picture re-encoded, resized, trimmed a little, turned or mirrored. "
        "together: each such group goes to one split as a whole, and one of a group is used where photographs are cut "
        "into regions; every photograph is read once more for it. ignore: they are divided like any others, and a "
        "picture that is trained on may be tested on.",
    )
    crop_side: tuple[int, int] = Field(
        (80, 160),
        description="Smallest and largest longer side of the crops, in photograph pixels, before they are resized to "
        "`size`. [0, 0]: the largest centred crop of each photograph. Without effect where `size` is native.",
    )
    longest_side: int = Field(
        1024,
        ge=64,
        description="Larger photographs are reduced to this before anything is cut from them; costs disk.",
    )

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width of the images; None where each has its own."""
        if self.size == "native":
            return None
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)

    @property
    def annotated(self) -> bool:
        """Whether the user brings holes or words."""
        return self.masks is not None or self.annotations is not None

    @field_validator("size", mode="before")
    @classmethod
    def _check_size(cls, size: Any) -> Any:
        sides = list(size) if isinstance(size, list | tuple) else [size]
        whole = all(isinstance(side, int) and side >= 16 and side % 8 == 0 for side in sides)
        if size != "native" and not (whole and len(sides) in (1, 2) and isinstance(size, int) == (len(sides) == 1)):
            raise ValueError("must be a side, [height, width], or native; sides are multiples of 8, at least 16")
        return size

    @model_validator(mode="after")
    def _check(self) -> "PhotographsConfig":
        if self.annotated and self.folder is None:
            raise ValueError("masks and annotations go with photographs of your own; set folder")
        if self.masks is not None and self.folder is not None:
            folder, masks = self.folder.resolve(), self.masks.resolve()
            if folder.is_relative_to(masks):
                raise ValueError("masks must be a folder of its own, beside the images or inside their folder")
        if abs(sum(self.split.values()) - 1) > 1e-6 or min(self.split.values()) <= 0 or len(self.split) != 3:
            raise ValueError("split needs a positive share for train, validation and test, adding up to 1")
        low, high = self.crop_side
        if (low, high) != (0, 0) and not 8 <= low <= high:
            raise ValueError("crop_side needs 8 <= smallest <= largest, or [0, 0] for centred crops")
        return self
