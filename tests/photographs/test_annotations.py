"""A user's own masks and words: every way in which they are kept, and everything that can be wrong with them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder, complete_folder
from prefpaint.photographs.collection import photograph_key, photograph_names, photograph_regions, photograph_work
from prefpaint.photographs.config import PhotographsConfig
from prefpaint.photographs.own_holes import annotation_table, hole_work

WIDTH, HEIGHT = 40, 30
# Left, top, right, bottom of the holes of four photographs.
BOXES = [(2, 3, 10, 9), (20, 5, 30, 25), (0, 0, 40, 10), (39, 29, 40, 30)]
NAMES = ["a.jpg", "b c.png", "sub/d.webp", "sub/é.tif"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four photographs."""
    rng = np.random.default_rng(0)
    for name in NAMES:
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)).save(path)
    return tmp_path / "mine"


def hole(number: int) -> np.ndarray:
    """(H, W) uint8."""
    left, top, right, bottom = BOXES[number]
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def save_masks(folder: Path, names: list[str], invert: bool = False) -> Path:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((hole(number) ^ np.uint8(invert)) * np.uint8(255)).save(path)
    return folder


def read(config: PhotographsConfig, path: Path) -> tuple[pd.DataFrame, list[str], ImageFolder]:
    """Table, reasons of what was skipped, and holes, as the pipeline makes them."""
    photographs, holes = ImageFolder(path / "photographs"), ImageFolder(path / "holes", masks=True)
    complete_folder(photographs, photograph_work(config))
    complete_folder(holes, hole_work(config, photographs))
    regions, _ = photograph_regions(config, photographs)
    table, skipped = annotation_table(config, regions, photographs, holes)
    assert all(set(one) == {"name", "reason"} for one in skipped)
    return table, [one["reason"] for one in skipped], holes


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


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("names", [("image", "mask", "text_prompt"), ("file_name", "mask_path", "caption")])
def test_a_table_of_images_masks_and_words(
    folder: Path, tmp_path: Path, kind: str, names: tuple[str, str, str]
) -> None:
    save_masks(tmp_path / "m", ["0.png", "1.png", "2.png"])
    rows = pd.DataFrame(
        [
            ["a.jpg", "m/0.png", "  a cat,\nsleeping "],
            ["b c.png", "m/1.png", ""],
            [str(folder / "sub/d.webp"), "m/2.png", "a “roof”"],
            ["é.tif", "", "the sea"],
            ["a.jpg", "m/1.png", "a dog"],
        ],
        columns=list(names),
    )
    table = tmp_path / f"words.{kind}"
    if kind == "csv":
        rows.to_csv(table, index=False)
    elif kind == "jsonl":
        table.write_text("\n".join(json.dumps(row) for row in rows.to_dict("records")))
    else:
        rows.to_parquet(table)
    found, skipped, holes = read(PhotographsConfig(folder=folder, annotations=table), tmp_path)
    assert skipped == []
    assert list(found["text_prompt"]) == ["a cat, sleeping", "a dog", "", "a “roof”", "the sea"]
    assert list(found["annotation"] == "") == [False, False, False, False, True]
    np.testing.assert_array_equal(holes[found["annotation"][1]], hole(1))


def test_words_of_a_table_go_with_masks_of_a_folder(folder: Path, tmp_path: Path) -> None:
    masks = save_masks(tmp_path / "masks", ["a.png", "b c.png"])
    (tmp_path / "words.csv").write_text("image,text_prompt\na.jpg,a cat\nsub/d.webp,a roof\nb c.png,\n")
    config = PhotographsConfig(folder=folder, masks=masks, annotations=tmp_path / "words.csv")
    table, skipped, _ = read(config, tmp_path)
    holes = table[table["annotation"] != ""]
    assert list(holes["text_prompt"]) == ["a cat", ""] and skipped == []
    assert list(table.loc[table["annotation"] == "", "text_prompt"]) == ["a cat", "a roof"]


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


FAULTS = [
    (
        "words.csv",
        "image,mask\na.jpg,nowhere.png\nb c.png,m/1.png\n",
        "words.csv, row 2: mask .*nowhere.png was not found",
    ),
    ("words.csv", "image,mask\nz.jpg,m/0.png\nb c.png,m/1.png\n", "words.csv, row 2: image 'z.jpg' was not found in"),
    ("words.csv", "image,mask\n,m/0.png\nb c.png,m/1.png\n", "words.csv, row 2: no image is named"),
    ("words.csv", "image,mask\na.jpg,m/0.png,x\nb c.png,m/1.png\n", "row 2: it has more cells than the first row"),
    ("words.jsonl", '{"image"\n{"image": "a.jpg", "mask": "m/1.png"}', "words.jsonl, row 1: it is not JSON"),
    ("words.jsonl", '[1]\n{"image": "a.jpg", "mask": "m/1.png"}', "row 1: it is not a set of columns and values"),
    (
        "words.jsonl",
        '{"image": ["a"]}\n{"image": "a.jpg", "mask": "m/1.png"}',
        "row 1: column image holds list, not text",
    ),
    (
        "words.csv",
        "image,mask\na.jpg,m/black.png\nb c.png,m/1.png\n",
        "row 2: nothing is to be repainted; mark the hole",
    ),
    (
        "words.csv",
        "image,mask\na.jpg,m/white.png\nb c.png,m/1.png\n",
        "row 2: all is to be repainted, so nothing is known",
    ),
    (
        "words.csv",
        "image,mask\na.jpg,m/text.png\nb c.png,m/1.png\n",
        "row 2: mask .*text.png: cannot be read as an image",
    ),
    (
        "words.csv",
        "image,mask\na.jpg,m/tall.png\nb c.png,m/1.png\n",
        "row 2: mask .*tall.png: is a mask of 30x40 pixels",
    ),
]


@pytest.mark.parametrize(("name", "text", "said"), FAULTS)
def test_a_fault_is_named_by_row_and_the_rest_is_used(
    folder: Path, tmp_path: Path, name: str, text: str, said: str
) -> None:
    save_masks(tmp_path / "m", ["0.png", "1.png"])
    Image.new("L", (WIDTH, HEIGHT)).save(tmp_path / "m/black.png")
    Image.new("L", (WIDTH, HEIGHT), 255).save(tmp_path / "m/white.png")
    Image.new("L", (HEIGHT, WIDTH), 255).save(tmp_path / "m/tall.png")
    (tmp_path / "m/text.png").write_text("no picture")
    (tmp_path / name).write_text(text)
    config = PhotographsConfig(folder=folder, annotations=tmp_path / name)
    table, skipped, _ = read(config, tmp_path)
    assert len(table) == 1 and len(skipped) == 1
    assert pd.Series(skipped).str.contains(said).all(), skipped


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("words.csv", "image,text_prompt\n", "words.csv has no rows"),
        ("words.csv", "bild,wort\na.jpg,x\n", "row 2: no image is named"),
        (
            "words.csv",
            "image,wort\na.jpg,x\n",
            "words.csv has neither masks nor words; call the columns image, mask and",
        ),
        ("words.csv", 'image,mask\n"a.jpg,x\n', "words.csv cannot be read"),
        ("words.txt", "a.jpg", "words.txt is of no known kind; the name ends in .csv, .jsonl, .parquet, or .json"),
        ("words.json", "[]", "words.json is not COCO's JSON, an object with the lists images and annotations"),
        ("words.json", "{", "words.json cannot be read"),
        ("words.parquet", "PAR1", "words.parquet cannot be read"),
    ],
)
def test_a_table_that_cannot_be_used_stops_in_one_sentence(
    folder: Path, tmp_path: Path, name: str, text: str, said: str
) -> None:
    (tmp_path / name).write_text(text)
    config = PhotographsConfig(folder=folder, annotations=tmp_path / name)
    try:
        _, skipped, _ = read(config, tmp_path)
    except PrefPaintError as error:
        assert said in str(error) and len(str(error).splitlines()) == 1
    else:
        assert len(skipped) == 1 and said in skipped[0]


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
        PrefPaintError, match=r"3 readable images are too few where there are masks or words: .* at least 4"
    ):
        photograph_regions(config, photographs)


# ------------------------------------------------------------------ anything at all

scalars = st.none() | st.booleans() | st.integers(-5, 10**12) | st.floats() | st.text(max_size=6)
names = st.sampled_from([*NAMES, "m/0.png", "m/1.png", "", "..", "/", "a.jpg\0", "x" * 5000, "é.tif"])
anything = st.recursive(
    scalars | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "size", "counts"]), inner),
    max_leaves=6,
)
FIELDS = "id image_id file_name image mask text width height segmentation caption name category_id"
entry = st.dictionaries(st.sampled_from(FIELDS.split()), anything | st.just([[1, 1, 9, 1, 9, 9]]), max_size=7)
entries = st.lists(entry | anything, max_size=4) | anything
FILES = {
    "csv": st.text(max_size=60) | st.lists(names, max_size=8).map(lambda cells: "image,mask\n" + ",".join(cells)),
    "jsonl": st.lists(entry | anything, max_size=4).map(lambda rows: "\n".join(json.dumps(row) for row in rows)),
    "json": st.fixed_dictionaries({"images": entries, "annotations": entries, "categories": entries}).map(json.dumps),
}


@pytest.mark.parametrize("kind", FILES)
@settings(max_examples=70, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_a_table_holds_it_ends_in_sentences(
    folder: Path, tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    """Each fault is one line, and what was made before is left as it was or is whole."""
    save_masks(tmp_path / "m", ["0.png", "1.png"])
    path = tmp_path / f"words.{kind}"
    path.write_bytes(data.draw(FILES[kind]).encode("utf-8", "surrogatepass"))
    try:
        table, skipped, holes = read(PhotographsConfig(folder=folder, annotations=path), tmp_path)
    except PrefPaintError as error:
        said = [str(error)]
    else:
        said = skipped
        assert set(table.loc[table["annotation"] != "", "annotation"]) == set(holes)
        assert all(holes[key].shape == (HEIGHT, WIDTH) and 0 < holes[key].mean() < 1 for key in holes)
    # A table may call a photograph a mask, and too few are left.
    known = (path.name, "photographs.folder: 3 readable images", "photographs.folder: 2 readable images")
    assert all(len(line.splitlines()) == 1 and any(name in line for name in known) for line in said), said
