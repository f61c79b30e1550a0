"""Holes and words in COCO's JSON."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prefpaint.errors import PrefPaintError
from prefpaint.photographs.config import PhotographsConfig
from tests.photographs.annotated import BOXES, HEIGHT, NAMES, WIDTH, hole, make_photographs, read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four photographs."""
    return make_photographs(tmp_path / "mine")


def coco(**changed: Any) -> dict[str, Any]:
    """The four holes as COCO's JSON: a polygon, run lengths, and captions."""
    images = [{"id": n, "file_name": name, "width": WIDTH, "height": HEIGHT} for n, name in enumerate(NAMES)]
    objects: list[dict[str, Any]] = []
    for number, (left, top, right, bottom) in enumerate(BOXES[:3]):
        segmentation: Any = [[left, top, right, top, right, bottom, left, bottom]]
        if number == 1:
            columns = [(HEIGHT - (bottom - top), bottom - top)] * (right - left)
            runs = [left * HEIGHT + top]
            for n, (outside, inside) in enumerate(columns):
                runs += (
                    [inside, outside] if n < len(columns) - 1 else [inside, HEIGHT * (WIDTH - right) + HEIGHT - bottom]
                )
            segmentation = {"size": [HEIGHT, WIDTH], "counts": runs}
        objects.append(
            {"id": 100 + number, "image_id": number, "category_id": number % 2, "segmentation": segmentation}
        )
    return {
        "images": images,
        "annotations": objects,
        "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}],
        **changed,
    }


def test_cocos_objects_are_holes_and_its_categories_words(folder: Path, tmp_path: Path) -> None:
    given = coco()
    given["annotations"].append({"id": 7, "image_id": 3, "caption": "the sea"})
    given["annotations"].append({**given["annotations"][1], "id": 8, "image_id": 0})
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(given))
    config = PhotographsConfig(folder=folder, annotations=path)
    table, skipped, holes = read(config, tmp_path)
    assert skipped == [] and list(table["text_prompt"]) == ["cat", "dog", "dog", "cat", "the sea"]
    for number in (1, 2):
        np.testing.assert_array_equal(holes[table["annotation"][number]], hole(1))
    drawn = holes[table["annotation"][0]]
    # PIL draws a polygon's edge pixels, too.
    assert 0 <= drawn.sum() - hole(0).sum() <= 20 and (drawn >= hole(0)).all()

    together, _, holes = read(config.model_copy(update={"objects": "together"}), tmp_path)
    assert list(together["text_prompt"]) == ["cat, dog", "dog", "cat", "the sea"]
    assert (holes[together["annotation"][0]] >= hole(0) | hole(1)).all()
    dogs, _, _ = read(config.model_copy(update={"categories": ("dog",), "category_words": False}), tmp_path)
    assert list(dogs["text_prompt"]) == ["", "", "the sea"]
    with pytest.raises(PrefPaintError, match=r"photographs\.categories: horse not in .*, which has cat, dog"):
        read(config.model_copy(update={"categories": ("horse",)}), tmp_path)
