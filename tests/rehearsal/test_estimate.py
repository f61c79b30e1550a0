"""What a whole run takes, against numbers worked out by hand."""

from typing import Any

import pytest
import torch

from prefpaint.errors import PrefPaintError
from prefpaint.rehearsal.architectures import CLIP_B_32, SD15, SDXL, WHOLE
from prefpaint.rehearsal.config import RehearseConfig
from prefpaint.rehearsal.estimate import Scale, Work, checkpoint_bytes, hours, tuning_bytes
from prefpaint.rehearsal.flops import Costs, costs, count
from prefpaint.rehearsal.project import merged
from prefpaint.rehearsal.rehearsal import figures_by_base, paper_figures
from prefpaint.rehearsal.report import bases_markdown, estimate_markdown
from tests.conftest import REPOSITORY

COST = Costs(network=10.0, encode=2.0, decode=3.0, tower=1.0, weights=100, other_weights=50)


def paper(**changes: dict[str, Any]) -> Scale:
    given = merged(REPOSITORY / "conf", "parameters", ("base", "paper"))
    return Scale.of({**given, **{key: {**given[key], **values} for key, values in changes.items()}})


def test_the_papers_counts() -> None:
    work = paper().work()
    # 17,000 prompts with three candidates of 50 steps.
    assert work["candidates"] == Work(2_550_000, 51_000)
    # 1,000 rounds of 16 samples: 50 steps sampled, 5 trained at three passes each. 40 looks at 64 prompts ask for
    # three passes a step, and the base painted them once.
    assert work["align"].evaluations == 1000 * 16 * (50 + 5 * 3) + 64 * 50 * (1 + 3 * 40)
    assert work["align"].pictures == 16_000 + 64 * 41
    # Two models, 2,000 prompts, two sets of noise, ten samples.
    assert work["evaluate"].evaluations == 2 * 2_000 * 2 * 10 * 50
    # Ten epochs of 12,000 prompts, each with its three candidates, at three passes; and every candidate scored.
    assert work["reward"].tower == 10 * 12_000 * 4 * 3 + 2 * 51_000


def test_checkpointing_and_guidance_cost_what_they_cost() -> None:
    plain, checkpointed = (
        paper(align={"mode": "published", "gradient_checkpointing": on}).work()["align"].evaluations
        for on in (False, True)
    )
    assert checkpointed - plain == 1000 * 16 * 5
    guided = paper(sampling={"guidance": 7.0, "negative_text_prompt": "blurry"}).work()["candidates"]
    assert guided.evaluations == 2 * 2_550_000


def test_operations_and_hours() -> None:
    assert Work(evaluations=2, pictures=3, tower=4).operations(COST) == 2 * 10 + 3 * 5 + 4
    assert hours(989e12 * 0.3 * 3600, 989, 0.3) == pytest.approx(1.0, rel=1e-12)
    # Twice two bytes and a gradient of two; master and its gradient of four each; two moments of four; an average.
    assert tuning_bytes(100, 0.0) == 100 * (2 + 2 + 2 + 4 + 4 + 8) and tuning_bytes(100, 0.9) == 2600
    assert checkpoint_bytes(100, 0.0) == 1200


def test_other_modes_are_refused_in_a_sentence() -> None:
    with pytest.raises(PrefPaintError, match=r"align\.mode: an estimate is made for ddpo.*not for nft"):
        paper(align={"mode": "nft"})


def test_operations_of_a_convolution_are_counted_without_memory() -> None:
    layer = torch.nn.Conv2d(3, 8, 3, padding=1, device="meta")
    # Two for each of 3 · 3 · 3 products, at 16 · 16 places of 8 channels.
    assert count(layer, torch.zeros(1, 3, 16, 16, device="meta")) == 2 * 27 * 16 * 16 * 8


def test_costs_of_the_published_networks() -> None:
    small, large = costs(SD15, 512, CLIP_B_32), costs(SDXL, 1024, CLIP_B_32)
    # Published figures of 0.80 and 6.0 to 6.8 · 10¹² operations; what they leave out differs.
    assert small.network == pytest.approx(0.80e12, rel=0.02) and large.network == pytest.approx(6.4e12, rel=0.1)
    # The same autoencoder at twice the side: four times the operations, and more of its attention.
    assert 4 < large.decode / small.decode < 5
    # CLIP ViT-B/32 is published with 4.4 · 10⁹ multiplications.
    assert small.tower == pytest.approx(2 * 4.4e9, rel=0.03)


def test_figures_add_up_and_are_told() -> None:
    config = RehearseConfig(peak=1e-9, share=0.5, gpus=4)
    pictures = {"prompt_images": 100.0, "prompt_masks": 10.0, "depth": 20.0}
    found = paper_figures(paper(), COST, config, pictures)
    stages = ("candidates", "reward", "align", "evaluate")
    assert found["paper_gpu_hours"] == pytest.approx(sum(float(found[f"paper_{name}_gpu_hours"]) for name in stages))
    assert found["paper_candidates_gpu_hours"] == pytest.approx((2_550_000 * 10 + 51_000 * 5) / (1000 * 0.5 * 3600))
    # 19,000 photographs and prompts, 51,000 candidates and 80,000 samples.
    assert found["paper_pictures_disk_bytes"] == (2 * 19_000 + 131_000) * 100 + 19_000 * 30
    # Three states, best weights, aligned model and release.
    assert found["paper_models_disk_bytes"] == 3 * 1200 + 400 + 2 * 600
    assert found["paper_host_bytes"] == 4 * 600
    by_base = figures_by_base(paper(), dict.fromkeys(WHOLE, COST), config)
    assert by_base["base_sdxl_gpu_hours"] == found["paper_gpu_hours"] and by_base["base_sdxl_size"] == 1024
    assert "| FLUX.1 Fill | 1024 px |" in bases_markdown(by_base)
    page = estimate_markdown(found)
    assert "| candidates | 2,550,000 | 51,000 |" in page and "divide by 4" in page
