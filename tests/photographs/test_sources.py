"""Any image file becomes upright 8-bit RGB, or one sentence says why not."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prefpaint.errors import PrefPaintError
from prefpaint.photographs.sources import (
    EMBEDDED_NAMES,
    count_files,
    embedded_photographs,
    image_files,
    other_files,
    read_image,
)

SIDE = 20


def saved(folder: Path, image: Image.Image, name: str = "x.png", **options: object) -> np.ndarray:
    image.save(folder / name, **options)
    return np.asarray(read_image(folder / name, 1024))


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    pixels = np.zeros((SIDE, 2 * SIDE, 3), np.uint8)
    pixels[:, :SIDE] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the stored left is the upright top
    read = saved(tmp_path, Image.fromarray(pixels), exif=exif)
    assert read.shape == (2 * SIDE, SIDE, 3)
    assert (read[:SIDE] == 255).all() and (read[SIDE:] == 0).all()


def test_transparency_is_laid_over_mid_grey(tmp_path: Path) -> None:
    pixels = np.full((SIDE, SIDE, 4), 200, np.uint8)
    pixels[..., 3] = 0
    pixels[0, 0, 3] = 255
    read = saved(tmp_path, Image.fromarray(pixels))
    assert (read[1:] == 128).all() and (read[0, 0] == 200).all()


def test_transparency_of_a_palette(tmp_path: Path) -> None:
    image = Image.new("P", (SIDE, SIDE), 1)
    image.putpalette([0, 0, 0, 250, 0, 0])
    image.putpixel((0, 0), 0)
    read = saved(tmp_path, image, transparency=0)
    assert read[0, 0].tolist() == [128] * 3 and read[5, 5].tolist() == [250, 0, 0]


def test_16_bit_grey_is_scaled_by_its_range(tmp_path: Path) -> None:
    read = saved(tmp_path, Image.fromarray(np.full((SIDE, SIDE), 257 * 100, np.uint16)))
    assert read.shape == (SIDE, SIDE, 3) and (read == 100).all()


def test_grey_and_cmyk(tmp_path: Path) -> None:
    assert (saved(tmp_path, Image.new("L", (SIDE, SIDE), 77)) == 77).all()
    # No ink on white paper, all black ink.
    assert (saved(tmp_path, Image.new("CMYK", (SIDE, SIDE), (0, 0, 0, 0)), "x.tif") == 255).all()
    assert (saved(tmp_path, Image.new("CMYK", (SIDE, SIDE), (0, 0, 0, 255)), "x.tif") == 0).all()


RAMP = np.linspace(0, 1, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
INTEGERS = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)


def with_pixel(value: float, image: np.ndarray = RAMP) -> np.ndarray:
    changed = image.copy()
    changed[3, 3] = value
    return changed


@pytest.mark.parametrize(
    "values",
    [RAMP, RAMP * 255, RAMP * 1e-30, RAMP * 3e38, (RAMP * 2 - 1) * 3e38, -RAMP, RAMP + 1000, 1000 * INTEGERS - 7],
)
def test_floats_and_large_integers_are_scaled_by_their_own_range(tmp_path: Path, values: np.ndarray) -> None:
    kind = np.int32 if values.dtype == np.int64 else np.float32
    read = saved(tmp_path, Image.fromarray(values.astype(kind)), "x.tif")
    assert read.min() == 0 and read.max() == 255 and len(np.unique(read)) > 100


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (with_pixel(np.nan), "1 of its 400 pixels are NaN or infinite"),
        (with_pixel(np.inf), "1 of its 400 pixels are NaN or infinite"),
        (with_pixel(-np.inf), "1 of its 400 pixels are NaN or infinite"),
        (RAMP * np.nan, "400 of its 400 pixels are NaN or infinite"),
        (np.full_like(RAMP, np.inf), "400 of its 400 pixels are NaN or infinite"),
        (RAMP * 0 + 0.5, r"all its pixels are 0\.5, so that it has no range"),
        (RAMP * 0, "all its pixels are 0, so that it has no range"),
        ((RAMP * 200).astype(np.uint16), "uses 200 of 65535 levels, so that it would come out black"),
        ((RAMP * 255).astype(np.int32), "uses 255 of 65535 levels, so that it would come out black"),
        ((RAMP * 0 - 5).astype(np.int32), "all its pixels are -5, so that it has no range"),
    ],
)
def test_a_picture_without_a_finite_range_is_refused_and_not_black(
    tmp_path: Path, values: np.ndarray, reason: str
) -> None:
    Image.fromarray(values).save(tmp_path / "x.tif")
    with pytest.raises(PrefPaintError, match=rf"x\.tif: .*{reason}.* save"):
        read_image(tmp_path / "x.tif", 1024)


def test_black_16_bit_pictures_stay_black(tmp_path: Path) -> None:
    assert not saved(tmp_path, Image.fromarray(np.zeros((SIDE, SIDE), np.uint16))).any()


FORMATS = [
    *((name, {"quality": 95}) for name in ("x.avif", "x.heic", "x.HEIF", "x.hif", "x.jxl", "x.jfif", "x.jpe", "x.JPG")),
    *((name, {}) for name in ("x.jp2", "x.ppm", "x.pnm", "x.tga", "x.bmp", "x.apng", "x.TIFF")),
]
PLUGIN = {
    ".heic": "HEIF",
    ".heif": "HEIF",
    ".hif": "HEIF",
    ".jxl": "JXL",
    ".jpe": "JPEG",
    ".pnm": "PPM",
    ".apng": "PNG",
}


@pytest.mark.parametrize(("name", "options"), FORMATS)
def test_formats_that_people_have(tmp_path: Path, name: str, options: dict[str, int]) -> None:
    import pillow_heif
    import pillow_jxl  # noqa: F401

    pillow_heif.register_heif_opener()
    image = Image.new("RGB", (64, 48), (200, 90, 20))
    image.save(tmp_path / name, PLUGIN.get(Path(name).suffix.lower()), **options)
    assert image_files(tmp_path) == [tmp_path / name]
    read = np.asarray(read_image(tmp_path / name, 1024)).astype(int)
    assert read.shape == (48, 64, 3) and np.abs(read - (200, 90, 20)).max() < 12


def test_the_contents_count_and_not_the_ending(tmp_path: Path) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    Image.new("RGB", (64, 48), "red").save(tmp_path / "phone.heic")
    (tmp_path / "phone.heic").rename(tmp_path / "phone.jpg")
    assert read_image(tmp_path / "phone.jpg", 1024).size == (64, 48)
    (tmp_path / "film.jpg").write_bytes(b"\0\0\0\x20ftypisom" + bytes(100))
    with pytest.raises(PrefPaintError, match=r"film\.jpg: cannot be read as an image"):
        read_image(tmp_path / "film.jpg", 1024)


LITTER = (
    *("._a.png", ".DS_Store", "Thumbs.db", "desktop.ini", "sub/._b.JPG", "__MACOSX/a.png", "__MACOSX/sub/._a.png"),
    *("@eaDir/a.png/x.jpg", "$RECYCLE.BIN/a.png", ".Trashes/501/a.png", "sub/THUMBS.DB"),
)


def test_what_systems_leave_in_folders_is_ignored(tmp_path: Path) -> None:
    for name in (*LITTER, "a.png", "sub/b.jpg", ".hidden/notes.txt", ".directory"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in image_files(tmp_path)] == ["a.png", "sub/b.jpg"]
    assert other_files(tmp_path) == []


def test_other_files_are_counted_and_named_in_one_phrase(tmp_path: Path) -> None:
    names = ["a.cr2", "b.CR2", "notes.txt", "raw/c.nef", "README", "d.xmp", "e.mov", "f.pdf"]
    for name in (*names, "a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    others = other_files(tmp_path)
    assert sorted(others) == sorted(names)
    said = count_files(others)
    assert (
        said.startswith("8 other files (2 of .cr2, 1 of no ending, ") and "and 2 more endings): README, a.cr2" in said
    )
    (tmp_path / "a.png").unlink()
    with pytest.raises(PrefPaintError, match=r"holds no image .*, only 8 other files \(2 of \.cr2"):
        image_files(tmp_path)


def test_large_images_are_reduced(tmp_path: Path) -> None:
    Image.new("RGB", (300, 200)).save(tmp_path / "x.png")
    assert read_image(tmp_path / "x.png", 100).size == (100, 67)


def test_a_30_000_pixel_wide_image_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (30_000, 600), (1, 2, 3)).save(tmp_path / "wide.png")
    image = read_image(tmp_path / "wide.png", 1024)
    assert image.size == (1024, 20) and image.getpixel((500, 10)) == (1, 2, 3)


def broken(folder: Path, kind: str) -> Path:
    """A file that cannot be used."""
    path = folder / "x.png"
    if kind == "text":
        path.write_text("this is no image")
    elif kind == "truncated":
        path = folder / "x.jpg"
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[:1000])
    elif kind == "1x1":
        Image.new("RGB", (1, 1)).save(path)
    else:
        Image.new("RGB", (30_000, 17)).save(path)
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("text", "cannot be read as an image"),
        ("truncated", "cannot be read as an image"),
        ("1x1", "1x1 pixels is too small"),
        ("sliver", "too narrow to use"),
    ],
)
def test_what_cannot_be_used_is_one_sentence_with_the_file(tmp_path: Path, kind: str, reason: str) -> None:
    path = broken(tmp_path, kind)
    with pytest.raises(PrefPaintError, match=reason) as caught:
        read_image(path, 1024)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)


def test_image_files_are_found_in_subfolders_in_order(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "a.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in image_files(tmp_path)] == ["a.png", "b/2.JPG"]


def test_a_name_that_no_table_can_hold_is_told(tmp_path: Path) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / os.fsdecode(b"gr\xfc\xdfe.png"))
    with pytest.raises(
        PrefPaintError, match=r"photographs\.folder: the name of '.*gr\\udcfc.*' is not UTF-8; rename it"
    ):
        image_files(tmp_path)


def test_embedded_photographs_need_no_download() -> None:
    photographs = list(embedded_photographs())
    assert tuple(photograph.name for photograph in photographs) == EMBEDDED_NAMES
    assert all(p.image.dtype == np.uint8 and p.image.shape[2] == 3 for p in photographs)
    measured = [p for p in photographs if p.disparity is not None]
    assert [p.name for p in measured] == ["motorcycle"]
    assert measured[0].disparity is not None and measured[0].disparity.shape == measured[0].image.shape[:2]
