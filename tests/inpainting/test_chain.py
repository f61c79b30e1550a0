"""The stochastic DDIM step against the published code's numbers and against diffusers."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from prefpaint.inpainting.chain import ddim_schedule, log_probability, per_image, step_mean
from tests.families import published_scheduler

VECTORS = Path(__file__).parents[1] / "data" / "ddim_10.npz"


def test_step_and_log_probability_match_the_published_code() -> None:
    vectors = np.load(VECTORS)
    schedule = ddim_schedule(published_scheduler(), steps=10, eta=1.0)
    assert schedule.levels.time.tolist() == vectors["timesteps"].tolist()
    for index in range(10):
        sample, predicted, noise, previous = (
            torch.from_numpy(vectors[name][index]) for name in ("sample", "noise_pred", "noise", "prev_sample")
        )
        sigma = per_image(schedule.sigma[index], sample)
        mean = step_mean(schedule, index, sample, predicted)
        # float32 on values up to about 10: six digits.
        np.testing.assert_allclose(mean, vectors["prev_mean"][index], atol=1e-5)
        np.testing.assert_allclose(mean + sigma * noise, previous, atol=1e-5)
        np.testing.assert_allclose(log_probability(previous, mean, sigma), vectors["log_prob_mean"][index], atol=1e-5)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_mean_is_that_of_diffusers(prediction: str, eta: float) -> None:
    scheduler = published_scheduler(prediction_type=prediction)
    scheduler.set_timesteps(7)
    schedule = ddim_schedule(scheduler, 7, eta)
    sample, predicted = torch.randn(2, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    for index, time in enumerate(scheduler.timesteps):
        zero = torch.zeros_like(sample)
        theirs = scheduler.step(predicted, int(time), sample, eta=eta, variance_noise=zero).prev_sample
        # Two orders of float32 operations; at ᾱ near 0 their division by √ᾱ costs a digit.
        torch.testing.assert_close(step_mean(schedule, index, sample, predicted), theirs, atol=2e-4, rtol=1e-4)


def test_last_step_without_noise_has_no_density() -> None:
    schedule = ddim_schedule(published_scheduler(set_alpha_to_one=True, steps_offset=0), 10, 1.0)
    assert schedule.sigma[-1] == 0
    assert schedule.stochastic == tuple(range(9))
    assert ddim_schedule(published_scheduler(), 10, 0.0).stochastic == ()


def test_log_probability_by_hand() -> None:
    value, mean = torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, 3.0]]]])
    constant = -math.log(2.0) - 0.5 * math.log(2 * math.pi)
    # Squared errors 1 and 9 over 2σ² = 8: a mean of −0.625 over both, −0.125 over the first alone.
    assert log_probability(value, mean, torch.tensor(2.0)).item() == pytest.approx(constant - 0.625, abs=1e-6)
    first = torch.tensor([[[[1.0, 0.0]]]])
    assert log_probability(value, mean, torch.tensor(2.0), first).item() == pytest.approx(constant - 0.125, abs=1e-6)


def test_a_step_for_each_image_is_the_same_as_one_by_one() -> None:
    schedule = ddim_schedule(published_scheduler(), steps=10, eta=1.0)
    sample, predicted, value = torch.randn(3, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    steps = torch.tensor([7, 2])
    mean = step_mean(schedule, steps, sample, predicted)
    found = log_probability(value, mean, per_image(schedule.sigma[steps], mean))
    for row, step in enumerate(steps.tolist()):
        one = slice(row, row + 1)
        alone = step_mean(schedule, step, sample[one], predicted[one])
        assert torch.equal(mean[one], alone)
        assert torch.equal(found[one], log_probability(value[one], alone, per_image(schedule.sigma[step], alone)))
