"""Weights of the tuned network on a real tiny UNet: masters, averages, adapters, the base."""

from typing import Any

import pytest
import torch
from torch import Tensor

from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.policy import Policy
from prefpaint.inpainting.checkpoint import module_digest
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.sampling import Inpainter
from prefpaint.small_model.build import build_small_pipeline
from tests.tiny import SIZE, TINY_MODEL

LORA = AlignConfig(tune="lora", lr=1e-2)


@pytest.fixture
def pipe() -> Any:
    return build_small_pipeline(TINY_MODEL, SIZE, 1)


def exact(pipe: Any) -> Inpainter:
    return Inpainter(pipe, SamplingConfig(steps=2), "cpu")


def half(pipe: Any) -> Inpainter:
    return Inpainter(pipe, SamplingConfig(steps=2, precision="bf16"), "cpu")


def paint(network: Any) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    weight = next(network.parameters())
    latents = torch.randn(2, 9, 8, 8, generator=generator).to(weight.dtype)
    text = torch.randn(2, 4, network.config.cross_attention_dim, generator=generator).to(weight.dtype)
    return network(latents, 500, text).sample


def train(policy: Policy, steps: int = 3) -> None:
    for _ in range(steps):
        paint(policy.network).float().square().mean().backward()
        policy.accumulate()
        policy.step()
        policy.average()


def test_small_updates_survive_bfloat16(pipe: Any) -> None:
    config = AlignConfig(lr=2e-6, weight_decay=0.0)
    one, other = Policy(exact(pipe), config), Policy(half(pipe), config)
    start = torch.cat([value.flatten() for value in pipe.unet.parameters()])
    torch.testing.assert_close(torch.cat([v.detach().flatten() for v in other.masters]), start, atol=0, rtol=0)
    train(one)
    train(other)
    moved = [torch.cat([v.detach().flatten() for v in policy.masters]) - start for policy in (one, other)]
    # Adam's first steps are ± lr whatever the gradient's size; most signs agree in both precisions.
    agree = torch.nn.functional.cosine_similarity(moved[0], moved[1], dim=0)
    assert agree > 0.8
    # In bfloat16 alone hardly a weight would have changed.
    rounded = torch.cat([value.detach().flatten() for value in other.network.parameters()]) != start.bfloat16()
    assert rounded.float().mean() < 0.1 and (moved[1] != 0).float().mean() > 0.9


@pytest.mark.parametrize("make", [exact, half])
def test_without_an_average_the_last_weights_are_kept_and_take_no_memory(pipe: Any, make: Any) -> None:
    config = AlignConfig(lr=1e-2, average=0.0)
    policy = Policy(make(pipe), config)
    train(policy)
    kept = {name: value.clone() for name, value in policy.averages_by_name().items()}
    for average, master in zip(policy.averages, policy.masters, strict=True):
        assert average.data_ptr() == master.data_ptr()
    state = policy.state()
    again = Policy(make(pipe), config)
    again.restore(state)
    for one in (policy, again):
        made = one.finish(one.averages_by_name())
        assert all(torch.equal(made.get_parameter(name), value) for name, value in kept.items())


def test_a_copy_in_bfloat16_is_rounded_once_and_shares_nothing(pipe: Any) -> None:
    digest = module_digest(pipe.unet)
    network = half(pipe).network
    for (name, ours), (other, given) in zip(network.named_parameters(), pipe.unet.named_parameters(), strict=True):
        assert name == other and torch.equal(ours, given.bfloat16()) and ours.data_ptr() != given.data_ptr()
        assert not ours.requires_grad
    assert module_digest(pipe.unet) == digest


def test_an_adapter_off_is_the_base_and_on_is_what_was_trained(pipe: Any) -> None:
    inpainter = exact(pipe)
    before, digest = paint(pipe.unet).detach(), module_digest(pipe.unet)
    policy = Policy(inpainter, LORA)
    assert torch.equal(paint(policy.network), before)
    assert sum(value.numel() for value in policy.masters) < sum(value.numel() for value in pipe.unet.parameters()) / 2
    train(policy)
    after = paint(policy.network).detach()
    assert not torch.allclose(after, before, atol=1e-4)
    with policy.reference() as base:
        assert torch.equal(paint(base), before)
    torch.testing.assert_close(paint(policy.network), after, atol=0, rtol=0)
    merged = policy.finish({name: value.detach() for name, value in zip(policy.names, policy.masters, strict=True)})
    assert type(merged) is type(pipe.unet) and not any("lora" in name for name in merged.state_dict())
    # float32: the adapter's product is added to the weight once instead of to each output.
    torch.testing.assert_close(paint(merged), after, atol=1e-5, rtol=1e-5)
    policy.release()
    assert module_digest(pipe.unet) == digest


def test_an_adapter_of_a_bfloat16_network_is_merged_into_the_exact_weights(pipe: Any) -> None:
    policy = Policy(half(pipe), LORA)
    merged = policy.finish(policy.averages_by_name())
    assert module_digest(merged) == module_digest(pipe.unet)
    train(policy)
    merged = policy.finish(policy.averages_by_name())
    targets = ("to_q.", "to_k.", "to_v.", "to_out.0.weight")
    changed = {
        name for name, value in merged.state_dict().items() if not torch.equal(value, pipe.unet.state_dict()[name])
    }
    assert changed and all(any(target in name for target in targets) for name in changed)


@pytest.mark.parametrize("config", [AlignConfig(average=0.5, lr=1e-2), LORA.model_copy(update={"average": 0.5})])
def test_the_averaged_network_is_lent_and_given_back(pipe: Any, config: AlignConfig) -> None:
    policy = Policy(exact(pipe), config)
    train(policy)
    own = paint(policy.network).detach()
    with policy.holding(policy.averages) as network:
        lent = paint(network).detach()
    assert not torch.equal(lent, own)
    torch.testing.assert_close(paint(policy.network), own, atol=0, rtol=0)
    # Merging an adapter adds in another order; all weights of `full` are the same numbers.
    torch.testing.assert_close(paint(policy.finish(policy.averages_by_name())), lent, atol=1e-5, rtol=1e-5)


def test_micro_batches_add_up_in_float32(pipe: Any) -> None:
    policy = Policy(half(pipe), AlignConfig())
    # Loss 1 once, and then 300 times 1/256 of it: bfloat16's 8 bits would lose every one of them.
    gradients = []
    for scale in (1.0, *[1 / 256] * 300):
        (paint(policy.network).float().sum() * scale).backward()
        policy.accumulate()
        gradients.append(policy.masters[0].grad)
    torch.testing.assert_close(gradients[-1], gradients[0] * (1 + 300 / 256), atol=1e-6, rtol=2e-2)
