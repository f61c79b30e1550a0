"""Shift-tolerant LPIPS: the published distances, the laws of a distance, and what can be wrong with its files.

The expected numbers were made by stlpips-pytorch 0.0.2 itself (torch 2.13, CPU, one thread), called as its README says,
`LPIPS(net=..., variant="shift_tolerant")(im2tensor(image), im2tensor(original))`, pair by pair, with an empty module
in the place of torchvision, which the package imports but does not use for these networks. Each size has three pairs:
two unlike pictures of soft colours, one picture with noise, and one with a grey patch.
"""

import importlib.util
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from prefpaint.errors import PrefPaintError
from prefpaint.evaluation import stlpips
from prefpaint.evaluation.samples import OUTSIDE
from prefpaint.evaluation.stlpips import NETS, Net, ShiftTolerantLPIPS, outside_judges
from tests.conftest import REPOSITORY

EXPECTED = REPOSITORY / "tests/data/stlpips/distances.npz"


@pytest.fixture(scope="module")
def judges() -> dict[Net, ShiftTolerantLPIPS]:
    return {net: ShiftTolerantLPIPS(net) for net in NETS}


def pictures(seed: int, count: int, side: int = 64) -> np.ndarray:
    """Soft colours with some grain, (count, side, side, 3) uint8."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    soft = [np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BICUBIC)) for one in cells]
    return np.clip(np.stack(soft) + rng.normal(0, 6, (count, side, side, 3)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("size", ["square", "odd", "small"])
def test_distances_are_the_published_packages(judges: dict[Net, ShiftTolerantLPIPS], net: Net, size: str) -> None:
    with np.load(EXPECTED) as expected:
        found = judges[net].distance(expected[f"{size}_images"], expected[f"{size}_originals"])
        np.testing.assert_allclose(found, expected[f"{size}_{net}"], rtol=1e-5)
    assert found.dtype == np.float64 and found.shape == (3,)


@pytest.mark.parametrize("net", NETS)
@settings(max_examples=8)
@given(seed=st.integers(0, 2**31), side=st.integers(24, 40))
def test_it_is_a_distance(judges: dict[Net, ShiftTolerantLPIPS], net: Net, seed: int, side: int) -> None:
    ones, others = pictures(seed, 2, side), pictures(seed + 1, 2, side)
    found = judges[net].distance(ones, others)
    assert (found > 0).all()
    np.testing.assert_allclose(judges[net].distance(others, ones), found, rtol=1e-5)
    assert (judges[net].distance(ones, ones) < 1e-10).all()


@pytest.mark.parametrize("net", NETS)
def test_the_more_a_picture_is_blurred_the_farther_it_is(judges: dict[Net, ShiftTolerantLPIPS], net: Net) -> None:
    for original in pictures(3, 4):
        picture = Image.fromarray(original)
        blurred = [np.asarray(picture.filter(ImageFilter.GaussianBlur(radius))) for radius in (0.5, 1, 2, 4)]
        found = judges[net].distance(np.stack([original, *blurred]), original[None])
        assert (np.diff(found) > 0).all()


@pytest.mark.parametrize("net", NETS)
def test_a_shift_by_one_pixel_is_a_small_thing(judges: dict[Net, ShiftTolerantLPIPS], net: Net) -> None:
    whole = pictures(5, 3, 65)
    shifted = judges[net].distance(whole[:, 1:, 1:], whole[:, :-1, :-1])
    other = judges[net].distance(whole[:, 1:, 1:], whole[[1, 2, 0], :-1, :-1])
    assert (shifted < other).all()


def test_batches_and_shared_originals_change_nothing(
    judges: dict[Net, ShiftTolerantLPIPS], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, original = pictures(1, 7, 32), pictures(2, 1, 32)
    for judge in judges.values():
        whole = judge.distance(images, original)
        np.testing.assert_allclose(judge.distance(images, original.repeat(7, 0)), whole, rtol=1e-5)
        with monkeypatch.context() as patched:
            patched.setattr(stlpips, "PIXELS_AT_ONCE", 3 * 32 * 32)
            np.testing.assert_allclose(judge.distance(images, original), whole, rtol=1e-5)
            np.testing.assert_allclose(judge.distance(images, images[::-1].copy())[3], 0, atol=1e-10)
            # One at a time, however large.
            patched.setattr(stlpips, "PIXELS_AT_ONCE", 1)
            np.testing.assert_allclose(judge.distance(images, original), whole, rtol=1e-5)
        assert judge.distance(images[:0], images[:0]).shape == (0,)


@pytest.mark.parametrize("net", NETS)
def test_too_small_a_picture_has_no_distance(judges: dict[Net, ShiftTolerantLPIPS], net: Net) -> None:
    smallest = stlpips.SMALLEST_SIDE[net]
    assert np.isfinite(judges[net].distance(pictures(0, 2, smallest), pictures(1, 2, smallest))).all()
    small = pictures(0, 2, smallest)[:, 1:]
    assert np.isnan(judges[net].distance(small, small)).all()
    with pytest.raises(RuntimeError):
        judges[net](*torch.zeros(2, 1, 3, smallest - 1, smallest))


def test_judges_stand_under_their_columns_and_learn_nothing() -> None:
    judges = outside_judges()
    assert tuple(judges) == OUTSIDE
    for judge in judges.values():
        assert not judge.training and not any(weight.requires_grad for weight in judge.parameters())
    assert "stlpips_pytorch" not in sys.modules and "torchvision" not in sys.modules


def test_nothing_that_trains_or_chooses_knows_the_outside_judge() -> None:
    package = REPOSITORY / "src/prefpaint"
    knowing = {path.relative_to(package) for path in package.rglob("*.py") if "stlpips" in path.read_text().lower()}
    folders = {path.parts[:-1] for path in knowing}
    measuring = {("evaluation",), ("experiments",), ("pipelines", "evaluate"), ("reporting",)}
    assert folders == measuring | {("applications",)}
    # Applications choose among fills; the one file that measures a scene may know the judge.
    assert {path.name for path in knowing if path.parts[0] == "applications"} == {"reconstruct_quality.py"}
    # And what chooses does not reach the judge through it.
    importing = {
        path.relative_to(package) for path in package.rglob("*.py") if "reconstruct_quality" in path.read_text()
    }
    assert importing == {Path("pipelines/reconstruct/nodes.py")}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda file: file.unlink(), r"alex_shift_tolerant\.pth: is missing; run `pip install"),
        (lambda file: file.write_bytes(b"no weights"), r"alex_shift_tolerant\.pth: is damaged; run `pip install"),
        (lambda file: torch.save({}, file), "does not hold the weights of version 0.0.2 of stlpips-pytorch"),
        (lambda file: torch.save({"other": torch.zeros(1)}, file), "does not hold the weights of version 0.0.2"),
    ],
)
def test_a_spoilt_package_is_one_clear_sentence(
    spoil: Callable[[Path], object], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "weights/vST0.0/alex_shift_tolerant.pth"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    spoil(file)
    found = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(stlpips, "find_spec", lambda name: found)
    with pytest.raises(PrefPaintError, match=said) as caught:
        ShiftTolerantLPIPS("alex")
    assert "\n" not in str(caught.value)


def test_a_package_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stlpips, "PACKAGE", "no_such_package_anywhere")
    assert importlib.util.find_spec(stlpips.PACKAGE) is None
    with pytest.raises(PrefPaintError, match=r"^stlpips-pytorch is not installed; run `pip install"):
        ShiftTolerantLPIPS("vgg")
