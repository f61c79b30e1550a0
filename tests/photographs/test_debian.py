"""Pretraining photographs come out of Debian packages whole, once, and in the split the list says."""

import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from prefpaint.commands.photographs import download
from prefpaint.errors import PrefPaintError
from prefpaint.photographs import debian
from prefpaint.photographs.debian import (
    ALIKE,
    SHORTEST_SIDE,
    ListedPhotograph,
    QtResources,
    choose_splits,
    download_photographs,
    read_list,
    read_reduced,
)

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed")

PLAIN, ZLIB, FOLDER, ZSTD = 0, 1, 2, 4


def write_rcc(path: Path, files: dict[str, tuple[bytes, int]], version: int = 3) -> Path:
    """A Qt resource archive with files (content, compression) by path, such as a/b.png."""
    tree: dict = {}
    for name in files:
        *folders, last = name.split("/")
        place = tree
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = files[name]
    nodes, names, contents = [], b"", b""
    level: list = [("", tree)]
    # Nodes stand in breadth-first order: a folder's files lie next to each other.
    following = 1
    while level:
        below: list = []
        for name, value in level:
            place_of_name = len(names)
            names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
            if isinstance(value, dict):
                node = struct.pack(">IHII", place_of_name, FOLDER, len(value), following)
                following += len(value)
                below += value.items()
            else:
                content, flags = value
                if flags == ZLIB:
                    content = struct.pack(">I", len(content)) + zlib.compress(content)
                elif flags == ZSTD:
                    content = pa.compress(content, codec="zstd", asbytes=True)
                node = struct.pack(">IHHHI", place_of_name, flags, 0, 1, len(contents))
                contents += struct.pack(">I", len(content)) + content
            nodes.append(node + (b"" if version == 1 else bytes(8)))
        level = below
    header = 24 if version == 3 else 20
    table = b"".join(nodes)
    offsets = (version, header, header + len(table), header + len(table) + len(contents))
    head = b"qres" + struct.pack(">4I", *offsets) + (bytes(4) if version == 3 else b"")
    path.write_bytes(head + table + contents + names)
    return path


def picture(folder: Path, size: tuple[int, int], colour: tuple[int, int, int], ending: str = "png") -> bytes:
    """An image file of one colour."""
    path = folder / f"drawn.{ending}"
    Image.new("RGB", size, colour).save(path)
    content = path.read_bytes()
    path.unlink()
    return content


def build_deb(packages: Path, name: str, files: dict[str, bytes]) -> None:
    """A package with files by path."""
    tree = packages / f"{name}.tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        f"Package: {name}\nVersion: 1-1\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: pictures\n"
    )
    for path, content in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(content)
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-b", tree, packages / f"{name}_1-1_all.deb"],
        check=True,
        capture_output=True,
    )
    shutil.rmtree(tree)


def entry(file: str, package: str, path: str, split: str = "train") -> ListedPhotograph:
    return ListedPhotograph(file, package, path, "CC0", "somebody", "", split)


LISTED = (
    entry("a__field.jpg", "a-data", "land/field.png"),
    entry("b__plain.jpg", "b-data", "game/plain.webp", "validation"),
    entry("b__packed.jpg", "b-data", "game/packed.webp", "held_out"),
)


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Two packages: one with a picture of its own, one with two in a resource archive."""
    folder = tmp_path / "packages"
    folder.mkdir()
    build_deb(folder, "a-data", {"usr/share/a/land/field.png": picture(tmp_path, (120, 80), (200, 10, 10))})
    plain = picture(tmp_path, (30, 50), (10, 200, 10), "webp")
    packed = picture(tmp_path, (90, 60), (10, 10, 200), "webp")
    rcc = write_rcc(
        tmp_path / "game.rcc", {"src/game/plain.webp": (plain, PLAIN), "src/game/packed.webp": (packed, ZLIB)}
    )
    build_deb(folder, "b-data", {"usr/share/b/game.rcc": rcc.read_bytes()})
    return folder


def no_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian.shutil, "which", lambda name: None)


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


@needs_dpkg
def test_pictures_come_out_of_packages_and_archives(packages: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = download_photographs(out, packages, 40, LISTED)
    assert done.counts == {"train": 1, "validation": 1, "held_out": 1} and done.missing == []
    # The larger ones are reduced to a shortest side of 40, the small one keeps its size.
    expected = {
        "train/a__field.jpg": ((40, 60, 3), (200, 10, 10)),
        "validation/b__plain.jpg": ((50, 30, 3), (10, 200, 10)),
        "held_out/b__packed.jpg": ((40, 60, 3), (10, 10, 200)),
    }
    for name, (shape, colour) in expected.items():
        pixels = read(out / name)
        assert pixels.shape == shape and np.abs(pixels - colour).max() <= 8
    assert read_list(out / "licences.csv") == list(LISTED)
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]


@needs_dpkg
def test_a_second_run_takes_only_what_is_missing(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    download_photographs(out, packages, 40, LISTED)
    kept = out / "train" / "a__field.jpg"
    before = kept.read_bytes(), kept.stat().st_mtime_ns
    lost = out / "held_out" / "b__packed.jpg"
    content = lost.read_bytes()
    lost.unlink()
    (packages / "a-data_1-1_all.deb").unlink()
    download_photographs(out, packages, 40, LISTED)
    assert lost.read_bytes() == content
    assert (kept.read_bytes(), kept.stat().st_mtime_ns) == before
    # With everything there, neither packages nor tools are needed.
    shutil.rmtree(packages)
    no_tools(monkeypatch)
    assert download_photographs(out, packages, 40, LISTED).missing == []


@needs_dpkg
def test_an_interrupted_run_leaves_whole_pictures_and_goes_on(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    real = Image.Image.save

    def stopped(self: Image.Image, path: Path, *args: object, **options: object) -> None:
        if "packed" in str(path):
            Path(path).write_bytes(b"half")
            raise KeyboardInterrupt
        real(self, path, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Image.Image, "save", stopped)
    with pytest.raises(KeyboardInterrupt):
        download_photographs(out, packages, 40, LISTED)
    assert sorted(path.name for path in out.rglob("*.jpg")) == ["a__field.jpg", "b__plain.jpg"]
    monkeypatch.undo()
    assert download_photographs(out, packages, 40, LISTED).counts["held_out"] == 1


@needs_dpkg
def test_a_picture_the_package_lacks_is_named_and_left_out(
    packages: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = entry("a__gone.jpg", "a-data", "land/gone.png")
    # The end of a path is compared by whole parts: ield.png is not field.png.
    part = entry("a__part.jpg", "a-data", "and/field.png")
    done = download_photographs(tmp_path / "out", packages, 40, (*LISTED, gone, part))
    assert done.missing == ["a__gone.jpg", "a__part.jpg"] and done.counts["train"] == 1
    warnings = [record.message for record in caplog.records]
    assert len(warnings) == 2
    assert "a__gone.jpg" in warnings[0] and "a-data" in warnings[0] and "land/gone.png" in warnings[0]
    assert read_list(tmp_path / "out" / "licences.csv") == list(LISTED)


@needs_dpkg
def test_a_file_that_is_no_image_is_named_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    build_deb(tmp_path, "c-data", {"usr/share/c/letter.png": b"dear diary"})
    done = download_photographs(tmp_path / "out", tmp_path, 40, [entry("c__x.jpg", "c-data", "c/letter.png")])
    assert done.missing == ["c__x.jpg"]
    assert ["c__x.jpg" in record.message for record in caplog.records] == [True]


def test_a_missing_package_without_apt_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_tools(monkeypatch)
    with pytest.raises(PrefPaintError, match=r"^a-data: no a-data_\*\.deb was found in .* no apt-get .* put the file"):
        download_photographs(tmp_path / "out", tmp_path / "packages", 40, LISTED)


def fake_apt(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let apt-get be a shell script."""
    folder.mkdir()
    (folder / "apt-get").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_a_package_apt_does_not_have_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_apt(tmp_path / "bin", monkeypatch, 'echo "E: Unable to locate package a-data" >&2; exit 100')
    packages = tmp_path / "packages"
    with pytest.raises(
        PrefPaintError,
        match=r"^a-data: apt-get cannot download it \(Unable to locate package a-data\); run `apt-get up",
    ):
        download_photographs(tmp_path / "out", packages, 40, LISTED)
    assert list(packages.iterdir()) == []


@needs_dpkg
def test_missing_packages_are_downloaded_into_the_folder(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_apt(tmp_path / "bin", monkeypatch, f'for last; do :; done; cp {packages}/"$last"_*.deb .')
    folder = tmp_path / "new"
    assert download_photographs(tmp_path / "out", folder, 40, LISTED).missing == []
    assert sorted(path.name for path in folder.iterdir()) == ["a-data_1-1_all.deb", "b-data_1-1_all.deb"]


def test_a_missing_dpkg_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a-data_1_all.deb").touch()
    no_tools(monkeypatch)
    with pytest.raises(PrefPaintError, match="dpkg-deb is needed to unpack it; install dpkg"):
        download_photographs(tmp_path / "out", tmp_path, 40, LISTED)


@needs_dpkg
def test_a_damaged_package_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a-data_1_all.deb").write_bytes(b"half of a package")
    with pytest.raises(PrefPaintError, match=r"a-data_1_all\.deb: dpkg-deb cannot unpack it .* remove the file"):
        download_photographs(tmp_path / "out", tmp_path, 40, LISTED)


@needs_dpkg
def test_one_folder_holds_one_size(packages: Path, tmp_path: Path) -> None:
    download_photographs(tmp_path / "out", packages, 40, LISTED)
    with pytest.raises(PrefPaintError, match="holds pictures of --shortest-side 40; give that, or another folder"):
        download_photographs(tmp_path / "out", packages, 50, LISTED)


@needs_dpkg
def test_a_picture_never_lies_in_two_splits(packages: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    download_photographs(out, packages, 40, LISTED)
    moved = ListedPhotograph(**{**vars(LISTED[0]), "split": "held_out"})
    download_photographs(out, packages, 40, (moved, *LISTED[1:]))
    assert not (out / "train" / "a__field.jpg").exists() and (out / "held_out" / "a__field.jpg").exists()


@needs_dpkg
def test_the_command_ends_with_a_count(packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "read_list", lambda: list(LISTED))
    out = tmp_path / "out"
    done = CliRunner().invoke(download, [str(out), "--packages", str(packages), "--shortest-side", "40"])
    assert done.exit_code == 0
    said = "1 photographs to train on, 1 for validation, 1 held out; 0 listed ones are missing"
    assert f"{out}: {said}" in done.output


def test_the_commands_mistake_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_tools(monkeypatch)
    done = CliRunner().invoke(download, [str(tmp_path / "out")])
    assert done.exit_code == 1 and "Traceback" not in done.output
    assert done.output.splitlines()[-1].startswith("Error: ") and str(tmp_path / "out" / "packages") in done.output


def test_the_command_reduces_as_the_library_does() -> None:
    assert {option.name: option.default for option in download.params}["shortest_side"] == SHORTEST_SIDE


@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_archive_of_each_version(version: int, tmp_path: Path) -> None:
    files = {
        "a/one.txt": (b"one", PLAIN),
        "a/b/two.txt": (b"two" * 100, ZLIB),
        "a/b/empty": (b"", PLAIN),
        "käse.txt": (b"three" * 50, ZSTD),
    }
    archive = QtResources(write_rcc(tmp_path / "x.rcc", files, version))
    assert {name: archive.read(name) for name in archive.names()} == {f"/{n}": c for n, (c, _) in files.items()}


@given(
    st.dictionaries(
        st.from_regex(r"[a-cä]{1,3}(/[d-f]{1,2}){0,2}/x", fullmatch=True),
        st.tuples(st.binary(max_size=50), st.sampled_from([PLAIN, ZLIB, ZSTD])),
        max_size=8,
    )
)
def test_every_archive_gives_back_what_went_in(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, tuple[bytes, int]]
) -> None:
    archive = QtResources(write_rcc(tmp_path_factory.mktemp("rcc") / "x.rcc", files))
    assert {name: archive.read(name) for name in archive.names()} == {f"/{n}": c for n, (c, _) in files.items()}


@given(data=st.data())
def test_a_damaged_archive_is_one_sentence(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("rcc") / "x.rcc"
    files = {"a/one": (b"1234567", PLAIN), "a/two": (b"2" * 40, ZLIB), "a/three": (b"3" * 40, ZSTD)}
    content = bytearray(write_rcc(path, files).read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        archive = QtResources(path)
        for name in archive.names():
            archive.read(name)
    except PrefPaintError as error:
        assert str(error).startswith(str(path))


def test_an_archive_whose_folders_form_a_circle(tmp_path: Path) -> None:
    content = bytearray(write_rcc(tmp_path / "x.rcc", {"a/x": (b"1", PLAIN)}).read_bytes())
    # The folder a, node 1, now holds the root.
    content[24 + 22 : 24 + 22 + 14] = struct.pack(">IHII", 0, FOLDER, 1, 0)
    (tmp_path / "x.rcc").write_bytes(content)
    with pytest.raises(PrefPaintError, match="form a circle"):
        QtResources(tmp_path / "x.rcc")


@given(st.tuples(st.integers(16, 300), st.integers(16, 300)), st.integers(16, 200))
def test_the_shortest_side(tmp_path_factory: pytest.TempPathFactory, size: tuple[int, int], side: int) -> None:
    path = tmp_path_factory.mktemp("image") / "x.png"
    Image.new("RGB", size).save(path)
    reduced = read_reduced(path, side)
    assert min(reduced.size) == min(side, *size)
    assert max(reduced.size) == pytest.approx(max(size) * min(1, side / min(size)), abs=0.51)


def sizes(splits: Iterable[str]) -> list[int]:
    found = list(splits)
    return [found.count(split) for split in ("held_out", "validation", "train")]


@given(st.integers(70, 200), st.data())
def test_splits_have_their_sizes_and_keep_twins_together(count: int, data: st.DataObject) -> None:
    stems = [f"picture{number}" for number in range(count)]
    mixed = data.draw(st.permutations(stems))
    alike = [mixed[2 * number : 2 * number + 2] for number in range(data.draw(st.integers(0, 3)))]
    splits = choose_splits(data.draw(st.permutations(stems)), alike)
    assert sorted(splits) == sorted(stems)
    assert sizes(splits.values()) == [40, 24, count - 64]
    assert all(len({splits[stem] for stem in group}) == 1 for group in alike)
    # The order in which photographs are listed does not matter.
    assert splits == choose_splits(stems, alike)


def test_the_list_names_each_photograph_once_with_its_licence() -> None:
    listed = read_list()
    assert len(listed) == len({one.file for one in listed}) == len({(one.package, one.path) for one in listed}) == 483
    assert all(one.licence and one.package and one.path for one in listed)
    # Such a licence asks that the author is named.
    assert all(one.author for one in listed if one.licence.startswith("CC-BY"))


def test_the_lists_splits_are_those_of_the_function() -> None:
    listed = {one.stem: one.split for one in read_list()}
    assert listed == choose_splits(listed)
    assert sizes(listed.values()) == [40, 24, 419]
    assert all(stem in listed for group in ALIKE for stem in group)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("x.jpg,p,a/b,CC0,,,tests", "row 1: split is 'tests'"),
        ("../x.jpg,p,a/b,CC0,,,train", "row 1: '../x.jpg' is not a plain file name"),
        ("x.jpg,p,a/b", "row 1: has no licence"),
    ],
)
def test_a_wrong_list_is_one_sentence(line: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"file,package,path,licence,author,source,split\n{line}\n")
    with pytest.raises(PrefPaintError, match=sentence):
        read_list(tmp_path / "list.csv")
