"""A user's own masks and words: whose they are, and what becomes of the photographs."""

from pathlib import Path

import numpy as np
import pytest

from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder, complete_folder
from prefpaint.photographs.collection import photograph_key, photograph_names, photograph_regions, photograph_work
from prefpaint.photographs.config import PhotographsConfig
from tests.photographs.annotated import BOXES, HEIGHT, NAMES, WIDTH, hole, make_photographs, read, save_masks


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four photographs."""
    return make_photographs(tmp_path / "mine")


def test_a_folder_of_masks_with_the_photographs_names(folder: Path, tmp_path: Path) -> None:
    masks = save_masks(tmp_path / "masks", ["a.png", "b c_1.png", "sub/d.png", "sub/é.png"])
    save_masks(masks, ["b c-other.png", "nobody.png"])
    table, skipped, holes = read(PhotographsConfig(folder=folder, masks=masks), tmp_path)
    assert list(table["key"]) == [photograph_key(NAMES[number]) for number in (0, 1, 1, 2, 3)]
    assert list(table["annotation"].str[-3:]) == ["__0", "__0", "__1", "__0", "__0"]
    np.testing.assert_array_equal(holes[table["annotation"][0]], hole(0))
    first = table.iloc[0]
    assert tuple(first[["left", "top", "right", "bottom"]]) == BOXES[0] and first["text_prompt"] == ""
    assert skipped == [f"{masks}/nobody.png: no photograph has the name of this mask; rename it"]


def test_black_is_repainted_where_that_is_the_habit(folder: Path, tmp_path: Path) -> None:
    masks = save_masks(tmp_path / "masks", ["a.png"], invert=True)
    _, _, holes = read(PhotographsConfig(folder=folder, masks=masks, invert_masks=True), tmp_path)
    np.testing.assert_array_equal(*holes.values(), hole(0))


@pytest.mark.parametrize("inside", [True, False])
def test_masks_inside_the_folder_are_no_photographs(folder: Path, tmp_path: Path, inside: bool) -> None:
    if inside:
        config = PhotographsConfig(folder=folder, masks=save_masks(folder / "masks", ["a.png"]))
    else:
        save_masks(folder, ["a_mask.png"])
        (folder / "metadata.jsonl").write_text('{"file_name": "a.jpg", "mask": "a_mask.png", "text": "a cat"}\n')
        config = PhotographsConfig(folder=folder, annotations=folder / "metadata.jsonl")
    assert photograph_names(config) == NAMES
    table, skipped, _ = read(config, tmp_path)
    assert len(table) == 1 and skipped == []


def test_words_of_a_table_go_with_masks_of_a_folder(folder: Path, tmp_path: Path) -> None:
    masks = save_masks(tmp_path / "masks", ["a.png", "b c.png"])
    (tmp_path / "words.csv").write_text("image,text_prompt\na.jpg,a cat\nsub/d.webp,a roof\nb c.png,\n")
    config = PhotographsConfig(folder=folder, masks=masks, annotations=tmp_path / "words.csv")
    table, skipped, _ = read(config, tmp_path)
    holes = table[table["annotation"] != ""]
    assert list(holes["text_prompt"]) == ["a cat", ""] and skipped == []
    assert list(table.loc[table["annotation"] == "", "text_prompt"]) == ["a cat", "a roof"]


def test_masks_need_photographs_of_ones_own(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="masks and annotations go with photographs of your own; set folder"):
        PhotographsConfig(masks=tmp_path)


def test_annotated_photographs_are_never_cut(folder: Path, tmp_path: Path) -> None:
    masks = save_masks(tmp_path / "masks", ["a.png"])
    config = PhotographsConfig(folder=folder, masks=masks)
    photographs = ImageFolder(tmp_path / "photographs")
    complete_folder(photographs, photograph_work(config))
    regions, _ = photograph_regions(config, photographs)
    assert sorted(regions["split"]) == ["test", "train", "unseen", "validation"]
    assert (regions["right"] == WIDTH).all() and (regions["bottom"] == HEIGHT).all()
    (folder / "a.jpg").unlink()
    complete_folder(photographs, photograph_work(config))
    with pytest.raises(
        PrefPaintError, match=r"3 readable images are too few where there are masks or words, or .* at least 4"
    ):
        photograph_regions(config, photographs)
