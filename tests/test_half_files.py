"""What a full disk or a broken copy cut short is neither recorded nor taken up again: it is made again, or named."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from prefpaint.alignment.checkpoints import Checkpoints
from prefpaint.errors import PrefPaintError, printable
from prefpaint.evaluation.samples import _kept_part
from prefpaint.experiments.runs import once
from prefpaint.files import kept_json
from prefpaint.images import ImageFolder, ImageWork, complete_folder, write_image
from prefpaint.photographs.debian import _is_whole
from prefpaint.small_model.examples import load_photographs

PICTURE = np.random.default_rng(0).integers(0, 256, (24, 24, 3)).astype(np.uint8)
KINDS = {
    "colour": PICTURE,
    "depth": PICTURE[..., 0].astype(np.uint16) * 200,
    "mask": (PICTURE[..., 0] > 100).astype(np.uint8),
}


def flipped(whole: bytes) -> bytes:
    return whole[:200] + bytes([whole[200] ^ 1]) + whole[201:]


HALVES = {
    "empty": lambda whole: b"",
    "signature": lambda whole: whole[:8],
    "header": lambda whole: whole[:33],
    "half": lambda whole: whole[: len(whole) // 2],
    "no end": lambda whole: whole[:-12],
    "one byte short": lambda whole: whole[:-1],
    "zeros to the end": lambda whole: whole[:60] + bytes(len(whole) - 60),
    "zeros in the middle": lambda whole: whole[:60] + bytes(20) + whole[80:],
    "a flipped bit": flipped,
    "its end alone": lambda whole: whole[-12:],
    "text": lambda whole: b"No space left on device",
    "another format": lambda whole: b"\xff\xd8\xff\xe0" + whole[4:],
}


def work(image: np.ndarray, asked: list[str]) -> ImageWork:
    def produce(missing: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
        asked.extend(missing)
        return ((key, image) for key in missing)

    return ImageWork("one", ["a", "b", "c"], produce)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("half", HALVES)
def test_half_a_picture_is_made_again_and_never_recorded(
    tmp_path: Path, kind: str, half: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = ImageFolder(tmp_path, masks=kind == "mask")
    complete_folder(folder, work(KINDS[kind], []))
    whole = folder.file("b").read_bytes()
    folder.file("b").write_bytes(HALVES[half](whole))
    assert not folder.is_whole("b") and folder.is_whole("a") and not folder.is_whole("z")
    with pytest.raises(PrefPaintError, match=r"b\.png: is damaged \(.*\); remove it and run its pipeline again"):
        folder.checksum("b")
    asked: list[str] = []
    complete_folder(folder, work(KINDS[kind], asked))
    assert asked == ["b"] and folder.file("b").read_bytes() == whole
    assert "1 pictures are damaged or cut short (first b.png) and are made again" in caplog.text
    np.testing.assert_array_equal(folder["b"], KINDS[kind])


def test_the_checksum_of_a_missing_picture_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(PrefPaintError, match=r"a\.png: is missing; run its pipeline again"):
        ImageFolder(tmp_path).checksum("a")


@pytest.mark.parametrize(
    "half", ["", "{", '{"stamp": "x", "val', "[]", "null", '{"stamp": "x"}', "\0\0\0\0", "[" * 9999]
)
def test_half_a_result_is_made_again(tmp_path: Path, half: str, caplog: pytest.LogCaptureFixture) -> None:
    done = tmp_path / "done.json"
    done.write_text(half)
    assert kept_json(done, "stamp", "value") == {}
    assert f"{done}: is damaged or cut short, and what it held is made again" in caplog.text
    done.write_text(half if half != '{"stamp": "x"}' else "{")
    assert once(done, "x", lambda: {"value": 7}) == {"stamp": "x", "value": 7}
    assert once(done, "x", lambda: pytest.fail("it is there")) == {"stamp": "x", "value": 7}
    assert json.loads(done.read_text())["value"] == 7


def test_bytes_that_are_no_text_are_half_a_result(tmp_path: Path) -> None:
    (tmp_path / "done.json").write_bytes(b"\xff\xfe\x00{")
    assert kept_json(tmp_path / "done.json") == {} == kept_json(tmp_path / "nowhere.json")


@pytest.mark.parametrize("keep", [0, 4, 0.5, 0.99])
def test_half_a_judged_part_is_judged_again(tmp_path: Path, keep: float, caplog: pytest.LogCaptureFixture) -> None:
    path, table = tmp_path / "part.parquet", pd.DataFrame({"reward": [1.0, 2.0]})
    assert _kept_part(path) is None and not caplog.text
    table.to_parquet(path)
    pd.testing.assert_frame_equal(_kept_part(path), table)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep if keep > 1 else keep * len(whole))])
    assert _kept_part(path) is None and "its pictures are judged again" in caplog.text


@pytest.mark.parametrize(
    "half", ["", '{"finished": true, "ident', "[]", '{"finished": true}', '{"identity": 1, "finished": 0}']
)
def test_half_a_description_of_an_alignment_run_is_named(tmp_path: Path, half: str) -> None:
    Checkpoints(tmp_path, {"seed": 1}, 2).save(1, {"iteration": 1})
    (tmp_path / "run.json").write_text(half)
    with pytest.raises(PrefPaintError, match=r"run\.json: is damaged .*; remove the folder to start afresh"):
        Checkpoints(tmp_path, {"seed": 1}, 2)
    assert list(tmp_path.glob("iteration_*.pt")), "nothing is thrown away"


def test_half_of_the_best_weights_is_named(tmp_path: Path) -> None:
    import torch

    kept = Checkpoints(tmp_path, {"seed": 1}, 2)
    kept.save_best({"w": torch.ones(300)})
    kept.best.write_bytes(kept.best.read_bytes()[:500])
    with pytest.raises(PrefPaintError, match=r"best\.safetensors: cannot be read .* to start afresh"):
        kept.load_best()


def test_half_a_pretraining_photograph_is_written_again_or_named(tmp_path: Path) -> None:
    path = tmp_path / "set/a.jpg"
    path.parent.mkdir()
    assert not _is_whole(path)
    Image.fromarray(PICTURE).resize((200, 200)).save(path)
    assert _is_whole(path) and len(load_photographs(path.parent)) == 1
    path.write_bytes(path.read_bytes()[:-500])
    assert not _is_whole(path)
    with pytest.raises(PrefPaintError, match=r"pretrain\.photographs: .*a\.jpg cannot be read as an image"):
        load_photographs(path.parent)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain – äöü 漢字 😀", "plain – äöü 漢字 😀"),
        ("\x1b[2J\x07", r"\x1b[2J\x07"),
        ("a\nb\r\tc\0", r"a\nb\r\tc\x00"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("\ud800 \udcfc", r"\ud800 \udcfc"),
        ("\x85\u2028\u200b\ue000", r"\x85\u2028\u200b\ue000"),
    ],
)
def test_messages_are_one_printable_line(text: str, shown: str) -> None:
    assert printable(text) == shown == str(PrefPaintError(text))
    shown.encode()


def test_a_picture_that_is_written_is_whole(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", PICTURE)
    assert ImageFolder(tmp_path).is_whole("a")
