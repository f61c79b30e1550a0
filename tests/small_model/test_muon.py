"""Muon: orthogonal steps, whatever the shape."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from prefpaint.small_model.muon import Muon, orthogonalise


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**31))
def test_singular_values_end_near_one(rows: int, columns: int, seed: int) -> None:
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    result = orthogonalise(matrix)
    values = torch.linalg.svdvals(result)
    # The iteration aims at 0.7 to 1.2; the smallest of a random square matrix may start too near to 0 to get there.
    assert values.max() < 1.35
    assert values[: max(1, len(values) // 2)].min() > 0.6
    # The singular vectors are the matrix's own: its inner product with the result is the sum of its singular values,
    # each times one that ended near 1.
    assert float((matrix * result).sum()) > 0.6 * float(torch.linalg.svdvals(matrix).sum()) * 0.9


def test_one_step_by_hand() -> None:
    """A diagonal gradient: the update is nearly the identity, whatever the entries' size."""
    weight = nn.Parameter(torch.zeros(2, 2))
    weight.grad = torch.diag(torch.tensor([3.0, 2.0]))
    Muon([weight], lr=0.1, weight_decay=0.0).step()
    np.testing.assert_allclose(weight.detach().numpy(), -0.1 * np.eye(2), atol=0.04)


def test_a_tall_matrix_and_a_convolution_take_the_same_step() -> None:
    gradient = torch.randn(16, 2, 1, 2, generator=torch.Generator().manual_seed(0))
    flat, convolution = nn.Parameter(torch.zeros(16, 4)), nn.Parameter(torch.zeros(16, 2, 1, 2))
    flat.grad, convolution.grad = gradient.flatten(1).clone(), gradient.clone()
    Muon([flat], lr=0.1).step()
    Muon([convolution], lr=0.1).step()
    torch.testing.assert_close(flat, convolution.flatten(1))
    # √(16 / 4) times as long as a square matrix's.
    assert float(torch.linalg.svdvals(flat.detach()).max()) == pytest.approx(0.2, rel=0.35)


def test_a_saved_optimiser_resumes() -> None:
    def run(steps: int, split: bool) -> torch.Tensor:
        torch.manual_seed(0)
        layer = nn.Linear(3, 3, bias=False)
        optimizer = Muon(layer.parameters(), lr=0.05)
        for step in range(steps):
            if split and step == 2:
                saved, optimizer = optimizer.state_dict(), Muon(layer.parameters(), lr=0.05)
                optimizer.load_state_dict(saved)
            optimizer.zero_grad()
            layer(torch.eye(3)).square().sum().backward()
            optimizer.step()
        return layer.weight.detach()

    torch.testing.assert_close(run(4, True), run(4, False), rtol=0, atol=0)
