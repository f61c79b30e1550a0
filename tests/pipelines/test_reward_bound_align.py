"""The reward, bound and align pipelines on a tiny real model, chained through an in-memory catalog."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from prefpaint.alignment.config import AlignConfig
from prefpaint.images import ImageFolder, write_image
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.sampling import Inpainter
from prefpaint.inpainting.small_model import build_small_pipeline
from prefpaint.pipelines.align import pipeline as align
from prefpaint.pipelines.bound import pipeline as bound
from prefpaint.pipelines.reward import pipeline as reward
from prefpaint.reward.config import BoundConfig, ContrastBackboneConfig, HeadConfig, RewardConfig
from tests.tiny import SIZE, TINY_MODEL, tiny_prompts


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    """What the stages before would have left: prompts, candidates and scores."""
    ids, images, masks = tiny_prompts(tmp_path, 18)
    splits = ["train"] * 10 + ["validation"] * 4 + ["test"] * 4
    sampling = SamplingConfig(steps=3, batch=18)
    inpainter = Inpainter(build_small_pipeline(TINY_MODEL, SIZE, 1), sampling)
    candidates, rows = ImageFolder(tmp_path / "candidates"), []
    for index in range(3):
        painted = inpainter.sample(images.stack(ids), masks.stack(ids), [100 * index + n for n in range(len(ids))])
        for name, split, image in zip(ids, splits, painted, strict=True):
            write_image(candidates.file(f"{name}_{index}"), image)
            rows.append((f"{name}_{index}", name, split, float(image[masks[name] > 0].mean())))
    scores = pd.DataFrame(rows, columns=["candidate_id", "prompt_id", "split", "score"])
    scores["score"] = (scores["score"] - scores["score"].mean()) / scores["score"].std()
    (tmp_path / "workspace").mkdir()
    return {
        "base_model": build_small_pipeline(TINY_MODEL, SIZE, 1),
        "candidate_images": candidates,
        "prompt_images": images,
        "prompt_masks": masks,
        "scores": scores,
        "noiseless": scores.assign(noiseless_score=scores["score"])[["candidate_id", "noiseless_score"]],
        "prompts": pd.DataFrame({"prompt_id": ids, "split": splits, "image_sha256": ids}),
        "align_workspace": tmp_path / "workspace",
        "params:reward": RewardConfig(
            backbone=ContrastBackboneConfig(input_size=64, taps=(0, 1)),
            head=HeadConfig(width=32, heads=2, feedforward=32, hidden=32, embedding=8),
            epochs=3,
            batch=4,
        ),
        "params:bound": BoundConfig(),
        "params:align": AlignConfig(iterations=2, prompts=3, candidates=2, steps=3, trained_steps=2, micro_batch=6),
        "params:sampling": sampling,
    }


class Kept(MemoryDataset):
    """Stays after the runner has used it, so that the test can look at it."""

    def _release(self) -> None:
        pass


def test_reward_to_aligned_model(given: dict[str, Any]) -> None:
    catalog = DataCatalog({name: MemoryDataset(value, copy_mode="assign") for name, value in given.items()})
    stages = reward.create_pipeline() + bound.create_pipeline() + align.create_pipeline()
    assert stages.inputs() == set(given)
    wanted = ["reward_metrics", "bound_metrics", "align_metrics", "embeddings", "trust_table", "aligned_model"]
    for name in [*wanted, "align_history", "reward_figure", "bound_figure", "align_figure"]:
        catalog[name] = Kept(copy_mode="assign")
    SequentialRunner().run(stages, catalog)
    made = {name: catalog.load(name) for name in wanted}
    assert made["reward_metrics"]["test_candidates"] == 12
    assert 0 <= made["reward_metrics"]["test_ratings_pair_accuracy"] <= 1
    # The label and the noiseless score are the same here, so the raters' ceiling is perfect.
    assert made["reward_metrics"]["test_ceiling_raters_mean_vs_noiseless_pair_accuracy"] == 1
    assert 1 <= made["bound_metrics"]["participation_ratio"] <= 8
    assert len(made["embeddings"]) == len(made["trust_table"]) == 54
    assert made["embeddings"]["z"].iloc[0].shape == (8,)
    # Two iterations of six samples: three sampling and two training passes each.
    assert made["align_metrics"]["unet_evaluations"] == 2 * 6 * 5
    assert made["align_metrics"]["ratio_least"] == pytest.approx(1, abs=1e-5)
    history = catalog.load("align_history")
    assert np.isfinite(history[["reward", "gamma", "gradient_norm"]].to_numpy()).all()
    changed = made["aligned_model"].unet.state_dict()
    fresh = build_small_pipeline(TINY_MODEL, SIZE, 1).unet.state_dict()
    assert any(not np.array_equal(changed[name], fresh[name]) for name in fresh)
