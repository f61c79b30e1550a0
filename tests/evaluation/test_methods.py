"""Methods side by side: hand-worked duels, classical fills, models of another size, and what can be wrong."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from prefpaint.errors import PrefPaintError
from prefpaint.evaluation.config import EvaluateConfig, MethodConfig
from prefpaint.evaluation.measures import ALL, measure
from prefpaint.evaluation.methods import (
    compare_methods,
    draw_duels,
    duel,
    groups_among,
    methods_metrics,
    win_rates_against_base,
)
from prefpaint.evaluation.samples import EDGE, method_loaders, original_edge
from prefpaint.inpainting.classical import CLASSICAL, classical_fill
from prefpaint.reporting.sentences import beaten_sentences
from tests.evaluation.test_measures import judged

CONFIG = EvaluateConfig(resamples=100)


def test_a_duel_by_hand() -> None:
    ours = {"A": np.array([[1.0, 3.0]]), "B": np.array([[2.0, 0.0]])}
    theirs = {"A": np.array([[1.0, 2.0]]), "B": np.array([[2.0, 3.0]])}
    # A against B: 1 > (2, 3): 0, 0; 3 > (2, 3): 1, ½. B against A: 2 > (1, 2): 1, ½; 0: 0, 0. Mean of 3/8 and 3/8.
    assert duel(ours, ours, 1, theirs).tolist() == [0.375]
    # Best of two: 3 against (2, 3) is ¾, 2 against (1, 2) is ¾.
    assert duel(ours, ours, 2, theirs).tolist() == [0.75]
    fixed = {"A": np.array([[2.5]]), "B": np.array([[2.5]])}
    assert duel(fixed, fixed, 1, theirs).tolist() == [0.75], "a deterministic method has one sample"


def test_everybody_against_everybody() -> None:
    samples = judged(100.0, CONFIG)
    samples.loc[samples["method"] == "telea", ["reward", "noiseless"]] += 1000.0
    table = compare_methods(samples, CONFIG)
    rates = table[(table["quantity"] == "win_rate") & (table["best_of"] == 1) & (table["pattern"] == ALL)]
    wide = rates[(rates["split"] == "seen") & (rates["judge"] == "noiseless")].pivot(
        index="method", columns="against", values="value"
    )
    assert set(wide.index) == set(wide.columns) == {"base", "aligned", "telea", "biharmonic"}
    both = wide.to_numpy() + wide.to_numpy().T
    np.testing.assert_allclose(both[~np.eye(4, dtype=bool)], 1)
    assert wide.loc["telea", "aligned"] == wide.loc["aligned", "base"] == 1.0
    sentences = beaten_sentences(table)
    assert len(sentences) == 2 and "On seen prompts telea wins 100.0" in sentences[0]
    assert beaten_sentences(compare_methods(judged(100.0, CONFIG), CONFIG)) == []


def test_the_papers_table_has_every_group_and_number() -> None:
    table = compare_methods(judged(1.0, CONFIG), CONFIG)
    assert set(table["pattern"]) == {"all", "outpainting", "warping"}
    metrics = methods_metrics(table)
    assert metrics["seen_warping_prompts"] == 3 and metrics["seen_prompts"] == 6
    for name, size in (("aligned", 1), ("aligned", 3), ("telea", 1)):
        assert 0 <= metrics[f"seen_warping_noiseless_win_rate_{name}_against_base_s{size}"] <= 1
    assert "seen_noiseless_win_rate_telea_against_base_s3" not in metrics, "there is no best of one"
    assert "seen_reward_variance_base" in metrics and "seen_reward_variance_telea" not in metrics
    assert metrics["unseen_hole_psnr_mean_telea"] == 20.0 and "unseen_warping_hole_psnr_mean_telea" not in metrics
    assert all(np.isfinite(value) for value in metrics.values())


def test_closer_to_the_original_by_hand() -> None:
    config = EvaluateConfig(
        best_of=(1, 2), splits=("seen",), methods={"telea": MethodConfig(kind="telea")}, resamples=100
    )
    samples = judged(0.0, config).query("split == 'seen'")
    first = samples["prompt_id"] == "seen_00000"
    samples = samples[first | (samples["prompt_id"] == "seen_00001")].copy()
    place = samples.set_index(["method", "noise_set", "sample"]).index
    distances = {
        ("base", "A"): (0.2, 0.4),
        ("base", "B"): (0.6, 0.1),
        ("aligned", "A"): (0.3, 0.3),
        ("aligned", "B"): (0.1, 0.5),
        ("telea", "A"): (0.2,),
    }
    samples["stlpips_alex"] = [distances[method, noise][number] for method, noise, number in place]
    # The second prompt is a view change.
    samples.loc[samples["pattern"] == "warp", "stlpips_alex"] = np.nan
    samples["stlpips_vgg"] = np.nan
    metrics = methods_metrics(compare_methods(samples, config))
    # Aligned A (0.3, 0.3) against base B (0.6, 0.1): 2 of 4; aligned B (0.1, 0.5) against base A (0.2, 0.4): 2 of 4.
    assert metrics["seen_stlpips_alex_win_rate_aligned_against_base_s1"] == 0.5
    # Telea, 0.2 whatever the noise: base B ½, base A ½ of a tie and 1; aligned B ½, aligned A 1.
    assert metrics["seen_stlpips_alex_win_rate_telea_against_base_s1"] == (0.5 + 0.75) / 2
    assert metrics["seen_outpainting_stlpips_alex_win_rate_telea_against_aligned_s1"] == (0.5 + 1) / 2
    assert metrics["seen_stlpips_alex_win_rate_aligned_against_telea_s1"] == (0.5 + 0) / 2
    assert metrics["seen_stlpips_alex_mean_telea"] == 0.2
    assert metrics["seen_stlpips_alex_prompts"] == 1 and metrics["seen_prompts"] == 2
    said = [key for key in metrics if "stlpips" in key]
    assert not [key for key in said if re.search("vgg|warping|variance", key) or key.endswith("_s2")]


def at_the_edge(samples: pd.DataFrame) -> pd.DataFrame:
    """Seams of 2 (base), 1.5 (aligned) and 0.5 (classical fills), originals of 1; a prompt without an edge."""
    seams = samples["method"].map({"base": 2.0, "aligned": 1.5}).fillna(0.5)
    # Every prompt differs from the others by more than the methods do.
    number = samples["prompt_id"].str[-1].astype(int)
    samples = samples.assign(seam_ratio=seams + 10 * number, colour_step=20 * seams)
    samples["original_seam_ratio"] = np.where(samples["pattern"] == "warp", np.nan, 1.0 + 10 * number)
    samples.loc[number == 5, list(EDGE)] = np.nan
    return samples


def test_seams_and_colour_steps_by_hand() -> None:
    table = compare_methods(at_the_edge(judged(0.0, CONFIG)), CONFIG)
    metrics = methods_metrics(table)
    # Prompts 0 to 4 have an edge.
    assert metrics["seen_seam_ratio_mean_base"] == pytest.approx(2 + 10 * 2)
    assert metrics["seen_colour_step_mean_telea"] == 10
    # Prompt by prompt: the spread between prompts is not in the interval.
    for method, change in (("aligned", -0.5), ("telea", -1.5), ("original", -1.0)):
        key = f"seen_seam_ratio_difference_{method}_against_base"
        assert [metrics[key + end] for end in ("", "_low", "_high")] == pytest.approx([change] * 3)
    assert metrics["seen_colour_step_difference_aligned_against_base"] == -10
    assert "seen_seam_ratio_difference_base_against_base" not in metrics
    # Originals of prompts 0, 2 and 4; a view change has none.
    assert metrics["seen_seam_ratio_mean_original"] == pytest.approx(1 + 10 * 2)
    assert not [key for key in metrics if "warping" in key and "original" in key]
    counts = table[(table["split"] == "seen") & (table["pattern"] == ALL) & (table["judge"] == "seam_ratio")]
    assert set(counts.loc[counts["method"] != "original", "prompts"]) == {5}
    assert set(counts.loc[counts["method"] == "original", "prompts"]) == {3}


def test_holes_without_an_edge_have_no_number() -> None:
    samples = judged(0.0, CONFIG)
    samples[[*EDGE, *map(original_edge, EDGE)]] = np.nan
    metrics = methods_metrics(compare_methods(samples, CONFIG))
    assert not [key for key in metrics if "seam_ratio" in key or "colour_step" in key]


def test_the_plotted_win_rates_are_the_metrics() -> None:
    for people, judge in ((False, "noiseless"), (True, "reward")):
        table = compare_methods(judged(1.0, CONFIG, people), CONFIG)
        metrics, rates = methods_metrics(table), win_rates_against_base(table)
        assert list(rates["method"])[:3] == ["seen, aligned", "seen, telea", "seen, biharmonic"]
        for row in rates.itertuples():
            split, name = row.method.split(", ")
            key = f"{split}_{judge}_win_rate_{name}_against_base_s1"
            assert (row.win_rate, row.low, row.high) == tuple(metrics[key + end] for end in ("", "_low", "_high"))
            assert row.prompts == metrics[f"{split}_prompts"]


def test_an_empty_pattern_has_no_rows_and_is_said(caplog: pytest.LogCaptureFixture) -> None:
    samples = judged(1.0, CONFIG)
    table = compare_methods(samples[samples["pattern"] != "warp"], CONFIG)
    assert set(table["pattern"]) == {"all", "outpainting"}
    assert "seen: no prompt has a hole of the kind warping (masks.patterns)" in caplog.text


def test_only_kinds_that_are_wanted_are_missed() -> None:
    assert groups_among({"warp"}) == groups_among({"warping"}) == ["outpainting", "warping"]
    assert groups_among({"own", "brush", "box"}) == ["drawn", "own"] and groups_among({"all"}) == []


@pytest.mark.parametrize("summary", [compare_methods, measure])
def test_samples_that_are_not_there(summary: Callable[[pd.DataFrame, EvaluateConfig], pd.DataFrame]) -> None:
    samples = judged(1.0, CONFIG)
    with pytest.raises(PrefPaintError, match=r"evaluate\.best_of: needs the best of 10, but base has 3 samples"):
        summary(samples, EvaluateConfig(best_of=(1, 10), resamples=100))
    with pytest.raises(PrefPaintError, match=r"evaluate\.splits: names unseen, but none of its samples"):
        summary(samples[samples["split"] == "seen"], CONFIG)
    with pytest.raises(PrefPaintError, match=r"evaluate\.methods: names telea, but none of its samples"):
        summary(samples[samples["method"] != "telea"], CONFIG)


def test_one_sample_of_each_noise_still_varies() -> None:
    once = EvaluateConfig(best_of=(1,), resamples=100)
    metrics = methods_metrics(compare_methods(judged(1.0, once), once))
    assert metrics["seen_reward_variance_base"] > 0 and "seen_reward_variance_telea" not in metrics


def test_the_heat_map_is_drawn_for_people_and_for_simulated_raters() -> None:
    for people in (False, True):
        figure = draw_duels(compare_methods(judged(1.0, CONFIG, people), CONFIG))
        shown = [text.get_text() for text in figure.axes[0].texts]  # type: ignore[attr-defined]
        assert len(shown) == 4 * 3 and all(re.fullmatch(r"\d+", text) for text in shown)


@pytest.mark.parametrize("kind", CLASSICAL)
def test_classical_fills_keep_what_is_known_and_never_look_into_the_hole(kind: str) -> None:
    ramp = np.broadcast_to(np.linspace(20, 200, 32)[None, :, None], (32, 32, 3)).astype(np.uint8)
    mask = np.zeros((32, 32), np.uint8)
    mask[10:20, 12:22] = 1
    filled = classical_fill(kind, ramp, mask)  # type: ignore[arg-type]
    np.testing.assert_array_equal(filled[mask == 0], ramp[mask == 0])
    # Nothing is as easy to continue as a ramp; Telea's weights smear it by some grey levels.
    assert np.abs(filled.astype(int) - ramp)[mask > 0].mean() < 12
    other = np.where(mask[..., None] > 0, np.uint8(7), ramp)
    np.testing.assert_array_equal(classical_fill(kind, other, mask), filled)  # type: ignore[arg-type]


def test_prompts_of_another_size_are_resized_and_keep_their_pixels(tiny_base: Path) -> None:
    from prefpaint.inpainting.checkpoint import load_pipeline
    from prefpaint.inpainting.config import SamplingConfig
    from prefpaint.inpainting.sampling import Inpainter
    from prefpaint.inpainting.sizes import paint_at_native_size

    inpainter = Inpainter(load_pipeline(tiny_base), SamplingConfig(steps=2, batch=2), "cpu")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 24, 40, 3)).astype(np.uint8)
    masks = np.zeros((2, 24, 40), np.uint8)
    masks[:, :, 15:] = 1
    painted = paint_at_native_size(inpainter, images, masks, [1, 2])
    assert painted.shape == images.shape
    np.testing.assert_array_equal(painted[masks == 0], images[masks == 0])
    assert (painted[masks > 0] != images[masks > 0]).any()
    blind = paint_at_native_size(inpainter, np.where(masks[..., None] > 0, np.uint8(0), images), masks, [1, 2])
    # Resampling with LANCZOS reaches into the hole, but whatever it reaches is a hole at the model's size.
    np.testing.assert_array_equal(blind, painted)


def test_a_method_that_is_no_inpainting_model_is_named(tiny_base: Path, tmp_path: Path) -> None:
    import torch

    from prefpaint.inpainting.checkpoint import load_pipeline, save_pipeline

    (tmp_path / "images").mkdir()

    def said(folder: Path) -> str:
        given = {"methods": {"mine": {"kind": "checkpoint", "checkpoint": str(folder)}}}
        with pytest.raises(PrefPaintError, match=r"^evaluate\.methods\.mine: ") as caught:
            method_loaders(EvaluateConfig.model_validate(given))["mine"]()
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "model_index.json: is missing" in said(tmp_path / "images")
    pipe = load_pipeline(tiny_base)
    pipe.unet.conv_in = torch.nn.Conv2d(4, pipe.unet.conv_in.out_channels, 3, padding=1)
    pipe.unet.register_to_config(in_channels=4)
    save_pipeline(pipe, tmp_path / "text_to_image")
    assert "its unet takes 4 input channels, that of Stable Diffusion inpainting takes 9" in said(
        tmp_path / "text_to_image"
    )
    shutil.copytree(tiny_base, tmp_path / "lacking")
    file = next((tmp_path / "lacking/unet").glob("*.safetensors"))
    weights = load_file(file)
    weights.pop("conv_in.bias")
    save_file(weights, file)
    assert "its unet lacks the weight conv_in.bias" in said(tmp_path / "lacking")


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"base": {"kind": "telea"}}, "'base' is not a valid name"),
        ({"original": {"kind": "telea"}}, "not base, aligned or original"),
        ({"../x": {"kind": "telea"}}, "is not a valid name; use small letters"),
        ({"telea_low": {"kind": "telea"}}, "reads like a part of a metric"),
        ({"telea_s3": {"kind": "telea"}}, "reads like a part of a metric"),
        ({"a_against_b": {"kind": "telea"}}, "reads like a part of a metric"),
        ({"mine": {"kind": "checkpoint"}}, "set checkpoint if, and only if"),
        ({"mine": {"kind": "telea", "checkpoint": "x"}}, "set checkpoint if, and only if"),
        ({"mine": {"kind": "photoshop"}}, "kind"),
        (
            {"mine": {"kind": "checkpoint", "checkpoint": "/not/there"}},
            "folder /not/there does not exist; give the folder",
        ),
        ({"mine": {"kind": "checkpoint", "checkpoint": "./not_there"}}, r"folder \./not_there does not exist"),
    ],
)
def test_wrong_methods(methods: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EvaluateConfig.model_validate({"methods": methods})


def test_a_method_of_the_default_can_be_taken_out() -> None:
    assert set(
        EvaluateConfig.model_validate({"methods": {"telea": None, "biharmonic": {"kind": "biharmonic"}}}).methods
    ) == {"biharmonic"}


def test_a_hub_id_is_left_to_the_hub() -> None:
    given = {"methods": {"theirs": {"kind": "checkpoint", "checkpoint": "owner/some-model.v2"}}}
    assert EvaluateConfig.model_validate(given).methods["theirs"].checkpoint == "owner/some-model.v2"
    with pytest.raises(ValidationError, match=r"folder /none/clip does not exist"):
        EvaluateConfig.model_validate({"scores": {"clip": "/none/clip"}})
