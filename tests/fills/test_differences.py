import numpy as np
import pytest

from prefpaint.fills.differences import hole_psnr, hole_spread, hole_ssim


def test_ssim_of_the_hole() -> None:
    rng = np.random.default_rng(0)
    original = rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 1
    noise = np.where(mask[..., None] > 0, rng.integers(0, 256, (32, 32, 3)).astype(np.uint8), original)
    found = hole_ssim(np.stack([original, noise]), original, mask)
    assert found[0] == pytest.approx(1.0) and found[1] < 0.3


def test_hole_psnr_by_hand() -> None:
    original = np.zeros((2, 2, 3), np.uint8)
    images = np.stack([original, original])
    images[0, 0, 0] = 51
    images[1, 1, 1] = 255
    mask = np.array([[1, 1], [0, 0]], np.uint8)
    # Half the hole is off by 51 = 255 / 5: mean squared error 255² / 50. The second error lies outside the hole.
    psnr = hole_psnr(images, original, mask)
    assert psnr[0] == pytest.approx(10 * np.log10(50))
    assert psnr[1] == pytest.approx(10 * np.log10(255**2 * 12))


def test_hole_spread_by_hand() -> None:
    mask = np.array([[1, 0]], np.uint8)
    images = np.zeros((3, 1, 2, 3), np.uint8)
    images[0, 0, 0] = 30
    images[:, 0, 1] = [[1], [99], [200]]
    # Against the mean of the others: 30 against 0, and twice 0 against 15; the known pixel does not count.
    assert hole_spread(images, mask).tolist() == [30.0, 15.0, 15.0]
    assert np.isnan(hole_spread(images[:1], mask)).all()
