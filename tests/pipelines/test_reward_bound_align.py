"""The reward, bound and align pipelines on a tiny real model, chained through an in-memory catalog."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.runner import SequentialRunner

from prefpaint.alignment.config import AlignConfig
from prefpaint.alignment.scorers import Scores
from prefpaint.alignment.watch_config import WatchConfig
from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder, write_image
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.sampling import Inpainter
from prefpaint.pipelines.align import pipeline as align
from prefpaint.pipelines.align.nodes import make_job
from prefpaint.pipelines.bound import pipeline as bound
from prefpaint.pipelines.reward import pipeline as reward
from prefpaint.preferences.taste import Taste
from prefpaint.reward.config import ContrastBackboneConfig, KernelHeadConfig, MLPHeadConfig, RewardConfig
from prefpaint.small_model.build import build_small_pipeline
from prefpaint.trust import worlds
from prefpaint.trust.config import BoundConfig, GammaConfig
from prefpaint.trust.fit import Embedded, Trust, fit_trust
from tests.running import Kept
from tests.tiny import SIZE, TINY_MODEL, tiny_judge, tiny_prompts

WATCH = WatchConfig(every=1, prompts=4)
ALIGN = AlignConfig(
    mode="ddpo", iterations=2, prompts=3, candidates=2, steps=3, trained_steps=2, micro_batch=6, watch=WATCH
)


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
    scores = scores.assign(source="tiny", pattern="outpaint_square")
    # Two raters who differ by one point of 0.5 units: a mean score is off by 1 / 2 · √(1 / 2) points, in the mean.
    ratings = pd.concat(
        [
            pd.DataFrame(
                {
                    "candidate_id": scores["candidate_id"],
                    "rater": name,
                    "structure": value,
                    "texture": value,
                    "overall": value,
                }
            )
            for name, value in (("a", 3), ("b", 4))
        ]
    )
    normalisation = [{"source": "tiny", "pattern": "outpaint_square", "mean": 3.5, "std": 2.0, "count": 30}]
    (tmp_path / "workspace").mkdir()
    return {
        "base_model": build_small_pipeline(TINY_MODEL, SIZE, 1),
        "candidate_images": candidates,
        "prompt_images": images,
        "prompt_masks": masks,
        "scores": scores,
        "ratings": ratings,
        "normalisation": normalisation,
        "noiseless": scores.assign(noiseless_score=scores["score"])[["candidate_id", "noiseless_score"]],
        "prompts": pd.DataFrame({"prompt_id": ids, "split": splits, "image_sha256": ids}),
        "align_workspace": tmp_path / "workspace",
        "params:reward": RewardConfig(
            backbone=ContrastBackboneConfig(input_size=64, taps=(0, 1)),
            head=MLPHeadConfig(width=32, heads=2, feedforward=32, hidden=32, embedding=8),
            epochs=3,
            batch=4,
        ),
        "params:bound": BoundConfig(),
        "params:gamma": GammaConfig(),
        "params:align": ALIGN,
        "params:sampling": sampling,
        "taste": Taste().model_dump(),
        "judge": tiny_judge(),
    }


def run(given: dict[str, Any], stages: Pipeline, wanted: list[str]) -> dict[str, Any]:
    """Run stages in memory and keep some of their outputs."""
    catalog = DataCatalog({name: MemoryDataset(value, copy_mode="assign") for name, value in given.items()})
    for name in wanted:
        catalog[name] = Kept(copy_mode="assign")
    SequentialRunner().run(stages, catalog)
    return {name: catalog.load(name) for name in wanted}


METRICS = ["reward_metrics", "bound_metrics", "align_metrics"]
TABLES = ["embeddings", "trust_table", "align_history", "align_watched", "bound_worlds"]
FIGURES = ["reward_figure", "bound_figure", "trust_figure", "align_figure"]


def test_reward_to_aligned_model(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worlds, "SETTINGS", (worlds.World(10, 2, 1.0),))
    stages = reward.create_pipeline() + bound.create_pipeline() + align.create_pipeline()
    assert stages.inputs() == set(given)
    made = run(given, stages, [*METRICS, *TABLES, *FIGURES, "aligned_model", "trust"])
    assert made["reward_metrics"]["test_candidates"] == 12
    assert 0 <= made["reward_metrics"]["test_ratings_pair_accuracy"] <= 1
    # The label and the noiseless score are the same here, so the raters' ceiling is perfect.
    assert made["reward_metrics"]["test_ceiling_raters_mean_vs_noiseless_pair_accuracy"] == 1
    measured = made["bound_metrics"]
    assert 1 <= measured["participation_ratio"] <= 8
    # 2 · 0.5² / 1 over two raters, in units of 2 points.
    assert measured["noise_scale"] == measured["noise_scale_raters"] == pytest.approx(0.25)
    assert all(isinstance(value, (int, float)) and np.isfinite(value) for value in measured.values())
    assert len(made["embeddings"]) == len(made["trust_table"]) == 54
    assert (made["trust_table"]["noiseless_score"] == made["trust_table"]["score"]).all()
    assert made["embeddings"]["z"].iloc[0].shape == (8,)
    assert (made["bound_worlds"]["violated"] <= made["bound_worlds"]["delta"]).all()
    # Two iterations of six samples: three sampling and two training passes each.
    assert made["align_metrics"]["network_evaluations"] == 2 * 6 * 5
    assert made["align_metrics"]["ratio_least"] == pytest.approx(1, abs=1e-5)
    assert made["align_metrics"]["gamma_fell_back"] == 1 - measured["trust_informative"]
    assert np.isfinite(made["align_history"][["reward", "gamma", "gradient_norm"]].to_numpy()).all()
    changed = made["aligned_model"].unet.state_dict()
    fresh = build_small_pipeline(TINY_MODEL, SIZE, 1).unet.state_dict()
    assert any(not np.array_equal(changed[name], fresh[name]) for name in fresh)


class Reward(torch.nn.Module):
    """Gives every picture the reward 1 and an embedding of length 2."""

    def score(
        self, images: np.ndarray, masks: np.ndarray, batch: int, texts: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        return np.ones(len(images)), np.tile([2.0, 0.0], (len(images), 1))


def known_trust(reasons: tuple[str, ...] = ()) -> Trust:
    """V = I, so that widths are lengths; the typical training candidate has width 4."""
    rated = Embedded(np.zeros((2, 2)), np.zeros(2), np.zeros(2), ["a", "b"])
    return replace(fit_trust(rated, rated, BoundConfig(ridge=1.0)), train_widths=np.array([4.0]), reasons=reasons)


@pytest.mark.parametrize(
    ("gamma", "weight"),
    [
        (GammaConfig(k=0.5, b=0.25), 1.0),
        (GammaConfig(k=0.5, b=1.0, unit="raw"), 1.0),
        (GammaConfig(kind="linear", k=1.0, b=1.0), 1.5),
        (GammaConfig(kind="static", average=1.25), 1.25),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_every_kind_of_gamma_weighs_the_reward(given: dict[str, Any], gamma: GammaConfig, weight: float) -> None:
    scores = scored(given, ALIGN, known_trust(), gamma)
    np.testing.assert_allclose(scores.width, 2.0)
    np.testing.assert_allclose(scores.gamma, weight)
    np.testing.assert_allclose(scores.reward, 1.0)


def scored(given: dict[str, Any], config: AlignConfig, trust: Any, gamma: GammaConfig) -> Scores:
    """Three pictures by what an alignment raises."""
    made = make_job(
        *(given["base_model"], Reward(), trust, None, given["prompts"], given["prompt_images"]),
        *(given["prompt_masks"], given["candidate_images"], given["scores"], given["taste"], given["judge"]),
        *(config, gamma, given["params:sampling"], given["params:reward"]),
    )
    return made.reward_to_raise()(np.zeros((3, 8, 8, 3), np.uint8), np.ones((3, 8, 8), np.uint8))


@pytest.mark.parametrize(
    ("use", "says", "width", "raised"),
    [
        # Widths are 2, half of the training median: 0.75 score units per unit take off 0.375.
        ("pessimistic", True, 2.0, 0.625),
        ("gate", True, 2.0, 1.0),
        # What says nothing is left out, and so is all trust with none, which does not look at it.
        ("pessimistic", False, 0.0, 1.0),
        ("gate", False, 0.0, 1.0),
        ("none", None, 0.0, 1.0),
    ],
)
def test_other_uses_of_trust_leave_the_weight(
    given: dict[str, Any], use: str, says: bool | None, width: float, raised: float
) -> None:
    config = AlignConfig.model_validate({**ALIGN.model_dump(), "trust": use, "pessimism": 0.75})
    trust = None if says is None else known_trust(() if says else ("the width ranks nothing",))
    # A constant weight does not switch them off.
    scores = scored(given, config, trust, GammaConfig(kind="static", average=3.0))
    np.testing.assert_allclose(scores.width, width)
    np.testing.assert_allclose(scores.gamma, 1.0)
    np.testing.assert_allclose(scores.reward, raised)
    if says is False:
        used = scored(given, config, trust, GammaConfig(uninformative="use"))
        np.testing.assert_allclose(used.width, 2.0)
        np.testing.assert_allclose(used.reward, 0.625 if use == "pessimistic" else 1.0)


def test_without_information_alignment_weighs_nothing_or_refuses(given: dict[str, Any]) -> None:
    stages, trust = align.create_pipeline(), known_trust(("the width ranks nothing",))

    def aligned(gamma: GammaConfig) -> dict[str, Any]:
        config = ALIGN.model_copy(update={"iterations": 1, "trust": "pessimistic"})
        inputs = {**given, "reward_model": Reward(), "trust": trust, "params:align": config, "params:gamma": gamma}
        return run({key: inputs[key] for key in stages.inputs()}, stages, ["align_history", "align_metrics"])

    made = aligned(GammaConfig(kind="linear"))
    assert made["align_history"]["gamma"].iloc[0] == made["align_history"]["reward"].iloc[0] == 1
    assert made["align_metrics"]["gamma_fell_back"] == 1
    with pytest.raises(PrefPaintError, match=r"trust carries no information \(the width ranks nothing\)"):
        aligned(GammaConfig(uninformative="refuse"))
    # The weights depend on it, so a run is recognised by it.
    assert json.loads((given["align_workspace"] / "run.json").read_text())["identity"]["gamma"]["kind"] == "linear"


def test_an_ensemble_and_a_kernel_head_bring_their_own_members_and_norm(given: dict[str, Any]) -> None:
    config = given["params:reward"].model_copy(
        update={"head": KernelHeadConfig(embedding=6, components=4), "ensemble": 2}
    )
    stages = reward.create_pipeline() + bound.create_pipeline()
    inputs = {name: {**given, "params:reward": config}[name] for name in stages.inputs()}
    made = run(inputs, stages, ["trust", "trust_table", "reward_model"])
    assert made["trust"].whole_norm == 1.0
    np.testing.assert_allclose(made["trust"].members, made["reward_model"].member_psis().numpy())
    assert (made["trust_table"][["elliptical", "published", "ensemble"]] > 0).all(axis=None)


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "published", "prompts": 2, "steps": 3, "trained_steps": 2, "iterations": 1},
        {"mode": "dpo", "iterations": 2, "trust": "weight", "dpo": {"pairs": 4}},
        {"mode": "ddpo", "tune": "lora", "prompts": 2, "candidates": 2, "steps": 3, "iterations": 1, "kl": 0.1},
    ],
    ids=lambda changes: changes["mode"],
)
def test_other_modes_leave_the_same_things(given: dict[str, Any], changes: dict[str, Any]) -> None:
    config = AlignConfig.model_validate({**changes, "watch": {"every": 1, "prompts": 4}})
    before = reward.create_pipeline() + bound.create_pipeline()
    made = run({name: given[name] for name in before.inputs()}, before, ["reward_model", "trust"])
    stages = align.create_pipeline()
    inputs = {**given, **made, "params:align": config}
    wanted = ["aligned_model", "align_metrics", "align_figure", "align_watched"]
    left = run({name: inputs[name] for name in stages.inputs()}, stages, wanted)
    assert left["align_metrics"]["iterations"] == len(left["align_watched"]) == config.iterations
    assert all(isinstance(value, (int, float)) and np.isfinite(value) for value in left["align_metrics"].values())
    unet, fresh = left["aligned_model"].unet, build_small_pipeline(TINY_MODEL, SIZE, 1).unet
    assert list(unet.state_dict()) == list(fresh.state_dict()), "stock, adapters merged"
    assert any(not torch.equal(value, fresh.state_dict()[name]) for name, value in unet.state_dict().items())
