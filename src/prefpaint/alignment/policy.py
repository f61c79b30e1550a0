"""The network being tuned: its trained weights in float32, their moving average, the optimiser, and the frozen base."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from prefpaint import distributed
from prefpaint.alignment.config import AlignConfig
from prefpaint.config import derive_seed
from prefpaint.inpainting.sampling import Inpainter

ADAPTER = "policy"


class Policy:
    """A network that samples and learns.

    Where the working precision is bfloat16, the trained weights have float32 masters: an update of 2e-6 would
    be rounded away otherwise. With an adapter (`tune`), nothing else is trained, and the very network
    that is tuned is the base when the adapter is off.

    Args:
        inpainter: whose network, in the working precision, stays the frozen base.
        config: what is trained, and how.
        keeps_old: whether the mode compares the policy with an earlier one.

    Attributes:
        tune: "full" or "lora", the family's own where the configuration leaves it to it.
        network: what samples and is trained.
        masters: the trained weights, float32.
        averages: the moving average of the masters over iterations; where its decay is 0, in the masters' own memory.
        old: another one, whose decay the mode sets; empty where it needs none.
        anchor: the weights that the least trusted samples are pulled to, at first the base's; empty where it stays the
            base, and where trust is no gate.
        optimizer: AdamW on the masters.
    """

    def __init__(self, inpainter: Inpainter, config: AlignConfig, keeps_old: bool = False) -> None:
        self.config, self.base, self.family = config, inpainter.network.requires_grad_(False), inpainter.family
        # The same weights as they were given, in float32; the base itself when that is the working precision.
        self.original = self.family.network
        self.tune = self.family.tune if config.tune == "auto" else config.tune
        if self.tune == "lora":
            self.network: Any = self._adapt(self.base)
        else:
            self.network = copy.deepcopy(self.base).requires_grad_(True)
            if inpainter.config.compile:
                self.network.compile()
        if config.gradient_checkpointing:
            self.network.enable_gradient_checkpointing()
        named = {name: value for name, value in self.network.named_parameters() if value.requires_grad}
        self.names, self.weights = list(named), list(named.values())
        self.masters = [self._master(name, value) for name, value in named.items()]
        # Without an average they are the masters themselves, which saves their memory.
        self.averages = [value.detach().clone() if config.average else value.detach() for value in self.masters]
        self.old = [value.detach().clone() for value in self.masters] if keeps_old else []
        moves = config.trust == "gate" and config.gate.refresh is not None
        self.anchor = [value.detach().clone() for value in self.masters] if moves else []
        self.optimizer = torch.optim.AdamW(
            self.masters, lr=config.lr, betas=(0.9, 0.999), weight_decay=config.weight_decay
        )

    def _adapt(self, network: Any) -> Any:
        """Insert the adapter; it changes nothing until it is trained."""
        from diffusers.training_utils import cast_training_params
        from peft import LoraConfig

        settings = LoraConfig(
            r=self.config.lora.rank,
            lora_alpha=self.config.lora.alpha,
            target_modules=list(self.family.lora_targets),
            lora_dropout=0.0,
        )
        with torch.random.fork_rng():
            torch.manual_seed(derive_seed("lora", self.config.seed))
            network.add_adapter(settings, adapter_name=ADAPTER)
        cast_training_params(network, torch.float32)
        return network

    def _master(self, name: str, value: nn.Parameter) -> nn.Parameter:
        if value.dtype == torch.float32:
            return value
        # From the weights as they were given: rounded once for the network, never for the masters.
        exact = self.original.get_parameter(name).detach()
        return nn.Parameter(exact.to(value.device, torch.float32, copy=True))

    @contextmanager
    def reference(self) -> Iterator[Any]:
        """The frozen base, for as long as the block lasts."""
        if self.tune == "full":
            yield self.base
            return
        self.network.disable_adapters()
        try:
            yield self.network
        finally:
            self.network.enable_adapters()

    @contextmanager
    def holding(self, values: Sequence[Tensor]) -> Iterator[Any]:
        """The network with other weights in it, for as long as the block lasts.

        Args:
            values: `averages`, `old` or `anchor`.
        """
        kept = [value.detach().clone() for value in self.weights]
        self._set(self.weights, values)
        try:
            yield self.network
        finally:
            self._set(self.weights, kept)

    def anchored(self) -> AbstractContextManager[Any]:
        """The network that the least trusted samples are pulled to, for as long as the block lasts."""
        return self.holding(self.anchor) if self.anchor else self.reference()

    def follow(self, divergence: float) -> dict[str, float]:
        """Replace the anchor by the trained weights if the policy has gone further from it than `gate.refresh`.

        Args:
            divergence: mean over an iteration's gated samples, the same on every process.

        Returns:
            Figures of the iteration: pull, the divergence, and anchor_refreshed, 1 where the anchor was replaced.
        """
        limit = self.config.gate.refresh
        far = limit is not None and divergence > limit
        if far:
            self._set(self.anchor, self.masters)
        return {"pull": divergence, "anchor_refreshed": float(far)}

    @staticmethod
    @torch.no_grad()
    def _set(weights: Sequence[Tensor], values: Sequence[Tensor]) -> None:
        for weight, value in zip(weights, values, strict=True):
            weight.copy_(value)

    def accumulate(self) -> None:
        """Add the network's gradients to the masters'; to be called after the backward pass of each micro-batch.

        Sums in float32, so that micro-batches do not change what bfloat16 gradients add up to.
        """
        for weight, master in zip(self.weights, self.masters, strict=True):
            if weight is master or weight.grad is None:
                continue
            gradient = weight.grad.float()
            master.grad = gradient if master.grad is None else master.grad + gradient
            weight.grad = None

    def step(self) -> float:
        """Sum gradients over processes, clip, update.

        Returns:
            The gradient's norm before clipping.
        """
        for master in self.masters:
            if master.grad is None:  # A process that had no share of this update.
                master.grad = torch.zeros_like(master)
        distributed.sum_in_place([master.grad for master in self.masters if master.grad is not None])
        limit = float("inf") if self.config.gradient_norm is None else self.config.gradient_norm
        norm = float(nn.utils.clip_grad_norm_(self.masters, limit))
        self.optimizer.step()
        self.optimizer.zero_grad()
        self._publish()
        return norm

    def _publish(self) -> None:
        pairs = [pair for pair in zip(self.weights, self.masters, strict=True) if pair[0] is not pair[1]]
        self._set([weight for weight, _ in pairs], [master for _, master in pairs])

    @torch.no_grad()
    def average(self) -> None:
        """Move the averages towards the masters: a ← d a + (1 − d) w."""
        if not self.config.average:
            return
        for mean, value in zip(self.averages, self.masters, strict=True):
            mean.lerp_(value, 1 - self.config.average)

    @torch.no_grad()
    def age(self, decay: float) -> None:
        """Move the old policy towards the masters: θ_old ← d θ_old + (1 − d) θ."""
        for old, value in zip(self.old, self.masters, strict=True):
            old.lerp_(value, 1 - decay)

    def at_old(self) -> bool:
        """Whether the old policy and the trained one are the same."""
        return all(torch.equal(old, value) for old, value in zip(self.old, self.masters, strict=True))

    def averages_by_name(self) -> dict[str, Tensor]:
        """The averaged weights, float32 on the CPU."""
        return {name: value.cpu() for name, value in zip(self.names, self.averages, strict=True)}

    def finish(self, weights: Mapping[str, Tensor]) -> Any:
        """A network of the checkpoint's own class with trained weights in it; an adapter is merged.

        Nothing is trained after that: what the optimiser holds is given up, which is more than this takes.

        Args:
            weights: as `averages_by_name` gives them.

        Returns:
            In float32 on the CPU, without gradients.
        """
        self.optimizer.zero_grad()
        self.optimizer.state.clear()
        made = copy.deepcopy(self.original).float().cpu().requires_grad_(False)
        if self.tune == "lora" and self.original is not self.base:
            made = self._adapt(made)
        self._set([made.get_parameter(name) for name in self.names], [weights[name] for name in self.names])
        if self.tune == "lora":
            made.fuse_lora()
            made.unload_lora()
        return made.requires_grad_(False)

    def release(self) -> None:
        """Remove the adapter from the base again."""
        if self.tune == "lora":
            self.network.unload_lora()

    def state(self) -> dict[str, Any]:
        """Everything that training changes."""
        return {
            "masters": [value.detach() for value in self.masters],
            "averages": self.averages,
            "old": self.old,
            "anchor": self.anchor,
            "optimizer": self.optimizer.state_dict(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a state."""
        self._set(self.masters, state["masters"])
        self._set(self.averages, state["averages"])
        self._set(self.old, state["old"])
        self._set(self.anchor, state["anchor"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._publish()
