"""Every mode of alignment, from its pipeline to the page and the model card that are written from its figures."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import torch
from huggingface_hub import metadata_load
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from prefpaint.alignment.config import PRESETS, AlignConfig
from prefpaint.alignment.ddpo import DDPO
from prefpaint.alignment.modes import MODES
from prefpaint.datasets import FigureDataset, JSONDataset, TableDataset
from prefpaint.experiments.runs import trust_in as measured_trust
from prefpaint.images import ImageFolder, write_image
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.families.registry import family_of
from prefpaint.masks.words import text_prompts
from prefpaint.pipelines.align import pipeline as align
from prefpaint.pipelines.release.pipeline import create_pipeline as release
from prefpaint.preferences.taste import Taste
from prefpaint.reporting.page import Report, render_report
from prefpaint.reward.config import ContrastBackboneConfig, KernelHeadConfig, RewardConfig, TextConfig
from prefpaint.reward.training import RatedImages, train_reward
from prefpaint.small_model.build import build_small_pipeline
from prefpaint.trust.config import BoundConfig, GammaConfig
from prefpaint.trust.fit import Embedded, Trust, fit_trust
from tests.families import few_tokens, random_model
from tests.judges.outside_models import write_clip
from tests.reporting.test_model_card import facts
from tests.reporting.test_page import report
from tests.running import Kept
from tests.tiny import SIZE, TINY_MODEL, tiny_judge, tiny_prompts


def choices(model: Any, field: str) -> tuple[str, ...]:
    """The values that a field allows: a new one is tested here without being named."""
    return get_args(model.model_fields[field].annotation)


TUNES, KINDS = ("full", "lora"), choices(GammaConfig, "kind")
# What an iteration looks at is small; what makes a mode is left to it.
SMALL: dict[str, Any] = {
    "iterations": 2,
    "prompts": 2,
    "steps": 3,
    "trained_steps": 2,
    "trackers": [],
    "watch": {"every": 1, "prompts": 4},
    "lora": {"rank": 2},
    "dpo": {"pairs": 4},
}


class Bright(torch.nn.Module):
    """Rewards a bright hole, by `slope`; the embedding's length, and with it the trust width, varies too."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.register_buffer("slope", torch.tensor(slope))

    def score(
        self, images: np.ndarray, masks: np.ndarray, batch: int, texts: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """(N,) and (N, 2)."""
        level = np.array([image[mask > 0].mean() / 255 for image, mask in zip(images, masks, strict=True)])
        return float(self.slope) * level, np.stack([1 + level, level], 1)

    def forward(
        self, images: torch.Tensor, holes: torch.Tensor, texts: Sequence[str]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The same of tensors, as a reward model takes them."""
        level = (images.mean(1, keepdim=True) * holes).sum((1, 2, 3)) / holes.sum((1, 2, 3))
        return self.slope * level, torch.stack([1 + level, level], 1)


def trust_in(reasons: tuple[str, ...] = ()) -> Trust:
    """Trust in such rewards; with reasons it says nothing."""
    level = np.linspace(0.2, 0.8, 12)
    rated = Embedded(np.stack([1 + level, level], 1), level, level, [str(number // 2) for number in range(12)])
    return replace(fit_trust(rated, rated, BoundConfig(ridge=1.0)), reasons=reasons)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the other stages would have left."""
    folder = tmp_path_factory.mktemp("modes")
    ids, images, masks = tiny_prompts(folder, 12)
    splits = ["train"] * 8 + ["validation"] * 4
    candidates, rows = ImageFolder(folder / "candidates"), []
    for name, split in zip(ids, splits, strict=True):
        for number in range(2):
            picture = images[name].copy()
            picture[masks[name] > 0] = 80 + 80 * number
            write_image(candidates.file(f"{name}_{number}"), picture)
            rows.append((f"{name}_{number}", name, split, float(number)))
    measured = facts()
    return {
        "reward_model": Bright(1.0),
        "referee_model": Bright(0.5),
        "trust": trust_in(),
        "prompts": pd.DataFrame({"prompt_id": ids, "split": splits, "pattern": "brush", "image_sha256": ids}),
        "prompt_images": images,
        "prompt_masks": masks,
        "candidate_images": candidates,
        "scores": pd.DataFrame(rows, columns=["candidate_id", "prompt_id", "split", "score"]),
        "params:gamma": GammaConfig(),
        "params:sampling": SamplingConfig(steps=3, batch=16),
        "params:reward": RewardConfig(),
        "taste": Taste().model_dump(),
        "judge": tiny_judge(),
        "photograph_table": measured.photographs,
        "evaluate_table": measured.table,
        "methods_table": measured.methods,
        "preferences_metrics": {**measured.metrics["preferences"], "simulated": True},
        "reward_metrics": dict(measured.metrics["reward"]),
        "bound_metrics": dict(measured.metrics["bound"]),
    }


@pytest.fixture(scope="module")
def page() -> Report:
    """What the other parts of the page are written from."""
    return report()


@pytest.fixture(scope="module")
def people() -> dict[str, Any]:
    """What is measured otherwise where people rated."""
    measured = facts(people=True)
    return {
        "taste": {},
        "evaluate_table": measured.table,
        "methods_table": measured.methods,
        "preferences_metrics": {**measured.metrics["preferences"], "simulated": False},
        **{f"{name}_metrics": dict(measured.metrics[name]) for name in ("reward", "bound")},
    }


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(given: dict[str, Any], tmp_path: Path) -> Run:
    """Aligns and writes the card; tables and metrics pass through files, as they do for users.

    Figures do so with `draw` alone: it takes longer than all the rest.
    """

    def made(knobs: dict[str, Any], draw: bool = False, **changed: Any) -> dict[str, Any]:
        stages = align.create_pipeline().filter(to_outputs=["align_metrics"]) + release()
        # Training a referee is the same in every mode.
        stages = stages - align.create_pipeline().filter(node_names=["train_referee"])
        (tmp_path / "workspace").mkdir()
        inputs = {
            **given,
            "base_model": build_small_pipeline(TINY_MODEL, SIZE, 1),
            "align_workspace": tmp_path / "workspace",
            "params:align": AlignConfig.model_validate({**SMALL, **knobs}),
            **changed,
        }
        assert stages.inputs() == set(inputs)
        catalog = DataCatalog({name: MemoryDataset(value, copy_mode="assign") for name, value in inputs.items()})
        for name in ("aligned_model", "release", "align_figure"):
            catalog[name] = Kept(copy_mode="assign")
        if draw:
            catalog["align_figure"] = FigureDataset(str(tmp_path / "align.png"))
        catalog["align_history"] = TableDataset(str(tmp_path / "history.parquet"))
        catalog["align_watched"] = TableDataset(str(tmp_path / "watched.csv"))
        catalog["align_metrics"] = JSONDataset(str(tmp_path / "metrics.json"))
        SequentialRunner().run(stages, catalog)
        names = ("align_history", "align_watched", "align_metrics", "align_figure", "release")
        return {name: catalog.load(name) for name in names}

    return made


def check(left: dict[str, Any], mode: str, folder: Path) -> str:
    """What any run must leave; gives the card."""
    metrics = left["align_metrics"]
    assert metrics["iterations"] == len(left["align_history"]) == len(left["align_watched"]) == SMALL["iterations"]
    assert all(isinstance(value, (int, float)) and np.isfinite(value) for value in metrics.values())
    model, card = left["release"]
    fresh = build_small_pipeline(TINY_MODEL, SIZE, 1).unet.state_dict()
    trained = model.unet.state_dict()
    assert list(trained) == list(fresh) and any(not torch.equal(trained[name], fresh[name]) for name in fresh)
    (folder / "card.md").write_text(card)
    assert metadata_load(folder / "card.md")
    said = card.partition("## Training")[2].partition("## Limits")[0]
    assert f"Mode `{mode}`, seed 0, 2 iterations" in said
    assert "in the first fifth" in said and "nan" not in said and "–" not in said
    raised = MODES[mode].raises_reward
    assert MODES[mode].objective_words in said and ("mean reward" in said) == raised
    assert ("aligned to raise it" in card and "can be exploited" in card) == raised
    assert ("training did not raise it" in card and "not an independent judge" in card) == (not raised)
    assert "was not checked" not in card
    return card


@pytest.mark.parametrize("mode", ["dpo", "nft", "awm", "refl"])
def test_modes_that_need_no_density_take_a_deterministic_sampler(
    run: Run, page: Report, tmp_path: Path, mode: str
) -> None:
    left = run({"mode": mode}, draw=True, **{"params:sampling": SamplingConfig(steps=3, batch=16, eta=0.0)})
    assert "KL to the base" not in check(left, mode, tmp_path)
    assert "watch_kl" not in left["align_metrics"]
    html = render_report(replace(page, metrics={**page.metrics, "align_metrics": left["align_metrics"]}))
    assert "drift from the base" in html and "KL to the base" not in html


@pytest.mark.parametrize("tune", TUNES)
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_ends_in_a_card_and_a_page(run: Run, page: Report, tmp_path: Path, mode: str, tune: str) -> None:
    left = run({"mode": mode, "tune": tune}, draw=True)
    check(left, mode, tmp_path)
    assert left["align_figure"].startswith(b"\x89PNG")
    metrics = left["align_metrics"]
    assert ("reward_last_fifth" in metrics) == MODES[mode].raises_reward
    page = replace(
        page,
        metrics={**page.metrics, "align_metrics": metrics},
        figures={**page.figures, "align_figure": left["align_figure"]},
    )
    assert "Held-out prompts that alignment was watched on show" in render_report(page)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("model", ["velocity", "xl", "sd3", "flux_fill"])
def test_every_mode_aligns_every_family(run: Run, model: str, mode: str) -> None:
    """On train prompts; every mode that samples brightens the holes of held-out ones in five iterations.

    dpo learns from pictures that it is given, and a random autoencoder does not give them back as they were.
    """
    learns = mode != "dpo"
    knobs: dict[str, Any] = {"average": 0.0, "advantage": "group", "candidates": 2, "least_sigma": 0.0}
    knobs |= {"iterations": 5, "prompts": 8, "candidates": 12} if learns else {}
    knobs |= {"lr": 1e-2, "gradient_norm": 1.0, "dpo": {"pairs": 32, "beta": 10.0}, "lora": {"rank": 4, "alpha": 32}}
    knobs |= {"awm": {"old_pull": 0.1}}
    # A random network's last step hardly changes the picture: the gradient goes through all.
    knobs |= {"refl": {"last_steps": 3}}
    left = run(
        {"mode": mode, **knobs},
        base_model=few_tokens(random_model(model)) if model == "flux_fill" else random_model(model),
    )
    gains = left["align_watched"]["reward_gain"]
    assert not learns or gains.iloc[-1] > 0, gains.tolist()
    aligned, card = left["release"]
    family = family_of(aligned)
    fresh, trained = family_of(random_model(model)).network.state_dict(), family.network.state_dict()
    assert trained.keys() == fresh.keys() and any(not torch.equal(trained[name], fresh[name]) for name in fresh)
    assert f"import {type(aligned).__name__}" in card or f", {type(aligned).__name__}" in card
    snippet = card.partition("```python")[2].partition("```")[0]
    compile(snippet, "card", "exec")


WEIGHTED = {"mode": "dpo", "trust": "weight", "dpo": {"pairs": 4}}


@pytest.mark.parametrize("trust", choices(AlignConfig, "trust"))
@pytest.mark.parametrize("mode", [mode for mode, preset in PRESETS.items() if preset.compares])
def test_every_use_of_trust_does(run: Run, tmp_path: Path, mode: str, trust: str) -> None:
    knobs = {"mode": mode, "trust": trust, "candidates": 4, "lr": 1e-2, "gate": {"share": 0.25, "refresh": 1e-9}}
    left = run({**knobs, "norm_ceiling": float(PRESETS[mode].ceiling)}, draw=trust == "gate")
    check(left, mode, tmp_path)
    history, metrics = left["align_history"], left["align_metrics"]
    assert metrics["gamma_fell_back"] == 0 and (metrics["gamma_spread"] > 0) == (trust == "weight")
    assert (history["width"] > 0).all() == (trust != "none")
    if trust == "gate":
        # Two of eight samples; after the first update the policy has left the base.
        first, second = history["pull"]
        # The same weights in batches of other sizes, and then those of another policy.
        assert (history["gated"] == 0.25).all() and first < 1e-9 < second
        assert history["anchor_refreshed"].tolist() == [0, 1] and metrics["anchor_refreshes"] == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("knobs", "informative"), [({}, True), ({}, False), (WEIGHTED, True)], ids=["ddpo", "uninformative", "dpo"]
)
def test_every_kind_of_trust_does(
    run: Run, tmp_path: Path, knobs: dict[str, Any], informative: bool, kind: str
) -> None:
    trust = trust_in(() if informative else ("the width ranks nothing",))
    left = run({**knobs, "candidates": 2}, trust=trust, **{"params:gamma": GammaConfig(kind=kind)})
    check(left, knobs.get("mode", "nft"), tmp_path)
    metrics = left["align_metrics"]
    assert metrics["gamma_fell_back"] == (not informative and kind != "static")
    if not knobs:
        varies = informative and kind in ("exponential", "linear")
        assert (metrics["gamma_spread"] > 0) == varies


@pytest.mark.parametrize("learned", [True, False])
@pytest.mark.parametrize(("mode", "combine"), [("ddpo", "rank"), ("published", "sum"), ("nft", "sum")])
def test_several_rewards_end_in_a_card_and_a_page(
    run: Run, page: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, combine: str, learned: bool
) -> None:
    (tmp_path / "my_rewards.py").write_text(
        "def dark(images, masks): return 255 - images.mean((1, 2, 3))\n"
        "def red(images, masks): return images[..., 0].mean((1, 2))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_rewards", raising=False)
    rewards: dict[str, Any] = {
        "dark": {"kind": "python", "function": "my_rewards:dark", "weight": -0.5},
        "red": {"kind": "python", "function": "my_rewards:red"},
        "edge": {"kind": "boundary", "weight": 2.0},
    }
    rewards |= {"taste": {"kind": "learned"}} if learned else {}
    left = run({"mode": mode, "rewards": rewards, "combine": combine}, draw=True)
    card, history, looks = left["release"][1], left["align_history"], left["align_watched"]
    assert f"Raised, combined by {combine}: `dark` (python, weight -0.5)" in card
    assert ("aligned to raise it" in card) == learned and "can be exploited" in card
    assert history["width"].notna().all() == learned
    weights = {name: reward.get("weight", 1.0) for name, reward in rewards.items()}
    for table, prefix in ((history, "reward_"), (looks, "")):
        expected = sum(weight * table[f"{prefix}{name}"] for name, weight in weights.items())
        np.testing.assert_allclose(table["reward"], expected)
    metrics = left["align_metrics"]
    assert all(np.isfinite(value) for value in metrics.values()) and metrics["gamma_fell_back"] == 0
    kept = looks.set_index("iteration").loc[metrics["watch_best_iteration"]]
    assert metrics["watch_red_gain"] == pytest.approx(kept["red_gain"], abs=1e-6)
    html = render_report(replace(page, metrics={**page.metrics, "align_metrics": metrics}))
    assert (
        "by what was raised, the weighted sum of the rewards" in html and "by the reward dark, in its own units" in html
    )


@pytest.fixture(scope="module")
def words(given: dict[str, Any], tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Prompts with words and without, a reward that reads them, and trust in it."""
    clip = write_clip(tmp_path_factory.mktemp("clip"), tiny_base / "tokenizer")
    reward = RewardConfig(
        backbone=ContrastBackboneConfig(input_size=64, taps=(0,)),
        head=KernelHeadConfig(embedding=8, components=8),
        text=TextConfig(checkpoint=str(clip)),
    )
    prompts = given["prompts"].assign(text_prompt=["a cat", "", "a dog"] * 4)

    def rated(split: str) -> RatedImages:
        rows = given["scores"][given["scores"]["split"] == split]
        return RatedImages.of(given["candidate_images"], given["prompt_masks"], rows, text_prompts(prompts))

    model, _ = train_reward(rated("train"), rated("validation"), reward)
    trust = measured_trust(model, rated("train"), rated("validation"), 64, BoundConfig(), GammaConfig())
    used = {"reward_model": model, "referee_model": model, "trust": trust, "params:reward": reward, "prompts": prompts}
    return {**used, "params:gamma": GammaConfig(uninformative="use")}


@pytest.mark.parametrize("mode", MODES)
def test_a_reward_that_reads_words_does(run: Run, words: dict[str, Any], tmp_path: Path, mode: str) -> None:
    heard: list[list[str]] = []
    real = words["reward_model"].text.cosines

    def cosines(images: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        heard.append(list(texts))
        return real(images, texts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words["reward_model"].text, "cosines", cosines)
        check(run({"mode": mode, "trust": "weight", "lr": 1e-2}, **words), mode, tmp_path)
    assert {text for texts in heard for text in texts} == {"a cat", "", "a dog"}


@pytest.mark.parametrize("mode", MODES)
def test_peoples_ratings_do(run: Run, people: dict[str, Any], tmp_path: Path, mode: str) -> None:
    left = run({"mode": mode}, **people)
    assert "noiseless" not in " ".join(left["align_metrics"]) and "simulated" not in check(left, mode, tmp_path)


@pytest.mark.parametrize("mode", [mode for mode in MODES if MODES[mode].method is DDPO.method])
def test_several_updates_on_the_same_samples_do(run: Run, tmp_path: Path, mode: str) -> None:
    left = run({"mode": mode, "inner_updates": 2, "kl": 0.1, "lr": 1e-2})
    check(left, mode, tmp_path)
    metrics = left["align_metrics"]
    assert metrics["ratio_least"] < 0.999 or metrics["ratio_most"] > 1.001
    assert metrics["clip_fraction"] > 0


@pytest.mark.parametrize("mode", MODES)
def test_a_single_iteration_does(run: Run, mode: str) -> None:
    left = run({"mode": mode, "iterations": 1})
    metrics, key = left["align_metrics"], MODES[mode].objective
    assert metrics[f"{key}_first_fifth"] == metrics[f"{key}_last_fifth"]
