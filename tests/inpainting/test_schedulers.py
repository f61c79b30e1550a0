"""Every scheduler of diffusers that a checkpoint may name: refused, or a chain through DDIM's noise levels."""

import itertools
import warnings
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prefpaint.errors import PrefPaintError
from prefpaint.inpainting.chain import Schedule, ddim_schedule, ddim_steps_the_same, noised, step_mean
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.families.registry import family_of
from prefpaint.inpainting.families.stable_diffusion import WITH_BETAS
from prefpaint.inpainting.sampling import Inpainter
from tests.families import published_scheduler, random_model
from tests.tiny import SIZE

SPACINGS = ("leading", "linspace", "trailing")
# Of them, what can be made here: one needs a library that is not installed.
MADE = tuple(name for name in WITH_BETAS if name != "DPMSolverSDEScheduler")
NAMED = sorted(name for name in dir(diffusers) if name.endswith(("Scheduler", "SchedulerInverse")))
OTHERS = [name for name in NAMED if name not in WITH_BETAS]
PUBLISHED = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def scheduler(name: str, **changes: Any) -> Any:
    """One with Stable Diffusion's betas; settings that its class does not know are left out, as diffusers does."""
    made = getattr(diffusers, name).from_config({**PUBLISHED, **changes})
    made.config.get("_use_default_values", []).clear()
    return made


def assert_is_a_chain(schedule: Schedule, steps: int) -> None:
    levels = schedule.levels
    assert len(levels) == len(schedule.next_signal) == steps
    assert torch.equal(schedule.next_signal[:-1], levels.signal[1:]), "a step ends where the next begins"
    # With no noise added, what is left of ε is the next level's spread.
    kept = (schedule.direction.square() + schedule.sigma.square()).sqrt()
    torch.testing.assert_close(kept[:-1], levels.spread[1:])
    # The schedule's own clean end: no noise, or that of the first level that was trained.
    assert schedule.next_signal[-1] >= schedule.trained.signal[0]
    assert (levels.time.diff() < 0).all() and levels.time[-1] >= 0
    for values in (schedule.next_signal, schedule.direction, schedule.sigma):
        assert values.isfinite().all()


@pytest.mark.parametrize("name", MADE)
def test_every_scheduler_becomes_the_chain_of_ddim(name: str) -> None:
    made, plain = scheduler(name), scheduler("DDIMScheduler")
    for spacing, steps, offset, to_one in itertools.product(SPACINGS, (2, 7, 30, 61, 1000), (0, 1, 5), (False, True)):
        asked = {"timestep_spacing": spacing, "steps_offset": offset, "set_alpha_to_one": to_one}
        asked = {key: value for key, value in asked.items() if key in made.config}
        made.register_to_config(**asked)
        schedule = ddim_schedule(made, steps, 1.0)
        assert_is_a_chain(schedule, steps)
        # What its class does not know has DDIM's defaults.
        plain.register_to_config(
            **{"timestep_spacing": "leading", "steps_offset": 0, "set_alpha_to_one": True, **asked}
        )
        theirs = ddim_schedule(plain, steps, 1.0)
        assert torch.equal(schedule.levels.signal, theirs.levels.signal)
        assert torch.equal(schedule.next_signal, theirs.next_signal)


@given(
    name=st.sampled_from(MADE),
    spacing=st.sampled_from(SPACINGS),
    steps=st.integers(2, 200),
    extra=st.integers(0, 900),
    offset=st.integers(0, 20),
    to_one=st.booleans(),
    betas=st.sampled_from(("linear", "scaled_linear", "squaredcos_cap_v2")),
    eta=st.sampled_from((0.0, 0.3, 1.0)),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_number_of_steps_is_a_chain(
    name: str, spacing: str, steps: int, extra: int, offset: int, to_one: bool, betas: str, eta: float
) -> None:
    changes = {"timestep_spacing": spacing, "steps_offset": offset, "set_alpha_to_one": to_one, "beta_schedule": betas}
    made = scheduler(name, **changes, num_train_timesteps=steps + extra)
    assert_is_a_chain(ddim_schedule(made, steps, eta), steps)


def test_many_numbers_of_steps_are_chains_with_every_spacing() -> None:
    """diffusers' trailing spacing has one step too many for 62 numbers of steps, the first of them 61."""
    for spacing in SPACINGS:
        made = published_scheduler(timestep_spacing=spacing)
        for steps in (*range(2, 250), *range(250, 1001, 7), 397, 402, 1000):
            schedule = ddim_schedule(made, steps, 0.0)
            assert len(schedule.levels) == steps and schedule.levels.time[-1] >= 0
            assert torch.equal(schedule.next_signal[:-1], schedule.levels.signal[1:])


@pytest.mark.parametrize("change", ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas"])
def test_a_solvers_own_spacing_is_left_out(change: str) -> None:
    made = scheduler("DPMSolverMultistepScheduler", **{change: True, "steps_offset": 1, "timestep_spacing": "leading"})
    plain = ddim_schedule(published_scheduler(set_alpha_to_one=True), 10, 1.0)
    assert torch.equal(ddim_schedule(made, 10, 1.0).next_signal, plain.next_signal)


@pytest.mark.parametrize(("name", "betas"), [("DDPMScheduler", "sigmoid"), ("HeunDiscreteScheduler", "exp")])
def test_betas_by_a_formula_that_ddim_does_not_know_are_the_schedulers_own(name: str, betas: str) -> None:
    made = scheduler(name, beta_schedule=betas, timestep_spacing="trailing")
    schedule = ddim_schedule(made, 10, 0.0)
    assert_is_a_chain(schedule, 10)
    torch.testing.assert_close(schedule.trained.signal, made.alphas_cumprod.double().sqrt())


@pytest.mark.parametrize("name", ["DDIMScheduler", "EulerDiscreteScheduler", "UniPCMultistepScheduler"])
def test_betas_given_as_a_list_are_used(name: str) -> None:
    betas = np.linspace(1e-4, 0.05, 200).tolist()
    made = scheduler(name, trained_betas=betas, num_train_timesteps=200)
    schedule = ddim_schedule(made, 10, 0.0)
    expected = torch.tensor(1 - np.array(betas)).cumprod(0).sqrt()
    # diffusers sums in float32.
    torch.testing.assert_close(schedule.trained.signal, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", ["DDIMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler"])
def test_zero_terminal_snr_is_ddims_with_every_solver(name: str) -> None:
    """Solvers put a small number in place of the last level's zero, which DDIM need not."""
    changes = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"}
    schedule = ddim_schedule(scheduler(name, **changes), 10, 1.0)
    assert schedule.levels.signal[0] == 0
    assert_is_a_chain(schedule, 10)


def test_more_steps_than_levels_are_refused() -> None:
    with pytest.raises(PrefPaintError, match="a chain of 1001 is longer than the 1000 levels"):
        ddim_schedule(published_scheduler(), 1001, 0.0)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "PNDMScheduler"])
def test_steps_from_clean_latents_arrive_at_the_picture(name: str, spacing: str, prediction: str) -> None:
    """Where the network is right, the whole chain is exact, whatever the solver was."""
    made = scheduler(name, prediction_type=prediction, timestep_spacing=spacing, set_alpha_to_one=True)
    schedule = ddim_schedule(made, 7, 0.0)
    clean, noise = torch.randn(2, 1, 4, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    for index in range(7):
        here = noised(schedule, clean, noise, schedule.levels[torch.tensor([index])])
        latents = step_mean(schedule, index, here.latents, here.target)
        if index < 6:
            there = noised(schedule, clean, noise, schedule.levels[torch.tensor([index + 1])]).latents
            torch.testing.assert_close(latents, there)
    torch.testing.assert_close(latents, clean)


@pytest.fixture(scope="module")
def pipe() -> Any:
    return random_model("epsilon")


def fills(pipe: Any, made: Any, prompts: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    pipe.scheduler = made
    return Inpainter(pipe, SamplingConfig(steps=6), "cpu").sample(*prompts, [1, 2])


@pytest.mark.parametrize("name", MADE)
def test_fills_are_those_under_ddim(pipe: Any, name: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3)).astype(np.uint8)
    masks = np.zeros((2, SIZE, SIZE), np.uint8)
    masks[:, 8:24, 8:24] = 1
    for spacing in SPACINGS:
        made = scheduler(name, timestep_spacing=spacing, steps_offset=1)
        asked = {key: made.config[key] for key in ("steps_offset", "set_alpha_to_one") if key in made.config}
        asked |= {"timestep_spacing": made.config.get("timestep_spacing", "leading")}
        theirs = fills(pipe, diffusers.DDIMScheduler(**{**PUBLISHED, "steps_offset": 0, **asked}), (images, masks))
        np.testing.assert_array_equal(fills(pipe, made, (images, masks)), theirs)


@pytest.mark.parametrize("name", OTHERS)
def test_every_other_scheduler_is_refused_by_a_unet(pipe: Any, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pipe.scheduler = getattr(diffusers, name)()
        except (TypeError, ImportError):
            pytest.skip("cannot be made without arguments or a further library")
    with pytest.raises(
        PrefPaintError, match=f"has the scheduler {name}, whose noise levels are of another kind"
    ) as caught:
        family_of(pipe)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model", ["sd3", "flux_fill"])
@pytest.mark.parametrize("name", ["DDIMScheduler", "EulerDiscreteScheduler", "UniPCMultistepScheduler"])
def test_a_flow_is_refused_a_scheduler_with_betas(model: str, name: str) -> None:
    flow = random_model(model)
    flow.scheduler = scheduler(name)
    with pytest.raises(PrefPaintError, match=f"has the scheduler {name}.*give it FlowMatchEulerDiscreteScheduler"):
        family_of(flow)


@pytest.mark.parametrize("steps", [2, 3, 5, 10, 28, 30, 50])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("changes", [{}, {"clip_sample": True}, {"thresholding": True}, {"steps_offset": 0}])
def test_the_stock_call_is_offered_only_where_it_goes_the_same_way(
    spacing: str, steps: int, changes: dict[str, Any]
) -> None:
    """Against a run of diffusers' own DDIM with a network that says the same things."""
    made = published_scheduler(timestep_spacing=spacing, **changes)
    schedule = ddim_schedule(made, steps, 0.0)
    theirs = diffusers.DDIMScheduler.from_config(made.config)
    theirs.set_timesteps(steps)
    draw = torch.Generator().manual_seed(0)
    ours = sample = torch.randn(1, 4, 4, 4, generator=draw)
    for index, time in enumerate(theirs.timesteps[:steps]):
        predicted = torch.randn(sample.shape, generator=draw)
        sample = theirs.step(predicted, int(time), sample).prev_sample
        ours = step_mean(schedule, index, ours, predicted)
    # float32 in another order over up to 50 steps.
    same = torch.allclose(ours, sample, atol=1e-3, rtol=1e-3)
    assert ddim_steps_the_same(made, steps) == same
