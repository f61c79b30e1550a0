"""The same picture in another file is recognised, and different pictures are not taken for one."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder, complete_folder
from prefpaint.photographs.collection import photograph_regions, photograph_work
from prefpaint.photographs.config import PhotographsConfig
from prefpaint.photographs.copies import groups_of_copies, look, similar_pairs
from prefpaint.photographs.sources import embedded_photographs


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """The embedded photographs, small: a test of hashes needs no details."""
    small = [Image.fromarray(photograph.image) for photograph in embedded_photographs()]
    for image in small:
        image.thumbnail((240, 240))
    return small


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def trimmed(image: Image.Image, share: float) -> Image.Image:
    x, y = int(image.width * share), int(image.height * share)
    return image.crop((x, y, image.width - x, image.height - y))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG 90": lambda image: jpeg(image, 90),
    "JPEG 20": lambda image: jpeg(image, 20),
    "half": lambda image: image.resize((image.width // 2, image.height // 2)),
    "a third, JPEG 50": lambda image: jpeg(image.resize((image.width // 3, image.height // 3)), 50),
    "double": lambda image: image.resize((image.width * 2, image.height * 2)),
    "palette": lambda image: image.quantize(64).convert("RGB"),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
    "more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.2),
    "sharpened": lambda image: image.filter(ImageFilter.SHARPEN),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "trimmed": lambda image: trimmed(image, 0.01),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "upside down": lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    "turned left": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "turned over": lambda image: image.transpose(Image.Transpose.ROTATE_180),
    "turned right": lambda image: image.transpose(Image.Transpose.ROTATE_270),
    "transposed": lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    "transversed, half, JPEG 50": lambda image: jpeg(
        image.transpose(Image.Transpose.TRANSVERSE).resize((image.height // 2, image.width // 2)), 50
    ),
}


def pairs_of(images: list[Image.Image]) -> list[list[int]]:
    looks = np.stack([look(np.asarray(image)) for image in images])
    return similar_pairs(looks, np.array([image.width / image.height for image in images])).tolist()


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_found_and_nothing_else(pictures: list[Image.Image], kind: str) -> None:
    copies = [COPIES[kind](image) for image in pictures]
    assert pairs_of(pictures + copies) == [[place, place + len(pictures)] for place in range(len(pictures))]


def test_different_pictures_are_no_copies(pictures: list[Image.Image]) -> None:
    flat = [Image.new("RGB", (100, 80), colour) for colour in ("black", "white", "#777", "#787878", "red")]
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 256, (90, 90, 3)).astype(np.uint8)) for _ in range(5)]
    stretched = pictures[0].resize((pictures[0].width, pictures[0].height // 2))
    halves = [image.crop((0, 0, image.width // 2, image.height)) for image in pictures]
    assert pairs_of([*pictures, *flat, *noise, stretched, *halves]) == []


def test_groups_reach_through_members_and_are_numbered_as_they_come(
    tmp_path: Path, pictures: list[Image.Image]
) -> None:
    shown = [pictures[3], pictures[0], jpeg(pictures[3], 60), pictures[1], COPIES["half"](pictures[3])]
    for place, image in enumerate(shown):
        image.save(tmp_path / f"{place}.png")
    assert groups_of_copies(ImageFolder(tmp_path), list("01234")).tolist() == [0, 1, 0, 2, 0]


def collected(config: PhotographsConfig, path: Path) -> ImageFolder:
    folder = ImageFolder(path)
    complete_folder(folder, photograph_work(config))
    return folder


def many(folder: Path, pictures: list[Image.Image], copies: bool) -> Path:
    """40 different photographs, parts of the embedded ones, and copies of every other."""
    folder.mkdir()
    for number in range(40):
        image, (x, y) = pictures[number % 8], divmod(number // 8, 3)
        part = image.crop((x * 60, y * 40, x * 60 + 90, y * 40 + 64))
        part.save(folder / f"a{number:02d}.png")
        if copies and number % 2:
            jpeg(part.resize((120, 85)), 80).save(folder / f"b{number:02d}.jpg")
    return folder


def test_near_duplicates_are_never_in_two_splits(
    tmp_path: Path, pictures: list[Image.Image], caplog: pytest.LogCaptureFixture
) -> None:
    config = PhotographsConfig(folder=many(tmp_path / "mine", pictures, copies=True))
    photographs = collected(config, tmp_path / "out")
    regions, report = photograph_regions(config, photographs)
    split = dict(zip(regions["photograph"].str[1:3], regions["split"], strict=False))
    assert report["photographs"] == len(regions) == 60 and report["skipped"] == []
    assert report["near_duplicates"] == [[f"a{n:02d}.png", f"b{n:02d}.jpg"] for n in range(1, 40, 2)]
    assert (regions["photograph"].str[1:3].map(split) == regions["split"]).all()
    assert "20 photographs are near-duplicates of others (20 groups: a01.png and b01.jpg; " in caplog.text
    apart = config.model_copy(update={"near_duplicates": "ignore"})
    regions, report = photograph_regions(apart, photographs)
    assert regions.groupby(regions["photograph"].str[1:3])["split"].nunique().max() == 2, "the test can fail"
    assert "near_duplicates" not in report


def test_without_duplicates_the_split_is_what_it_was(tmp_path: Path, pictures: list[Image.Image]) -> None:
    config = PhotographsConfig(folder=many(tmp_path / "mine", pictures, copies=False))
    photographs = collected(config, tmp_path / "out")
    ignoring = config.model_copy(update={"near_duplicates": "ignore"})
    for made, ignored in zip(
        photograph_regions(config, photographs), photograph_regions(ignoring, photographs), strict=True
    ):
        assert made.equals(ignored) if hasattr(made, "equals") else made == ignored


def test_of_few_photographs_one_of_a_group_is_cut_into_regions(tmp_path: Path, pictures: list[Image.Image]) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for number, image in enumerate(pictures[:4]):
        image.save(mine / f"a{number}.png")
        COPIES["double"](image).save(mine / f"b{number}.jpg")
    config = PhotographsConfig(folder=mine)
    regions, report = photograph_regions(config, collected(config, tmp_path / "out"))
    cut = regions[regions["split"] != "unseen"]
    assert set(cut["photograph"].str[0]) == {"b"}, "the larger one"
    unseen = regions[regions["split"] == "unseen"]
    assert sorted(unseen["photograph"].str[0]) == ["a", "b"]
    assert report["photographs"] == 5 and len(report["skipped"]) == 3
    assert "is nearly the same picture as b" in report["skipped"][0]["reason"]


def test_a_folder_of_one_picture_only_says_what_to_do(tmp_path: Path, pictures: list[Image.Image]) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for name, copy in COPIES.items():
        copy(pictures[0]).save(mine / f"{name}.png")
    config = PhotographsConfig(folder=mine)
    photographs = collected(config, tmp_path / "out")
    with pytest.raises(PrefPaintError, match=r"1 readable.*Of 20 images, near-duplicates count as one .*: ignore if"):
        photograph_regions(config, photographs)
    regions, _ = photograph_regions(config.model_copy(update={"near_duplicates": "ignore"}), photographs)
    assert regions["photograph"].nunique() == 20
