"""Muon: momentum whose update is orthogonalised (K. Jordan, 2024, https://kellerjordan.github.io/posts/muon/).

torch.optim.Muon takes matrices only and iterates in bfloat16, which takes thirty times as long as float32 on CPUs
without AMX; this one takes convolutions too and keeps the gradient's precision.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

# The quintic Newton-Schulz iteration of the post: singular values end between about 0.7 and 1.2.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


def orthogonalise(matrix: Tensor) -> Tensor:
    """A matrix with the same singular vectors and singular values near 1.

    Args:
        matrix: (M, N).

    Returns:
        (M, N), of the same type.
    """
    a, b, c = COEFFICIENTS
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    wide = wide / wide.norm().clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return wide.T if matrix.shape[0] > matrix.shape[1] else wide


class Muon(torch.optim.Optimizer):
    """Muon for weights of two or more dimensions; a convolution counts as a matrix of its output channels.

    Args:
        params: of two or more dimensions.
        lr: of a square matrix; a tall one's is larger by √(rows / columns).
        momentum: of the gradient's running mean, applied as Nesterov's.
        weight_decay: decoupled, times the learning rate.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.01
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(momentum, group["momentum"]).flatten(1)
                rows, columns = update.shape
                step = orthogonalise(update).view_as(parameter) * max(1.0, rows / columns) ** 0.5
                parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(step, alpha=-group["lr"])
