"""Masks from pictures and from COCO's JSON."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from prefpaint.errors import PrefPaintError
from prefpaint.photographs.shapes import coco_hole, read_mask, resized, runs_from_text, united

HALF = np.repeat([[0, 1]], 4, 0).repeat([3, 5], 1).astype(np.uint8)


def saved(path: Path, image: Image.Image) -> Path:
    image.save(path)
    return path


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(HALF * 255),
        Image.fromarray(HALF),
        Image.fromarray(HALF * 255).convert("1"),
        Image.fromarray(HALF * 255).convert("RGB"),
        Image.fromarray(HALF * 255).convert("RGBA"),
        Image.fromarray(HALF * 255).convert("P"),
        Image.fromarray(HALF.astype(np.uint16) * 65535),
        Image.fromarray(HALF * 120 + 60),
    ],
    ids=["grey", "of 0 and 1", "1 bit", "colour", "opaque", "palette", "16 bit", "soft"],
)
def test_masks_of_any_mode_mean_the_same(tmp_path: Path, image: Image.Image) -> None:
    path = saved(tmp_path / "mask.png", image)
    np.testing.assert_array_equal(read_mask(path, 8, 4, False), HALF)
    np.testing.assert_array_equal(read_mask(path, 8, 4, True), 1 - HALF)
    assert read_mask(path, 80, 40, False).sum() == 40 * 50


def test_a_mask_is_turned_as_its_picture_is(tmp_path: Path) -> None:
    turned = Image.fromarray(HALF * 255)
    exif = turned.getexif()
    exif[0x0112] = 3  # Upside down.
    turned.save(tmp_path / "mask.png", exif=exif)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", 8, 4, False), HALF[::-1, ::-1])


def test_a_soft_mask_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    read_mask(saved(tmp_path / "hard.png", Image.fromarray(HALF * 255)), 8, 4, False)
    read_mask(saved(tmp_path / "soft.png", Image.linear_gradient("L")), 8, 8, False)
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}/soft.png: is soft (90 % of it is grey); it is cut at middle grey"
    ]


def test_a_mask_takes_the_size_of_its_picture() -> None:
    np.testing.assert_array_equal(resized(HALF, 4, 2), [[0, 1, 1, 1]] * 2)  # A half counts.


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (Image.new("L", (9, 4)), "is a mask of 9x4 pixels for a picture of 8x4, another shape"),
        (
            Image.fromarray(np.dstack([HALF * 0] * 3 + [HALF * 255])),
            "is partly transparent; save the mask without transparency",
        ),
        (
            Image.fromarray(np.dstack([np.random.default_rng(0).integers(0, 255, (4, 8, 3), np.uint8), HALF * 255])),
            "is partly",
        ),
    ],
)
def test_what_is_wrong_with_a_mask_is_said(tmp_path: Path, image: Image.Image, said: str) -> None:
    with pytest.raises(PrefPaintError, match=f"^{said}"):
        read_mask(saved(tmp_path / "mask.png", image), 8, 4, False)


def test_a_mask_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_text("no picture")
    with pytest.raises(PrefPaintError, match=r"^cannot be read as an image"):
        read_mask(tmp_path / "mask.png", 8, 4, False)


# Made by `pycocotools.mask.encode` of COCO's own package.
ENCODED = [
    ("S1", np.zeros((5, 7))),
    ("0S1", np.ones((5, 7))),
    (
        "912120M04OM3",
        [[0] * 7, [0, 0, 0, 0, 1, 0, 1], [0, 0, 1, 0, 1, 0, 1], [0, 0, 1, 1, 0, 1, 1], [0, 1, 0, 1, 0, 0, 1]],
    ),
]


@pytest.mark.parametrize(("text", "expected"), ENCODED)
def test_compressed_run_lengths_are_those_of_cocos_package(text: str, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(coco_hole({"size": [5, 7], "counts": text}, (7, 5))(7, 5), expected)


def to_text(runs: list[int]) -> str:
    """`rleToString` of the COCO API."""
    text = ""
    for number, run in enumerate(runs):
        value = run - runs[number - 2] if number > 2 else run
        more = True
        while more:
            group = value & 31
            value >>= 5
            more = value != -1 if group & 16 else value != 0
            text += chr((group | 32 if more else group) + 48)
    return text


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=20))
def test_run_lengths_survive_their_compression(runs: list[int]) -> None:
    assert runs_from_text(to_text(runs)) == runs


@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_run_lengths_count_down_the_columns(height: int, width: int, data: st.DataObject) -> None:
    mask = np.array(data.draw(st.lists(st.integers(0, 1), min_size=height * width, max_size=height * width)))
    mask = mask.reshape(height, width)
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat]))).tolist()
    counts = np.diff([0, *edges, len(flat)]).tolist()
    for written in (counts, to_text(counts)):
        hole = coco_hole({"size": [height, width], "counts": written}, (width, height))
        np.testing.assert_array_equal(hole(width, height), mask)


def test_polygons_scale_with_the_picture_and_are_united() -> None:
    left, right = [[0, 0, 20, 0, 20, 40, 0, 40]], [[60, 0, 80, 0, 80, 40, 60, 40]]
    with pytest.raises(PrefPaintError, match="is a mask of 80x40 pixels for a picture of 40x80, another shape"):
        coco_hole(left, (80, 40))(40, 80)
    for width, height in ((80, 40), (160, 80), (40, 20)):
        hole = united([coco_hole(part, (80, 40)) for part in (left, right)])(width, height)
        assert hole.shape == (height, width)
        # PIL draws the pixels on a polygon's edge as well.
        assert abs(hole.mean() - 0.5) < 2.5 / width
        np.testing.assert_array_equal(hole, coco_hole(left + right, (80, 40))(width, height))
        assert hole[:, : width // 4 - 1].all() and not hole[:, width // 4 + 2 : 3 * width // 4 - 2].any()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["size", "counts", "a"]), inner),
    max_leaves=12,
)


@given(anything | st.fixed_dictionaries({"size": st.just([4, 6]), "counts": st.text(max_size=6) | anything}))
def test_whatever_a_segmentation_is_it_is_a_mask_or_one_sentence(segmentation: object) -> None:
    try:
        hole = coco_hole(segmentation, (6, 4))(6, 4)
    except PrefPaintError as error:
        assert (len(str(error).splitlines()) == 1 and "segmentation" in str(error)) or "run lengths" in str(error)
    else:
        assert hole.shape == (4, 6) and hole.dtype == np.uint8 and set(np.unique(hole)) <= {0, 1}
