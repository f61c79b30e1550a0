"""Advantages, clipped loss and KL by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from prefpaint.alignment.objectives import batch_advantages, gaussian_kl, group_advantages, policy_loss


def test_group_advantages_by_hand() -> None:
    rewards = torch.tensor([[1.0, 3.0], [10.0, 10.0]])
    # Centred: ∓1 and 0, 0; spread √(2/4).
    expected = torch.tensor([[-math.sqrt(2), math.sqrt(2)], [0.0, 0.0]])
    torch.testing.assert_close(group_advantages(rewards, 5.0), expected)
    assert group_advantages(rewards, 1.0).abs().max() == 1.0


def test_batch_advantages_let_difficulty_in() -> None:
    rewards = torch.tensor([[1.0, 3.0], [10.0, 10.0]])
    assert (batch_advantages(rewards, 5.0)[0] < 0).all() and (batch_advantages(rewards, 5.0)[1] > 0).all()


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=5), st.floats(-1000, 1000))
def test_group_advantages_ignore_what_a_prompt_adds(offsets: list[float], level: float) -> None:
    rewards = torch.tensor([offsets, [0.0, *([1.0] * (len(offsets) - 1))]], dtype=torch.float64)
    moved = rewards + torch.tensor([[level], [0.0]], dtype=torch.float64)
    # float64 of numbers up to 1,100: absolute errors near 1e-12, divided by a spread of at least 0.3.
    torch.testing.assert_close(group_advantages(rewards, 9.0), group_advantages(moved, 9.0), atol=1e-9, rtol=1e-9)


def test_a_missing_reward_counts_for_nothing() -> None:
    rewards = torch.tensor([[1.0, 3.0, float("nan")], [0.0, 2.0, 4.0]])
    advantages = group_advantages(rewards, 5.0)
    assert advantages[0, 2] == 0
    assert torch.isfinite(advantages).all()
    assert advantages[0, 0] == -advantages[0, 1]


def test_policy_loss_by_hand() -> None:
    log_prob = torch.log(torch.tensor([1.5, 0.5, 1.5, 1.05])).requires_grad_()
    advantage = torch.tensor([1.0, 1.0, -1.0, 2.0])
    gamma = torch.tensor([1.0, 2.0, 1.0, 0.5])
    result = policy_loss(log_prob, torch.zeros(4), advantage, gamma, clip=0.1)
    # min(1.5, 1.1) · 1; 2 · min(0.5, 0.9); min(−1.5, −1.1) = −1.5; 0.5 · 2.1.
    torch.testing.assert_close(result.loss, -torch.tensor([1.1, 1.0, -1.5, 1.05]))
    assert result.clipped.tolist() == [True, False, False, False]
    torch.testing.assert_close(result.ratio, torch.tensor([1.5, 0.5, 1.5, 1.05]))
    result.loss.sum().backward()
    # Only the clipped sample has no gradient; d/dx of ρ A γ is ρ A γ.
    torch.testing.assert_close(log_prob.grad, -torch.tensor([0.0, 1.0, -1.5, 1.05]))


def test_kl_by_hand() -> None:
    mean, base = torch.tensor([[[[1.0, 3.0]]]]), torch.zeros(1, 1, 1, 2)
    assert gaussian_kl(mean, base, torch.tensor(2.0)).item() == pytest.approx((1 + 9) / 8 / 2)
    assert gaussian_kl(mean, base, torch.tensor(2.0), torch.tensor([[[[1.0, 0.0]]]])).item() == pytest.approx(1 / 8)
