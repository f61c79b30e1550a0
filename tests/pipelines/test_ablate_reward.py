"""The ablate_reward pipeline on a tiny real project slice: it compares, resumes, and gives the same twice."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from prefpaint.errors import PrefPaintError
from prefpaint.experiments import ablate_reward as ablation
from prefpaint.experiments.ablate_reward_config import AblateRewardConfig
from prefpaint.images import ImageFolder, write_image
from prefpaint.pipelines.ablate_reward import pipeline as ablate_reward
from prefpaint.reward.config import ContrastBackboneConfig, KernelHeadConfig, MLPHeadConfig, RewardConfig, TextConfig
from prefpaint.reward.metrics import rank_correlation
from prefpaint.stats.agreement import pair_accuracy
from tests.judges.outside_models import write_clip
from tests.running import run_pipeline
from tests.tiny import tiny_prompts

OUTPUTS = ("ablate_reward_table", "ablate_reward_markdown", "ablate_reward_figure")


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    """Candidates whose holes are filled with noise, the less of it the better they are rated."""
    ids, images, masks = tiny_prompts(tmp_path, 14)
    splits = ["train"] * 6 + ["validation"] * 4 + ["test"] * 4
    candidates, rng, rows = ImageFolder(tmp_path / "candidates"), np.random.default_rng(0), []
    for name, split in zip(ids, splits, strict=True):
        for index in range(3):
            key, noise = f"{name}_{index}", float(rng.uniform(0, 60))
            painted = images[name] + rng.normal(0, noise, images[name].shape) * masks[name][:, :, None]
            write_image(candidates.file(key), np.clip(painted, 0, 255).astype(np.uint8))
            rows.append((key, name, split, 1 - noise / 30, candidates.checksum(key)))
    table = pd.DataFrame(rows, columns=["candidate_id", "prompt_id", "split", "score", "sha256"])
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    backbone = ContrastBackboneConfig(input_size=64, taps=(0, 1))
    return {
        "candidate_images": candidates,
        "prompt_masks": masks,
        "candidates": table[["candidate_id", "prompt_id", "sha256"]],
        "prompts": pd.DataFrame({"prompt_id": ids, "text_prompt": ["a cat", "a dog"] * 7}),
        "scores": table[["candidate_id", "prompt_id", "split", "score"]],
        "noiseless": table.assign(noiseless_score=table["score"])[["candidate_id", "noiseless_score"]],
        "ablate_reward_workspace": workspace,
        "params:reward": RewardConfig(backbone=backbone, head=KernelHeadConfig(embedding=8, components=8)),
        "params:ablate_reward": AblateRewardConfig(
            objectives=("regression", "pairwise"),
            frozen=(1.0, 0.5),
            seeds=(0, 1),
            backbone=backbone,
            head=MLPHeadConfig(width=16, heads=2, feedforward=16, hidden=16, embedding=4),
            prompts=5,
            epochs=1,
            batch=3,
            resamples=100,
        ),
    }


def run(given: dict[str, Any]) -> dict[str, Any]:
    """All outputs of the pipeline."""
    return run_pipeline(ablate_reward.create_pipeline(), given, OUTPUTS)


def test_compares_and_resumes(given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = run(given)
    table = made["ablate_reward_table"]
    assert table[["objective", "head", "frozen"]].to_numpy().tolist() == [
        [ablation.CONFIGURED, "kernel", 1.0],
        ["regression", "mlp", 1.0],
        ["regression", "mlp", 0.5],
        ["pairwise", "mlp", 1.0],
        ["pairwise", "mlp", 0.5],
    ]
    assert set(table["train_prompts"]) == {5} and set(table["test_prompts"]) == {4} and set(table["seeds"]) == {2}
    for judge in ("noiseless", "ratings"):
        value, low, high = (table[f"{judge}_pair_accuracy{end}"] for end in ("", "_low", "_high"))
        assert ((low <= value) & (value <= high) & (low >= 0) & (high <= 1)).all()
    # Rating and noiseless score are the same here.
    assert table["noiseless_spearman"].to_numpy() == pytest.approx(table["ratings_spearman"].to_numpy())
    assert made["ablate_reward_markdown"].count("\n| ") == 2 + 5
    assert len(made["ablate_reward_figure"].axes) == 2

    workspace = given["ablate_reward_workspace"]
    assert len(list(workspace.iterdir())) == 10
    trained = []

    def counted(*arguments: Any) -> Any:
        trained.append(arguments[2])
        return real(*arguments)

    real = ablation.train_reward
    monkeypatch.setattr(ablation, "train_reward", counted)
    again = run(given)
    assert not trained
    pd.testing.assert_frame_equal(again["ablate_reward_table"], table)
    assert again["ablate_reward_markdown"] == made["ablate_reward_markdown"]

    # A training that was killed leaves no file; it alone is made again, and gives the same.
    (workspace / "pairwise_0.5_1.json").unlink()
    resumed = run(given)["ablate_reward_table"]
    assert [(config.objective, config.backbone.frozen, config.seed) for config in trained] == [("pairwise", 0.5, 1)]
    pd.testing.assert_frame_equal(resumed.drop(columns="seconds"), table.drop(columns="seconds"))

    # Another picture of a training candidate: nothing made before fits.
    changed = given["candidates"].assign(sha256=["other", *given["candidates"]["sha256"][1:]])
    trained.clear()
    run({**given, "candidates": changed})
    assert len(trained) == 10


def test_without_rated_test_candidates_there_is_nothing_to_compare_on(given: dict[str, Any]) -> None:
    scores = given["scores"]
    with pytest.raises(PrefPaintError, match="no candidate of split test is rated"):
        run({**given, "scores": scores[scores["split"] != "test"]})


def test_people_who_rated_have_no_noiseless_score(given: dict[str, Any]) -> None:
    folders = (given["candidate_images"], given["prompt_masks"])
    people = given["noiseless"].assign(noiseless_score=float("nan"))
    candidates = ablation.RatedCandidates(*folders, given["candidates"], given["prompts"], given["scores"], people)
    assert list(candidates.truths(candidates.rated("test"))) == ["ratings"]


def test_every_variant_reads_words_where_the_reward_does(
    given: dict[str, Any], tmp_path: Path, tiny_base: Path
) -> None:
    text = TextConfig(checkpoint=str(write_clip(tmp_path / "clip", tiny_base / "tokenizer")))
    reward = given["params:reward"].model_copy(update={"text": text})
    assert all(variant.text == text for _, variant in ablation.variants(reward, given["params:ablate_reward"]))
    names = ("candidate_images", "prompt_masks", "candidates", "prompts", "scores", "noiseless")
    candidates = ablation.RatedCandidates(*(given[name] for name in names))
    rewards, _ = ablation.train_and_score(candidates, None, reward, tmp_path / "done.json")
    again, _ = ablation.train_and_score(candidates, None, reward, tmp_path / "done.json")
    np.testing.assert_array_equal(rewards, again)
    others = replace(candidates, prompts=given["prompts"].assign(text_prompt=["a dog", "a house"] * 7))
    changed, _ = ablation.train_and_score(others, None, reward, tmp_path / "done.json")
    assert (changed != rewards).any(), "other words, another training"


def test_prompts_are_spaced_evenly_and_keep_their_candidates(given: dict[str, Any]) -> None:
    folders = (given["candidate_images"], given["prompt_masks"])
    candidates = ablation.RatedCandidates(
        *folders, given["candidates"], given["prompts"], given["scores"], given["noiseless"]
    )
    chosen = candidates.rated("train", 3)
    assert chosen.prompt_ids == [name for name in ("train_00000", "train_00002", "train_00005") for _ in range(3)]
    assert candidates.rated("train", 99).candidate_ids == candidates.rated("train").candidate_ids


def test_judging_agrees_with_the_plain_measures() -> None:
    rng = np.random.default_rng(1)
    prompts = np.repeat(np.arange(40), 3)
    truth = rng.normal(size=120).round(1)
    rewards = np.stack([truth + rng.normal(size=120) for _ in range(4)]).round(1)
    groups = [np.nonzero(prompts == number)[0] for number in range(40)]
    judged = ablation.judge_rewards(rewards, truth, groups, 400, seed=0)
    accuracies = [pair_accuracy(reward, truth, prompts) for reward in rewards]
    assert judged["pair_accuracy"] == pytest.approx(np.mean(accuracies))
    assert judged["pair_accuracy_variance"] == pytest.approx(np.var(accuracies, ddof=1))
    assert judged["spearman"] == pytest.approx(np.mean([rank_correlation(reward, truth) for reward in rewards]))
    assert judged["pair_accuracy_low"] < judged["pair_accuracy"] < judged["pair_accuracy_high"]
    # A right answer everywhere leaves nothing to be unsure of.
    sure = ablation.judge_rewards(np.stack([truth, 2 * truth]), truth, groups, 100, seed=0)
    assert (sure["pair_accuracy_low"], sure["pair_accuracy_high"], sure["pair_accuracy_variance"]) == (1, 1, 0)


def test_intervals_cover_seeds_as_well_as_prompts() -> None:
    """With trainings that differ and prompts that do not, the whole interval comes from the seeds."""
    truth = np.tile([0.0, 1.0], 30)
    groups = [np.array([2 * number, 2 * number + 1]) for number in range(30)]
    judged = ablation.judge_rewards(np.stack([truth, -truth]), truth, groups, 400, seed=0)
    assert (judged["pair_accuracy"], judged["pair_accuracy_low"], judged["pair_accuracy_high"]) == (0.5, 0, 1)
