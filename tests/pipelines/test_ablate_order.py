"""The ablate_order pipeline on a tiny real project slice: it compares, resumes, and gives the same twice."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from prefpaint.errors import PrefPaintError
from prefpaint.experiments import ablate_order as ordering
from prefpaint.experiments.ablate_order_config import AblateOrderConfig
from prefpaint.images import ImageFolder, write_image
from prefpaint.pipelines.ablate_order import pipeline as ablate_order
from prefpaint.reward.config import ContrastBackboneConfig, KernelHeadConfig, MLPHeadConfig, RewardConfig
from prefpaint.reward.training import RatedImages, train_reward
from prefpaint.stats.agreement import pair_accuracy
from tests.running import run_pipeline
from tests.tiny import tiny_prompts

OUTPUTS = ("ablate_order_table", "ablate_order_markdown", "ablate_order_figure")


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    """Candidates whose holes are filled with noise, the less of it the better they are rated."""
    ids, images, masks = tiny_prompts(tmp_path, 12)
    candidates, rng, rows = ImageFolder(tmp_path / "candidates"), np.random.default_rng(0), []
    for name, split in zip(ids, ["train"] * 8 + ["validation"] * 4, strict=True):
        for index in range(3):
            key, noise = f"{name}_{index}", float(rng.uniform(0, 60))
            painted = images[name] + rng.normal(0, noise, images[name].shape) * masks[name][:, :, None]
            write_image(candidates.file(key), np.clip(painted, 0, 255).astype(np.uint8))
            rows.append((key, name, split, 1 - noise / 30, candidates.checksum(key)))
    table = pd.DataFrame(rows, columns=["candidate_id", "prompt_id", "split", "score", "sha256"])
    (tmp_path / "workspace").mkdir()
    backbone = ContrastBackboneConfig(input_size=64, taps=(0, 1))
    return {
        "candidate_images": candidates,
        "prompt_masks": masks,
        "candidates": table[["candidate_id", "prompt_id", "sha256"]],
        "prompts": pd.DataFrame({"prompt_id": ids}),
        "scores": table[["candidate_id", "prompt_id", "split", "score"]],
        "noiseless": table.assign(noiseless_score=table["score"])[["candidate_id", "noiseless_score"]],
        "ablate_order_workspace": tmp_path / "workspace",
        "params:reward": RewardConfig(backbone=backbone, head=KernelHeadConfig(embedding=24, components=8)),
        "params:ablate_order": AblateOrderConfig(seeds=(0, 1), start=2, batch=2, batches=3),
    }


def run(given: dict[str, Any]) -> dict[str, Any]:
    """All outputs of the pipeline."""
    return run_pipeline(ablate_order.create_pipeline(), given, OUTPUTS)


def pool(given: dict[str, Any]) -> ordering.Pool:
    names = ("candidate_images", "prompt_masks", "candidates", "prompts", "scores", "noiseless")
    candidates = ordering.RatedCandidates(*(given[name] for name in names))
    return ordering.embed(candidates, given["params:reward"], given["ablate_order_workspace"])


def test_compares_and_resumes(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    made = run(given)
    table = made["ablate_order_table"]
    assert table["prompts"].tolist() == [2, 4, 6, 8] and set(table["validation_prompts"]) == {4}
    # Both orders begin with the same prompts, and end with all of them.
    for end in (0, 3):
        assert table["random"].iloc[end] == pytest.approx(table["width"].iloc[end], abs=1e-12)
        assert table["difference"].iloc[end] == pytest.approx(0, abs=1e-12)
    assert ((table["random"] >= 0) & (table["width"] <= 1)).all()
    np.testing.assert_allclose(table["difference"], table["width"] - table["random"])
    assert made["ablate_order_markdown"].count("\n| ") == 2 + 4 and len(made["ablate_order_figure"].axes) == 2

    played, embedded = [], []
    play, features = ordering.play, ordering.RewardModel.features
    monkeypatch.setattr(ordering, "play", lambda *given: played.append(given[2:]) or play(*given))
    monkeypatch.setattr(ordering.RewardModel, "features", lambda *given: embedded.append(1) or features(*given))
    pd.testing.assert_frame_equal(run(given)["ablate_order_table"], table)
    assert not played and not embedded
    (given["ablate_order_workspace"] / "width_1.json").unlink()
    pd.testing.assert_frame_equal(run(given)["ablate_order_table"], table)
    assert played == [("width", 1)] and not embedded

    # Another picture of a candidate: nothing made before fits.
    given["candidates"] = given["candidates"].assign(sha256=["other", *given["candidates"]["sha256"][1:]])
    played.clear()
    run(given)
    assert len(played) == 4 and embedded


def test_the_reward_is_the_one_that_the_reward_pipeline_trains(given: dict[str, Any]) -> None:
    made = pool(given)
    scores, folders = given["scores"], (given["candidate_images"], given["prompt_masks"])
    some = scores["prompt_id"].isin(["train_00001", "train_00004", "train_00006"])
    validation = RatedImages.of(*folders, scores[scores["split"] == "validation"], {})
    model, _ = train_reward(RatedImages.of(*folders, scores[some], {}), validation, given["params:reward"])
    rewards = model.score(*validation.load(np.arange(12)))[0]
    fitted, _, accuracy = made.fit([1, 4, 6], 0)
    torch.testing.assert_close(fitted.heads[0].landmarks, model.heads[0].landmarks)
    assert accuracy == pytest.approx(pair_accuracy(rewards, validation.scores, validation.prompt_ids))


def test_by_width_means_the_design_and_never_what_is_rated(given: dict[str, Any]) -> None:
    made = pool(given)
    model, trust, _ = made.fit([0, 1], 0)
    unrated = [2, 3, 4, 5, 6, 7]
    widest = made.widest(model, trust, [0, 1], unrated, 6)
    assert sorted(widest) == unrated and made.widest(model, trust, [0, 1], unrated, 2) == widest[:2]
    gains = []
    for prompt in unrated:
        features = made.features["train"][made.rows([prompt])]
        joint = ordering.joint_widths(trust, model.read(features)[1].detach().numpy(), model.gram(features))
        gains.append(np.linalg.slogdet(np.eye(3) + joint)[1])
    assert widest[0] == unrated[int(np.argmax(gains))]


def test_what_it_cannot_compare(given: dict[str, Any]) -> None:
    with pytest.raises(PrefPaintError, match="only simulated raters have a noiseless score"):
        run({**given, "noiseless": given["noiseless"].assign(noiseless_score=float("nan"))})
    with pytest.raises(PrefPaintError, match="no candidate of split validation is rated"):
        run({**given, "scores": given["scores"][given["scores"]["split"] == "train"]})
    with pytest.raises(PrefPaintError, match=r"start 2 \+ batches 4 · batch 2 = 10 prompts .* and 8 are rated"):
        run({**given, "params:ablate_order": AblateOrderConfig(start=2, batch=2, batches=4)})
    head = MLPHeadConfig(width=16, heads=2, feedforward=16, hidden=16, embedding=4)
    with pytest.raises(PrefPaintError, match=r"set reward\.head\.kind: kernel"):
        run({**given, "params:reward": given["params:reward"].model_copy(update={"head": head})})
