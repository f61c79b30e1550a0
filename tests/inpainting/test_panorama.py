"""Joint denoising: windows that cover a canvas, and what a canvas of one window must be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.panorama import paint_canvas, plan_windows
from prefpaint.inpainting.sampling import Inpainter, paste_known
from tests.families import random_model


@given(
    rows=st.integers(1, 60),
    columns=st.integers(1, 60),
    unit=st.sampled_from([4, 8, 16]),
    overlap=st.floats(0.125, 0.875),
)
def test_windows_cover_a_canvas_and_overlap(rows: int, columns: int, unit: int, overlap: float) -> None:
    height, width = rows * unit, columns * unit
    windows = plan_windows(height, width, 4 * unit, overlap, unit)
    covered = np.zeros((height, width), int)
    for window in windows:
        assert window.of(covered).shape == (windows[0].height, windows[0].width)
        assert window.top % unit == window.left % unit == 0
        window.of(covered)[:] += 1
    assert covered.min() >= 1
    for starts in ({one.top for one in windows}, {one.left for one in windows}):
        steps = np.diff(sorted(starts))
        assert (steps <= (1 - overlap) * 4 * unit + unit).all(), "neighbours overlap, up to rounding"


@pytest.mark.parametrize("name", ["velocity", "flux_fill"])
def test_a_canvas_of_one_window_is_what_the_model_paints(name: str) -> None:
    inpainter = Inpainter(random_model(name), SamplingConfig(steps=2, eta=0.0, batch=2), "cpu")
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    hole = np.zeros((32, 32), np.uint8)
    hole[:, 16:] = 1
    painted = paint_canvas(inpainter, image, hole, 3, 0.5)
    expected = inpainter.rollout(image[None], hole[None], [3]).images
    # Rounding: a weighted mean of one window is the window, but for the last bit.
    assert np.abs(paste_known(painted[None], image[None], hole[None]).astype(int) - expected).max() <= 1
    again = paint_canvas(inpainter, image, hole, 3, 0.5, start=1)
    expected = inpainter.repaint(image[None], hole[None], [3], 1)
    assert np.abs(paste_known(again[None], image[None], hole[None]).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("name", ["velocity", "flux_fill"])
def test_windows_agree_and_batches_change_nothing(name: str) -> None:
    pipe = random_model(name)
    image = np.full((32, 80, 3), 128, np.uint8)
    hole = np.ones((32, 80), np.uint8)
    hole[:, :16] = 0
    one, many = (
        paint_canvas(Inpainter(pipe, SamplingConfig(steps=2, batch=batch), "cpu"), image, hole, 3, 0.5)
        for batch in (1, 32)
    )
    assert one.shape == image.shape and one[:, 16:].std() > 0
    # Sums over batches of another size differ in their last bits.
    assert np.abs(one.astype(int) - many).max() <= 1
