"""Diffusion-DPO: the loss by hand, pairs and updates on a real tiny model."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.dpo import RatedPairs, diffusion_dpo_loss
from prefpaint.alignment.loop import Aligner
from prefpaint.alignment.policy import Policy
from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder, write_image
from prefpaint.inpainting.chain import mean_over
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.sampling import Inpainter
from prefpaint.reward.training import RatedImages
from prefpaint.small_model.build import build_small_pipeline
from tests.tiny import SIZE, TINY_MODEL, tiny_prompts

CONFIG = AlignConfig.model_validate(
    {"mode": "dpo", "lr": 3e-4, "trackers": [], "dpo": {"pairs": 8, "beta": 2.0}, "average": 0.0}
)


def test_the_loss_by_hand() -> None:
    better, worse = torch.tensor([1.0, 2.0]).requires_grad_(), torch.tensor([3.0, 1.0])
    result = diffusion_dpo_loss(
        better, worse, torch.tensor([2.0, 1.0]), torch.tensor([2.0, 1.0]), 2.0, torch.tensor([1.0, 3.0])
    )
    # −β/2 · [(1 − 2) − (3 − 2)] = 2 and −[(2 − 1) − (1 − 1)] = −1.
    assert result.margin.tolist() == [2, -1]
    assert result.loss.tolist() == pytest.approx([math.log(1 + math.exp(-2)), 3 * math.log(1 + math.exp(1))])
    result.loss.sum().backward()
    # d/de_b of −w log σ(m) is w σ(−m) β/2: the better fill's error is pushed down, harder where the order is wrong.
    assert better.grad is not None
    assert better.grad.tolist() == pytest.approx([1 / (1 + math.exp(2)), 3 / (1 + math.exp(-1))])


def rated(folder: Path, scores: list[list[float]]) -> tuple[ImageFolder, RatedImages]:
    """Per prompt, fills whose hole is the brighter the higher their number."""
    ids, images, masks = tiny_prompts(folder, len(scores))
    fills, names, prompts = ImageFolder(folder / "fills"), [], []
    for name, given in zip(ids, scores, strict=True):
        for number in range(len(given)):
            picture = images[name].copy()
            picture[masks[name] > 0] = 60 + 60 * number
            write_image(fills.file(f"{name}_{number}"), picture)
            names.append(f"{name}_{number}")
            prompts.append(name)
    return images, RatedImages(fills, masks, names, prompts, np.concatenate(scores).astype(np.float32))


def pairs(folder: Path, scores: list[list[float]], config: AlignConfig = CONFIG, gammas: Any = None) -> RatedPairs:
    painter = Inpainter(build_small_pipeline(TINY_MODEL, SIZE, 1), SamplingConfig(steps=3, batch=8))
    images, given = rated(folder, scores)
    return RatedPairs(painter, images, given, config, gammas)


def test_pairs_are_of_one_prompt_and_in_the_raters_order(tmp_path: Path) -> None:
    made = pairs(tmp_path, [[1.0, 3.0, 3.0], [2.0, 0.0]], gammas=np.array([1.0, 4.0, 9.0, 2.0, 8.0]))
    found = sorted(zip(made.better.tolist(), made.worse.tolist(), made.weights.tolist(), strict=True))
    # Rows 1 and 2 have the same score: no pair. Weights are geometric means.
    assert found == [(1, 0, 2.0), (2, 0, 3.0), (3, 4, 4.0)]


def test_no_preference_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PrefPaintError, match=r"align\.mode: dpo needs two candidates of one prompt with different"):
        pairs(tmp_path, [[1.0, 1.0], [2.0]])


def test_before_the_first_step_every_margin_is_zero(tmp_path: Path) -> None:
    made = pairs(tmp_path, [[1.0, 2.0]] * 4)
    row = made.iterate(Policy(made.inpainter, CONFIG), 0)
    # The policy and the base are the same numbers in the same arithmetic.
    assert row["margin"] == 0 and row["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert row["gradient_norm"] > 0


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_training_orders_the_pairs_and_the_order_decides(tmp_path: Path, prediction: str) -> None:
    for name, scores in (("bright", [0.0, 1.0]), ("dark", [1.0, 0.0])):
        made = pairs(tmp_path / name, [scores] * 4)
        made.inpainter.original.scheduler.register_to_config(prediction_type=prediction)
        policy = Policy(made.inpainter, CONFIG)
        # The same pairs, noise and times again and again: descent on one function, which must fall.
        rows = [made.iterate(policy, 0) for _ in range(20)]
        # The same pictures and draws in both: what is learned follows the scores.
        assert rows[-1]["loss"] < rows[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
        assert rows[-1]["margin"] > 0 == rows[0]["margin"]


def test_micro_batches_do_not_change_the_gradient(tmp_path: Path) -> None:
    gradients = []
    for size in (16, 3):
        config = CONFIG.model_copy(update={"micro_batch": size})
        made = pairs(tmp_path / str(size), [[1.0, 2.0, 0.0]] * 4, config)
        policy = Policy(made.inpainter, config)
        policy.step = lambda: 0.0  # type: ignore[method-assign]
        made.iterate(policy, 0)
        gradients.append(torch.cat([value.grad.flatten() for value in policy.masters if value.grad is not None]))
    # float32 sums in another order.
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-5, rtol=1e-3)


def test_the_ceiling_by_hand(tmp_path: Path) -> None:
    """The policy says 1.5 times what the base says: each prediction is larger by half of the base's size."""
    config = CONFIG.model_copy(update={"norm_ceiling": 2.0})
    made = pairs(tmp_path, [[1.0, 2.0]] * 4, config)
    policy = Policy(made.inpainter, config)
    with torch.no_grad():
        for value in policy.network.conv_out.parameters():
            value.mul_(1.5)
    given = made._load([0, 1, 2], [0, 1, 2], 0)
    with policy.reference() as network:
        base = made._errors(network, given)[2]
    hole = given.condition.mask.repeat(2, 1, 1, 1)
    half = (mean_over(base.square(), hole).sqrt() / 2).reshape(2, 3)
    loss, found = made._loss(policy, given)
    made.config = CONFIG
    plain, without = made._loss(policy, given)
    torch.testing.assert_close(loss - plain, 2 * half.square().mean(0), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[4], half.mean(0), atol=1e-5, rtol=1e-4)
    assert without[4].abs().sum() == 0
    assert "norm_excess" in pairs(tmp_path / "row", [[1.0, 2.0]] * 4, config).iterate(policy, 0)


def test_the_loop_runs_it_and_resumes(tmp_path: Path) -> None:
    def aligner(name: str, iterations: int) -> Aligner:
        config = CONFIG.model_copy(update={"iterations": iterations})
        made = pairs(tmp_path / name, [[1.0, 2.0]] * 4, config)
        return Aligner(made.inpainter, made, config)

    short = aligner("a", 2).run(tmp_path / "workspace")
    longer = aligner("b", 4).run(tmp_path / "workspace")
    whole = aligner("c", 4).run(tmp_path / "other")
    assert longer.history == whole.history and longer.history[:2] == short.history
    # Per pair two passes of the policy and two of the base.
    assert whole.history[-1]["network_evaluations"] == 4 * 8 * 4
