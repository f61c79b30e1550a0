"""The alignment loop on a real tiny pipeline."""

import math
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from prefpaint import distributed
from prefpaint.alignment import checkpoints, ddpo, rollouts
from prefpaint.alignment.config import AlignConfig, LoraConfig
from prefpaint.alignment.ddpo import PolicyGradient
from prefpaint.alignment.loop import Aligner, Result
from prefpaint.alignment.order import endless
from prefpaint.alignment.policy import Policy
from prefpaint.alignment.scorers import Prompts, Scores
from prefpaint.alignment.watch import Watch
from prefpaint.alignment.watch_config import WatchConfig
from prefpaint.errors import PrefPaintError
from prefpaint.files import load_state
from prefpaint.inpainting.checkpoint import module_digest
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.sampling import Inpainter
from prefpaint.small_model.build import build_small_pipeline
from tests.tiny import SIZE, TINY_MODEL, tiny_prompts

WATCH = WatchConfig(every=2, prompts=4)
CONFIG = AlignConfig(
    mode="ddpo",
    iterations=3,
    prompts=4,
    candidates=4,
    steps=4,
    trained_steps=2,
    lr=1e-3,
    micro_batch=16,
    trackers=(),
    watch=WATCH,
)


def with_(**changes: Any) -> AlignConfig:
    return AlignConfig.model_validate({**CONFIG.model_dump(), **changes})


class Brightness:
    """Likes bright fills: easy to learn, easy to check."""

    def __init__(self, sign: float = 1.0) -> None:
        self.sign = sign

    def reward(self, images: np.ndarray, masks: np.ndarray, texts: Sequence[str] = ()) -> np.ndarray:
        hole = masks[..., None] > 0
        return np.asarray(self.sign * (images * hole).sum((1, 2, 3)) / hole.sum((1, 2, 3)) / 255)

    def __call__(self, images: np.ndarray, masks: np.ndarray, texts: Sequence[str] = ()) -> Scores:
        reward = self.reward(images, masks)
        return Scores(reward, np.ones(len(reward)), np.ones(len(reward)))


class Doubted(Brightness):
    """Trusts reddish fills least."""

    def __call__(self, images: np.ndarray, masks: np.ndarray, texts: Sequence[str] = ()) -> Scores:
        reward = self.reward(images, masks)
        return Scores(reward, 1 + self.reward(images[..., :1], masks), np.ones(len(reward)))


def perturb(policy: Policy, size: float) -> None:
    """Move the trained weights away from the base, the same way every time."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for value in policy.masters:
            value += size * torch.randn(value.shape, generator=generator)


PERTURBED = 2e-3
GATE: dict[str, Any] = {"trust": "gate", "gate": {"share": 0.25, "weight": 30.0}}
# Replaced whenever the policy has moved.
MOVING: dict[str, Any] = {"trust": "gate", "gate": {"share": 0.25, "weight": 30.0, "refresh": 1e-6}}


@dataclass
class Made:
    """An aligner and what it is made of."""

    aligner: Aligner
    method: PolicyGradient
    inpainter: Inpainter

    def gradient(self) -> torch.Tensor:
        """That of the first iteration, flat."""
        policy = self.aligner.policy
        policy.optimizer.step = lambda: None  # type: ignore[method-assign, assignment]
        policy.optimizer.zero_grad = lambda: None  # type: ignore[method-assign, assignment]
        self.method.update(policy, self.method.sampler.collect(policy.network, 0)[0], 0)
        return torch.cat([value.grad.flatten() for value in policy.masters if value.grad is not None])


def make(
    folder: Path, config: AlignConfig = CONFIG, scorer: Any = None, watched: bool = False, **sampling: Any
) -> Made:
    ids, images, masks = tiny_prompts(folder / "prompts", 6)
    pipe = build_small_pipeline(TINY_MODEL, SIZE, seed=1)
    inpainter = Inpainter(pipe, SamplingConfig(steps=config.steps, batch=16, **sampling))
    prompts = Prompts(ids, images, masks)
    method = PolicyGradient(inpainter, scorer or Brightness(), prompts, config)
    judges = {"reward": Brightness().reward, "referee": Brightness().reward}
    watch = Watch(inpainter, prompts, judges, config.watch, config.seed) if watched else None
    return Made(Aligner(inpainter, method, config, watch), method, inpainter)


def run(folder: Path, config: AlignConfig = CONFIG, scorer: Any = None, watched: bool = False) -> Result:
    return make(folder, config, scorer, watched).aligner.run(folder / "workspace")


@pytest.mark.parametrize(
    "changes", [{}, {"tune": "lora"}, {"gradient_checkpointing": True}, {"inner_updates": 2, "lr": 1e-12}]
)
def test_ratio_is_one_before_the_first_step(tmp_path: Path, changes: dict[str, Any]) -> None:
    row = make(tmp_path, with_(**changes)).aligner.iterate()
    # float32: the log-probability's error is about 1e-6.
    assert row["ratio_least"] == pytest.approx(1, abs=1e-5)
    assert row["ratio_most"] == pytest.approx(1, abs=1e-5)
    assert row["clipped"] == 0


def test_the_ratio_in_bfloat16_is_one_too(tmp_path: Path) -> None:
    row = make(tmp_path, precision="bf16").aligner.iterate()
    # Same weights and the same arithmetic, but other batch shapes: bfloat16 has 8 bits, and the mean over some hundred
    # latents of products of errors near 2⁻⁸ comes to some 1e-4.
    assert row["ratio_least"] == pytest.approx(1, abs=1e-3)
    assert row["ratio_most"] == pytest.approx(1, abs=1e-3)


def test_later_inner_steps_leave_one_and_are_clipped(tmp_path: Path) -> None:
    row = make(tmp_path, with_(inner_updates=4, clip=1e-4, lr=1e-2)).aligner.iterate()
    assert row["ratio_least"] < 0.9999 or row["ratio_most"] > 1.0001
    assert row["clipped"] > 0


@pytest.mark.parametrize("tune", ["full", "lora"])
def test_opposite_tastes_move_the_model_apart(tmp_path: Path, tune: str) -> None:
    config = with_(iterations=8, candidates=8, lr=1e-2, clip=0.1, tune=tune, lora={"rank": 4, "alpha": 8})
    bright = [row["reward"] for row in run(tmp_path / "up", config, Brightness(1.0)).history]
    dark = [-row["reward"] for row in run(tmp_path / "down", config, Brightness(-1.0)).history]
    # The same seeds and prompts: before the first update both models paint the same.
    assert bright[0] == pytest.approx(dark[0], abs=1e-9)
    assert np.mean(bright[-3:]) > np.mean(dark[-3:]) + (0.005 if tune == "full" else 0.001)


def gated_gradient(folder: Path, **changes: Any) -> torch.Tensor:
    """That of a policy that has left the base."""
    made = make(folder, with_(**changes), Doubted())
    perturb(made.aligner.policy, PERTURBED)
    return made.gradient()


def test_micro_batches_do_not_change_the_gate(tmp_path: Path) -> None:
    whole, free = gated_gradient(tmp_path, **GATE), gated_gradient(tmp_path, trust="none")
    # float32 sums in another order, on gradients clipped to norm 1.
    torch.testing.assert_close(gated_gradient(tmp_path, **GATE, micro_batch=5), whole, atol=1e-6, rtol=1e-3)
    assert (whole - free).norm() > 0.1, "the gate pulls"


def test_a_gate_open_for_all_is_the_kl(tmp_path: Path) -> None:
    """Pulling every sample to the base is what `kl` does: two ways of computing one gradient."""
    everyone = gated_gradient(tmp_path, trust="gate", gate={"share": 1.0, "weight": 3.0})
    torch.testing.assert_close(everyone, gated_gradient(tmp_path, trust="none", kl=3.0), atol=1e-6, rtol=1e-3)


def test_only_the_least_trusted_are_pulled(tmp_path: Path) -> None:
    made = make(tmp_path, with_(**GATE, trained_steps=1), Doubted())
    policy, method = made.aligner.policy, made.method
    perturb(policy, PERTURBED)
    rollout, row = method.sampler.collect(policy.network, 0)
    width = Doubted()(rollout.chain.images, method.sampler.prompts.masks.stack(prompts_of(made))).width
    assert row["gated"] == 0.25 and set(np.flatnonzero(rollout.gated)) == set(np.argsort(width)[-4:])
    index, rows = torch.full((16,), method.trainable_steps[0]), torch.arange(16)
    anchor = method._of_anchor(policy, rollout, [(index, rows)])[0]
    with_pull, found = method.step_loss(policy, rollout, index, rows, anchor)
    without, _ = method.step_loss(policy, rollout, index, rows, None)
    pull = found[3]
    assert pull.isnan().tolist() == (~rollout.gated).tolist() and (pull[rollout.gated] > 0).all()
    torch.testing.assert_close(with_pull - without, 30 * pull.nan_to_num(), atol=1e-5, rtol=0)


def prompts_of(made: Made) -> list[str]:
    """Of the first iteration's samples, in their order."""
    config, ids = made.aligner.config, made.method.sampler.prompts.ids
    order = endless("prompts", config.seed, len(ids), 0, config.prompts)
    return [ids[number] for number in order for _ in range(config.candidates)]


def test_full_trust_is_never_pulled(tmp_path: Path) -> None:
    """Width 0, as where trust was left out."""

    class Believed(Brightness):
        def __call__(self, images: np.ndarray, masks: np.ndarray, texts: Sequence[str] = ()) -> Scores:
            reward = self.reward(images, masks)
            return Scores(reward, np.zeros(len(reward)), np.ones(len(reward)))

    row = make(tmp_path, with_(**GATE), Believed()).aligner.iterate()
    assert (row["gated"], row["pull"]) == (0, 0)
    torch.testing.assert_close(
        make(tmp_path, with_(**GATE), Believed()).gradient(), make(tmp_path).gradient(), atol=0, rtol=0
    )


@pytest.mark.parametrize("tune", ["full", "lora"])
def test_the_anchor_follows_only_when_the_policy_has_gone_far(tmp_path: Path, tune: str) -> None:
    made = make(tmp_path, with_(**MOVING, tune=tune), Doubted())
    policy = made.aligner.policy
    base = [value.detach().clone() for value in policy.masters]
    rows = [made.aligner.iterate()]
    # The policy of the first iteration is its anchor.
    assert (rows[0]["pull"], rows[0]["anchor_refreshed"]) == (pytest.approx(0, abs=1e-9), 0)
    assert all(torch.equal(one, other) for one, other in zip(policy.anchor, base, strict=True))
    while rows[-1]["anchor_refreshed"] == 0:
        rows.append(made.aligner.iterate())
    assert rows[-1]["pull"] > 1e-6 >= rows[-2]["pull"]
    assert all(torch.equal(one, other) for one, other in zip(policy.anchor, policy.masters, strict=True))
    # The next iteration begins at the anchor again.
    assert made.aligner.iterate()["pull"] == pytest.approx(0, abs=1e-9)
    # Without a limit there is no copy, and the base is the anchor.
    still = make(tmp_path, with_(**GATE, tune=tune), Doubted()).aligner
    assert still.policy.anchor == []
    for _ in range(len(rows) + 1):
        last = still.iterate()
    assert last["pull"] > 1e-6 and last["anchor_refreshed"] == 0


def test_one_and_two_processes_gate_alike(tmp_path: Path) -> None:
    """The same gradient and figures of a policy that has left its anchor, which both then replace."""

    def work() -> None:
        made = make(tmp_path / str(distributed.processes()), with_(**MOVING), Doubted())
        policy = made.aligner.policy
        perturb(policy, PERTURBED)
        policy.optimizer.step = lambda: None  # type: ignore[method-assign, assignment]
        policy.optimizer.zero_grad = lambda: None  # type: ignore[method-assign, assignment]
        row = made.aligner.iterate()
        row.pop("images_per_second")
        gradient = torch.cat([value.grad.flatten() for value in policy.masters if value.grad is not None])
        if distributed.is_main():
            torch.save((gradient, policy.anchor, row), tmp_path / f"{distributed.processes()}.pt")

    # Before two write them at once.
    tiny_prompts(tmp_path / "2" / "prompts", 6)
    work()
    distributed.launch(work, 2, "test")
    one, two = (torch.load(tmp_path / f"{count}.pt", weights_only=True) for count in (1, 2))
    # float32 sums in another order, on gradients clipped to norm 1.
    torch.testing.assert_close(two[0], one[0], atol=1e-5, rtol=1e-3)
    assert all(torch.equal(alone, together) for alone, together in zip(one[1], two[1], strict=True))
    assert one[2]["anchor_refreshed"] == 1 and two[2] == pytest.approx(one[2], rel=1e-4)


@pytest.mark.parametrize("changes", [{"micro_batch": 5}, {"gradient_checkpointing": True}])
def test_memory_knobs_do_not_change_the_gradient(tmp_path: Path, changes: dict[str, Any]) -> None:
    # float32 sums in another order, on gradients clipped to norm 1.
    torch.testing.assert_close(
        make(tmp_path, with_(**changes)).gradient(), make(tmp_path).gradient(), atol=1e-5, rtol=1e-3
    )


# Where a run is killed: which function, and at which of its calls.
KILLS = {
    "sampling": ("concatenate", 2),
    "update": ("policy_loss", 3),
    "checkpoint": ("save_state", 2),
    "third": ("save_state", 3),
    "best": ("save_file", 1),
    "finish": ("_describe", 2),
}


def die_in(folder: Path, point: str, config: AlignConfig = CONFIG) -> None:
    """Align, and be killed without warning; a file being written is half there then."""
    name, call = KILLS[point]
    owner: Any = next(place for place in (ddpo, rollouts, checkpoints, checkpoints.Checkpoints) if hasattr(place, name))
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def dying(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls < call:
            return original(*arguments, **named)
        for target in arguments:
            if isinstance(target, Path):
                target.with_name(f".{target.name}.1.tmp").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, name, dying)
    run(folder, config, Doubted(), watched=True)


def killed(folder: Path, point: str, config: AlignConfig = CONFIG) -> None:
    """An alignment that did not end."""
    process = multiprocessing.get_context("spawn").Process(target=die_in, args=(folder, point, config))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_a_killed_run_finds_its_anchor_again(tmp_path: Path) -> None:
    config = with_(**MOVING, iterations=4)
    whole = run(tmp_path / "whole", config, Doubted(), watched=True)
    # At the checkpoint after the third iteration: the second has replaced the anchor.
    killed(tmp_path / "killed", "third", config)
    resumed = run(tmp_path / "killed", config, Doubted(), watched=True)
    assert [row["anchor_refreshed"] for row in whole.history[:3]] == [0, 1, 0]
    assert module_digest(resumed.network) == module_digest(whole.network)
    assert (resumed.history, resumed.watched) == (whole.history, whole.watched)


@pytest.mark.parametrize("point", KILLS)
def test_a_run_killed_anywhere_ends_in_the_same_weights(tmp_path: Path, point: str) -> None:
    whole = run(tmp_path / "whole", scorer=Doubted(), watched=True)
    killed(tmp_path / "killed", point)
    resumed = run(tmp_path / "killed", scorer=Doubted(), watched=True)
    assert module_digest(resumed.network) == module_digest(whole.network)
    assert (resumed.history, resumed.watched) == (whole.history, whole.watched)
    kept = [sorted((tmp_path / name / "workspace").glob("*.*")) for name in ("whole", "killed")]
    assert [[file.name for file in files] for files in kept] == 2 * [
        ["best.safetensors", "iteration_000002.pt", "iteration_000003.pt", "run.json"]
    ]
    states = [load_state(files[2])["policy"] for files in kept]  # type: ignore[index]
    for name in ("masters", "averages"):
        torch.testing.assert_close(states[0][name], states[1][name], atol=0, rtol=0)
    torch.testing.assert_close(states[0]["optimizer"]["state"], states[1]["optimizer"]["state"], atol=0, rtol=0)


def test_an_unfinished_run_of_another_configuration_is_refused(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=die_in, args=(tmp_path, "checkpoint"))
    process.start()
    process.join()
    kept = {file: file.read_bytes() for file in (tmp_path / "workspace").iterdir()}
    with pytest.raises(PrefPaintError, match=r"unfinished run .*align\.lr was 0\.001 and is now 0\.002"):
        run(tmp_path, with_(lr=2e-3), watched=True)
    assert {file: file.read_bytes() for file in (tmp_path / "workspace").iterdir()} == kept
    other = make(tmp_path, watched=True)
    other.aligner.inputs = {"gamma": {"kind": "static"}}
    with pytest.raises(PrefPaintError, match=r'unfinished run .*gamma\.kind was null and is now "static"'):
        other.aligner.run(tmp_path / "workspace")
    # Memory may be traded for speed halfway.
    assert len(run(tmp_path, with_(micro_batch=5), watched=True).history) == CONFIG.iterations


def test_a_finished_run_makes_room_and_can_be_prolonged(tmp_path: Path) -> None:
    run(tmp_path, with_(seed=1))
    short = run(tmp_path, with_(iterations=2))
    longer = run(tmp_path)
    assert longer.history[:2] == short.history
    assert module_digest(longer.network) == module_digest(run(tmp_path / "at once").network)
    assert module_digest(run(tmp_path, with_(iterations=2)).network) == module_digest(short.network)


def test_the_average_by_hand(tmp_path: Path) -> None:
    made = make(tmp_path, with_(average=0.75))
    base = [value.clone() for value in made.inpainter.network.parameters()]
    policy = made.aligner.policy
    made.aligner.iterate()
    first = [value.detach().clone() for value in policy.masters]
    made.aligner.iterate()
    for mean, a, b, c in zip(policy.averages, base, first, policy.masters, strict=True):
        torch.testing.assert_close(mean, 0.75 * (0.75 * a + 0.25 * b) + 0.25 * c.detach())


@pytest.mark.parametrize("tune", ["full", "lora"])
def test_the_base_is_left_alone(tmp_path: Path, tune: str) -> None:
    made = make(tmp_path, with_(tune=tune))
    before = made.aligner.base_digest
    result = made.aligner.run(tmp_path / "workspace")
    assert module_digest(made.inpainter.network) == before != module_digest(result.network)


def test_the_best_look_is_the_result(tmp_path: Path) -> None:
    """A referee that likes it dark, on a run that makes it bright: the first look is the best."""
    config = with_(iterations=6, lr=1e-2, clip=0.1, watch={"every": 1, "prompts": 4, "patience": 2})
    made = make(tmp_path, config, watched=True)
    assert made.aligner.watch is not None
    # In units in which a step of this small model is no small change.
    made.aligner.watch.judges["referee"] = lambda *given: 1000 * Brightness(-1.0).reward(*given)  # type: ignore[index]
    result = made.aligner.run(tmp_path / "workspace")
    assert len(result.watched) == len(result.history) < 6, "stopped early"
    chosen = int(np.argmax([row["referee"] for row in result.watched]))
    assert chosen == len(result.watched) - 3
    again = make(tmp_path / "again", config).aligner
    for _ in range(chosen + 1):
        again.iterate()
    expected = again.policy.finish(again.policy.averages_by_name())
    assert module_digest(result.network) == module_digest(expected)


def test_kl_holds_the_policy_back(tmp_path: Path) -> None:
    free = run(tmp_path / "free", with_(iterations=6, kl=1e-9)).history
    held = run(tmp_path / "held", with_(iterations=6, kl=100.0)).history
    assert free[0]["kl"] == pytest.approx(0, abs=1e-9)
    assert held[-1]["kl"] < free[-1]["kl"]


def test_one_lost_reward_is_dropped_and_counted(tmp_path: Path) -> None:
    class Broken(Brightness):
        def __call__(self, images: np.ndarray, masks: np.ndarray, texts: Sequence[str] = ()) -> Scores:
            scores = super().__call__(images, masks)
            scores.reward[3] = np.nan
            return scores

    made = make(tmp_path, scorer=Broken())
    row = made.aligner.iterate()
    assert row["rewards_dropped"] == 1
    assert np.isfinite(row["gradient_norm"])
    assert all(torch.isfinite(value).all() for value in made.aligner.policy.masters)


def test_a_chain_without_noise_is_refused(tmp_path: Path) -> None:
    ids, images, masks = tiny_prompts(tmp_path, 2)
    inpainter = Inpainter(build_small_pipeline(TINY_MODEL, SIZE, 1), SamplingConfig(steps=4, eta=0.0))
    with pytest.raises(PrefPaintError, match="only 0 of the chain are random enough"):
        PolicyGradient(inpainter, Brightness(), Prompts(ids, images, masks), CONFIG)


def test_a_last_step_without_noise_is_not_trained(tmp_path: Path) -> None:
    ids, images, masks = tiny_prompts(tmp_path, 4)
    pipe = build_small_pipeline(TINY_MODEL, SIZE, seed=1)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, set_alpha_to_one=True)
    inpainter = Inpainter(pipe, SamplingConfig(steps=4, batch=16))
    assert inpainter.schedule(SIZE, SIZE).sigma[-1] == 0
    config = with_(least_sigma=0.0, trained_steps=3)
    method = PolicyGradient(inpainter, Brightness(), Prompts(ids, images, masks), config)
    assert method.trainable_steps == [0, 1, 2]
    row = Aligner(inpainter, method, config).iterate()
    assert math.isfinite(row["gradient_norm"]) and row["ratio_most"] == pytest.approx(1, abs=1e-5)


def test_network_evaluations_are_counted(tmp_path: Path) -> None:
    made = make(tmp_path, with_(kl=0.1))
    # 16 samples of 4 steps, 2 of which are trained and compared with the base.
    assert made.aligner.iterate()["network_evaluations"] == 16 * (4 + 2 + 2)
    row = made.aligner.iterate()
    assert row["network_evaluations"] == 2 * 16 * (4 + 2 + 2)
    assert row["images"] == 16 and row["images_per_second"] > 0
    assert "images_per_second" not in made.aligner.history[0]


def test_want_of_memory_names_the_knob(tmp_path: Path) -> None:
    class Greedy(Brightness):
        def __call__(self, images: np.ndarray, masks: np.ndarray, texts: Sequence[str] = ()) -> Scores:
            torch.empty(2**60)
            return super().__call__(images, masks)

    with pytest.raises(PrefPaintError, match=r"out of memory: lower align\.micro_batch \(now 16\)"):
        make(tmp_path, scorer=Greedy()).aligner.iterate()


def test_modes_fill_in_what_is_not_given() -> None:
    published = AlignConfig.model_validate({"mode": "published", "iterations": 7})
    assert (published.iterations, published.prompts, published.candidates) == (7, 16, 1)
    assert (published.steps, published.trained_steps, published.clip, published.lr) == (50, 5, 1e-4, 2e-6)
    assert (published.advantage, published.average, published.gradient_norm) == ("batch", 0, None)
    assert AlignConfig.model_validate({}).model_dump() == AlignConfig().model_dump()
    assert (
        AlignConfig(lora=LoraConfig(rank=2)).identity()
        == AlignConfig(lora=LoraConfig(rank=2), micro_batch=1, processes=2, iterations=5).identity()
    )
