"""Simulated raters judge what can be seen."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from prefpaint.fills.appearance import appearance
from prefpaint.preferences.simulated import NoiselessRater, simulate_ratings
from prefpaint.preferences.taste import SimulatedConfig, SimulatedRater, Taste
from tests.tiny import tiny_judge

# Everything that is written down, and no opinion of a judge.
WRITTEN = Taste(likeness=0.0, leniency=2.0, seam=0.5, colour=3.0, palette=2.5, texture=0.45)


def noiseless_score(images: np.ndarray, masks: np.ndarray, taste: Taste) -> np.ndarray:
    return NoiselessRater(taste, tiny_judge()).score(images, masks)


@pytest.fixture
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Six textured pictures with a gradient, and a square hole in each."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(60, 190, 64)
    images = ramp[None, :, None, None] + rng.normal(0, 12, (6, 64, 64, 1)) + rng.uniform(-30, 30, (6, 1, 1, 3))
    masks = np.zeros((6, 64, 64), np.uint8)
    masks[:, 16:48, 20:52] = 1
    return np.clip(images, 0, 255).astype(np.uint8), masks


def fill(images: np.ndarray, masks: np.ndarray, filling: np.ndarray) -> np.ndarray:
    return np.where(masks[..., None] > 0, filling, images).astype(np.uint8)


def test_every_flaw_costs(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    images, masks = pictures
    perfect = noiseless_score(images, masks, WRITTEN)
    blurred = fill(images, masks, ndimage.gaussian_filter(images, (0, 4, 4, 0)))
    darker = fill(images, masks, images * 0.6)
    foreign = fill(images, masks, 255 - images)
    noisy = fill(images, masks, np.clip(images + np.random.default_rng(1).normal(0, 50, images.shape), 0, 255))
    for worse in (blurred, darker, foreign, noisy):
        assert (noiseless_score(worse, masks, WRITTEN) < perfect).all()
    assert ((perfect >= 0) & (perfect <= 7)).all()


def test_flaws_are_the_ones_meant(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    images, masks = pictures
    before = appearance(images, masks)
    blurred = appearance(fill(images, masks, ndimage.gaussian_filter(images, (0, 4, 4, 0))), masks)
    darker = appearance(fill(images, masks, np.clip(images - 60.0, 0, 255)), masks)
    assert (blurred.log_energy < before.log_energy - 1).all()
    assert (darker.seam > before.seam + 0.3).all()
    # Sixty grey levels less in each channel: a colour step of about √3 · 60 / 255.
    np.testing.assert_allclose((darker.colour - before.colour).mean(), np.sqrt(3) * 60 / 255, atol=0.1)
    np.testing.assert_allclose((darker.log_energy - before.log_energy), 0, atol=0.2)


def test_energy_ratio_by_hand() -> None:
    """Stripes of height 40 in the hole, of height 20 outside: four times the energy along the width."""
    image = np.zeros((1, 32, 32, 3), np.uint8)
    image[:, :, ::2] = 20
    mask = np.zeros((1, 32, 32), np.uint8)
    mask[:, :, :16] = 1
    image[:, :, :16] *= 2
    # The floor of 3 · (1.5/255)² is a hundredth of the smaller energy.
    assert float(appearance(image, mask).log_energy[0]) == pytest.approx(np.log(4), abs=0.03)


def test_calm_taste_prefers_calm_fills(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    images, masks = pictures
    calm = fill(images, masks, ndimage.gaussian_filter(images, (0, 1.5, 1.5, 0)))
    natural, quiet = WRITTEN, WRITTEN.model_copy(update={"preferred_log_energy": -3.0})
    assert (noiseless_score(calm, masks, natural) < noiseless_score(images, masks, natural)).all()
    assert (noiseless_score(calm, masks, quiet) > noiseless_score(images, masks, quiet)).all()


def test_ratings_are_whole_reproducible_and_independent_of_the_batch(
    pictures: tuple[np.ndarray, np.ndarray],
) -> None:
    images, masks = pictures
    ids = [f"train_00000_{i}" for i in range(6)]
    opinions = NoiselessRater(Taste(), tiny_judge()).ratings(images, masks)
    table = simulate_ratings(opinions, ids, SimulatedConfig())
    assert len(table) == 18 and set(table["rater"]) == {"simulated_1", "simulated_2", "simulated_3"}
    for criterion in ("structure", "texture", "overall"):
        assert table[criterion].between(0, 7).all() and table[criterion].dtype.kind == "i"
    later = simulate_ratings(opinions[3:], ids[3:], SimulatedConfig())
    np.testing.assert_array_equal(table.iloc[9:].to_numpy(), later.to_numpy())


def test_bias_and_noise_are_as_written() -> None:
    config = SimulatedConfig(raters=(SimulatedRater(name="r", bias=-1.5, noise=0.8),))
    ratings = simulate_ratings(np.full((400, 3), 4.2), [str(i) for i in range(400)], config)["overall"]
    # Standard errors 0.04 and 0.03; rounding adds a variance of 1/12 and at most 0.05 of bias.
    assert ratings.mean() == pytest.approx(2.7, abs=0.2)
    assert ratings.std() == pytest.approx(np.sqrt(0.8**2 + 1 / 12), abs=0.12)


def test_the_opinion_by_hand(pictures: tuple[np.ndarray, np.ndarray]) -> None:
    """Without flaws: 7 sigmoid(weight x likeness + leniency), the same for every criterion."""
    images, masks = pictures
    judge = tiny_judge()
    ratings = NoiselessRater(Taste(likeness=0.5, leniency=-1.0), judge).ratings(images, masks)
    expected = 7 / (1 + np.exp(1.0 - 0.5 * judge.likeness(images, masks)))
    np.testing.assert_allclose(ratings, np.repeat(expected[:, None], 3, 1), rtol=1e-12)
    assert np.ptp(expected) > 0, "the judge tells these pictures apart"


def test_another_judge_is_another_rater() -> None:
    a, b = (NoiselessRater(Taste(), tiny_judge(seed)) for seed in (0, 1))
    assert a.digest() == NoiselessRater(Taste(), tiny_judge(0)).digest() != b.digest()
    assert a.digest() != NoiselessRater(Taste(leniency=0.0), tiny_judge(0)).digest()


def test_flaws_do_not_depend_on_how_many_pictures_are_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefpaint.fills import appearance as module

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 32, 32, 3)).astype(np.uint8)
    masks = np.zeros((5, 32, 32), np.uint8)
    masks[:, 4:20, 10:] = 1
    whole = module.appearance(images, masks)
    monkeypatch.setattr(module, "PIXELS_AT_ONCE", 2 * 32 * 32)
    monkeypatch.setattr(module, "DISTANCES_AT_ONCE", 1)
    parts = module.appearance(images, masks)
    for name in ("log_energy", "log_energy_coarse", "seam", "colour", "palette"):
        # Sums over batches of another size may round differently.
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name), rtol=1e-5, atol=1e-6)


def test_large_pictures_do_not_ask_for_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The palette compares every cell with every other: at 512 px 4 x 4 cells would be a quarter of a billion pairs."""
    from prefpaint.fills import appearance as module

    asked, cdist = [], torch.cdist

    def counting(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        asked.append(a.shape[0] * a.shape[1] * b.shape[1])
        return cdist(a, b)

    monkeypatch.setattr(torch, "cdist", counting)
    images = np.random.default_rng(0).integers(0, 256, (3, 512, 512, 3)).astype(np.uint8)
    masks = np.zeros((3, 512, 512), np.uint8)
    masks[:, :, 200:] = 1
    assert module.appearance(images, masks).palette.shape == (3,)
    assert len(asked) == 3 and max(asked) <= module.DISTANCES_AT_ONCE
