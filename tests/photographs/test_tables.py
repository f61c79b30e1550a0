"""Tables of masks and words, and everything that can be wrong with one of any kind."""

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from prefpaint.errors import PrefPaintError
from prefpaint.photographs.config import PhotographsConfig
from tests.photographs.annotated import HEIGHT, NAMES, WIDTH, hole, make_photographs, read, save_masks


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four photographs."""
    return make_photographs(tmp_path / "mine")


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


LINES = 'image,mask,text_prompt\na.jpg,m/0.png,"a café, sunny"\n'
SHEET = pd.DataFrame([["a.jpg", "m/0.png", "a café, sunny"]], columns=["image", "mask", "text_prompt"])


def excel(table: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    table.to_excel(file, index=False)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("words.CSV", LINES.encode()),
        ("words.csv", LINES.replace("image,mask,text_prompt", "Image,MASK,Text Prompt").encode("utf-8-sig")),
        ("words.csv", LINES.encode("latin-1")),
        ("words.csv", LINES.encode("utf-16")),
        ("words.csv", LINES.replace(',"a café, sunny"', ',"a café, sunny",,,').encode()),
        ("words.csv", SHEET.to_csv(sep=";", index=False, lineterminator="\r\n").encode("cp1252")),
        ("words.csv", b"sep=;\r\n" + SHEET.to_csv(sep=";", index=False, lineterminator="\r\n").encode()),
        ("words.tsv", SHEET.to_csv(sep="\t", index=False).encode()),
        ("words.csv.gz", gzip.compress(LINES.encode())),
        ("words.JSONL", SHEET.to_json(orient="records", lines=True).encode()),
        ("words.ndjson", SHEET.to_json(orient="records", lines=True, force_ascii=False).encode("utf-8-sig")),
        ("words.xlsx", excel(SHEET)),
        ("words.csv", excel(SHEET.rename(columns={"mask": "Mask Path", "image": "FILE_NAME"}))),
        ("words.PARQUET", SHEET.to_parquet()),
    ],
)
def test_tables_of_every_dialect(folder: Path, tmp_path: Path, name: str, content: bytes) -> None:
    save_masks(tmp_path / "m", ["0.png"])
    (tmp_path / name).write_bytes(content)
    found, skipped, _ = read(PhotographsConfig(folder=folder, annotations=tmp_path / name), tmp_path)
    assert skipped == [] and found["text_prompt"].tolist() == ["a café, sunny"]


def test_cocos_json_in_capitals_and_in_utf16(folder: Path, tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT}]
    coco = {"images": images, "annotations": [{"id": 1, "image_id": 1, "caption": "a café"}]}
    (tmp_path / "coco.JSON").write_text(json.dumps(coco, ensure_ascii=False), encoding="utf-16")
    found, skipped, _ = read(PhotographsConfig(folder=folder, annotations=tmp_path / "coco.JSON"), tmp_path)
    assert skipped == [] and found["text_prompt"].tolist() == ["a café"]


FAULTS = [
    (
        "words.csv",
        "image,mask\na.jpg,nowhere.png\nb c.png,m/1.png\n",
        "words.csv, row 2: mask .*nowhere.png was not found",
    ),
    ("words.csv", "image,mask\nz.jpg,m/0.png\nb c.png,m/1.png\n", "words.csv, row 2: image 'z.jpg' was not found in"),
    ("words.csv", "image,mask\n,m/0.png\nb c.png,m/1.png\n", "words.csv, row 2: no image is named"),
    ("words.csv", "image,mask\na.jpg,m/0.png,x\nb c.png,m/1.png\n", "row 2: it has 3 fields where the header has 2"),
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
        ("words.csv", 'image,mask\n"a.jpg,x\n', "words.csv, row 2: a quotation mark is not closed"),
        ("words.txt", "a.jpg", "words.txt is of no known kind; the name ends in .csv, .jsonl, .parquet, or .json"),
        ("words.json", "[]", "words.json is not COCO's JSON, an object with the lists images and annotations"),
        ("words.json", "{", "words.json cannot be read"),
        ("words.parquet", "PAR1", "words.parquet: is not a Parquet file"),
        ("words.parquet", "a.jpg", "words.parquet: is not a Parquet file"),
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
