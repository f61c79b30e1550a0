import re

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from prefpaint.errors import PrefPaintError
from prefpaint.evaluation.config import EvaluateConfig
from prefpaint.evaluation.measures import ALL, JUDGES, flat_metrics, measure
from prefpaint.evaluation.samples import EDGE, FLAWS, METHODS, NOISE_SETS, OUTSIDE, original_edge, plan_samples


def prompt_table(count: int = 6) -> pd.DataFrame:
    patterns = ["outpaint_square", "warp"]
    return pd.DataFrame(
        {
            "prompt_id": [f"{split}_{i:05d}" for split in ("train", "seen", "unseen") for i in range(count)],
            "split": [split for split in ("train", "seen", "unseen") for _ in range(count)],
            "pattern": [patterns[i % 2] for _ in range(3) for i in range(count)],
        }
    )


def judged(gain: float, config: EvaluateConfig, people: bool = False, noise: float = 1.0) -> pd.DataFrame:
    """Samples whose score is noise, shared within a set, plus `gain` for the aligned model; the better, the nearer."""
    table = plan_samples(prompt_table(), config)
    score = [np.random.default_rng(seed).normal() * noise for seed in table["seed"]]
    table["reward"] = np.array(score) + gain * (table["method"] == "aligned")
    table["noiseless"] = np.nan if people else table["reward"] + 3
    table["width"] = 0.5
    for name in (*FLAWS, *EDGE, "hole_spread"):
        table[name] = 1.0
    for name in map(original_edge, EDGE):
        table[name] = np.where(table["pattern"] == "warp", np.nan, 0.5)
    table["hole_psnr"] = np.where(table["pattern"] == "warp", np.nan, 20.0)
    table["hole_ssim"] = table["hole_psnr"] / 40
    for name in OUTSIDE:
        table[name] = np.where(table["pattern"] == "warp", np.nan, 1 / (1 + np.exp(table["reward"])))
    return table


def test_base_and_aligned_share_seeds_within_a_noise_set_only() -> None:
    plan = plan_samples(prompt_table(), EvaluateConfig())
    assert set(plan["split"]) == {"seen", "unseen"}
    # The two classical fills of the default have no chance in them.
    assert len(plan) == 2 * 6 * (len(METHODS) * len(NOISE_SETS) * 3 + 2)
    assert plan["image_id"].is_unique
    assert "aligned_B_seen_00002_1" in set(plan["image_id"])
    seeds = plan.set_index("image_id")["seed"]
    assert seeds["base_A_seen_00000_0"] == seeds["aligned_A_seen_00000_0"] != seeds["aligned_B_seen_00000_0"]
    assert plan.loc[plan["method"] == "base", "seed"].is_unique


def test_a_split_without_prompts_is_one_clear_sentence() -> None:
    prompts = prompt_table()
    with pytest.raises(PrefPaintError, match="none in split unseen; run `kedro run --pipeline=masks`"):
        plan_samples(prompts[prompts["split"] != "unseen"], EvaluateConfig())


def test_a_gain_larger_than_all_noise_wins_everything() -> None:
    config = EvaluateConfig(resamples=100)
    metrics = flat_metrics(measure(judged(100.0, config), config))
    for name in ("independent_s1", "independent_s3", "equal_s1", "equal_s3"):
        assert metrics[f"seen_noiseless_win_rate_{name}"] == metrics[f"seen_noiseless_win_rate_{name}_low"] == 1.0
    assert metrics["seen_noiseless_difference"] == pytest.approx(100)
    assert metrics["seen_prompts"] == 6
    assert metrics["seen_warp_prompts"] == 3
    assert metrics["unseen_warp_noiseless_win_rate_independent_s1"] == 1.0
    assert "seen_warp_noiseless_win_rate_equal_s1" not in metrics, "few prompts bear few numbers"


def test_the_same_model_twice_ties_on_equal_noise() -> None:
    config = EvaluateConfig(resamples=100)
    metrics = flat_metrics(measure(judged(0.0, config), config))
    for split in config.splits:
        assert metrics[f"{split}_noiseless_win_rate_equal_s1"] == 0.5
        assert metrics[f"{split}_noiseless_win_rate_independent_s1"] == 0.5
        assert metrics[f"{split}_noiseless_win_rate_independent_s3"] == pytest.approx(
            metrics[f"{split}_noiseless_win_rate_base_base_s3"]
        )
        assert metrics[f"{split}_noiseless_difference"] == 0
        assert metrics[f"{split}_reward_order_accuracy_base"] == 1.0


def test_a_small_gain_shows_on_equal_noise_first() -> None:
    config = EvaluateConfig(resamples=100)
    metrics = flat_metrics(measure(judged(0.01, config), config))
    assert metrics["seen_noiseless_win_rate_equal_s1"] == 1.0
    assert metrics["seen_noiseless_win_rate_independent_s1"] < 0.7


def test_best_of_three_is_chosen_by_the_reward_and_judged_by_the_raters() -> None:
    config = EvaluateConfig(resamples=100)
    table = judged(0.0, config)
    # A reward that prefers exactly what the raters dislike.
    table["noiseless"] = -table["reward"]
    metrics = flat_metrics(measure(table, config))
    assert metrics["seen_reward_win_rate_base_base_s3"] > 0.6
    assert metrics["seen_noiseless_win_rate_base_base_s3"] < 0.4
    assert metrics["seen_reward_order_accuracy_aligned"] == 0.0


def test_with_ratings_of_people_there_is_no_noiseless_number() -> None:
    config = EvaluateConfig(resamples=100)
    table = measure(judged(1.0, config, people=True), config)
    assert "noiseless" not in set(table["judge"])
    assert not any("noiseless" in key or "order_accuracy" in key for key in flat_metrics(table))


def test_closer_to_the_original_by_hand() -> None:
    config = EvaluateConfig(best_of=(1, 2), splits=("seen",), methods={}, resamples=100)
    # (base, aligned) distances of two samples each, noise set A then B.
    distances = {
        "seen_00000": ([(0.3, 0.2), (0.5, 0.5)], [(0.3, 0.6), (0.4, 0.1)]),
        "seen_00001": ([(0.1, 0.2), (0.1, 0.2)], [(0.1, 0.2), (0.1, 0.2)]),
    }
    prompts = prompt_table(3).query("split == 'seen'").assign(pattern=["outpaint_strip", "outpaint_square", "warp"])
    samples = plan_samples(prompts, config)
    samples[["reward", "noiseless", "width", "hole_spread", "hole_psnr", "hole_ssim", *FLAWS, *EDGE]] = 1.0
    samples[list(map(original_edge, EDGE))] = 1.0
    samples["stlpips_vgg"] = np.nan
    samples["stlpips_alex"] = [
        distances[row.prompt_id][NOISE_SETS.index(row.noise_set)][row.sample][METHODS.index(row.method)]
        if row.prompt_id in distances
        else np.nan
        for row in samples.itertuples()
    ]
    table = measure(samples, config)
    metrics = flat_metrics(table)
    # First prompt, other noise. Aligned A (0.2, 0.5) against base B (0.3, 0.4): 2 of 4 wins; aligned B (0.6, 0.1)
    # against base A (0.3, 0.5): 2 of 4. Same noise: 0.2 beats 0.3, 0.5 ties, 0.6 loses to 0.3, 0.1 beats 0.4: 2.5 of 4.
    # Base, later against earlier of (0.3, 0.5, 0.3, 0.4): of 6 pairs 0.3 ties 0.3 and wins against 0.5, and 0.4 against
    # 0.5: 2.5 wins. The second prompt loses everything; base against base ties. The warp does not count.
    assert metrics["seen_stlpips_alex_win_rate_independent_s1"] == pytest.approx((0.5 + 0) / 2)
    assert metrics["seen_stlpips_alex_win_rate_equal_s1"] == pytest.approx((2.5 / 4 + 0) / 2)
    assert metrics["seen_stlpips_alex_win_rate_base_base_s1"] == pytest.approx((2.5 / 6 + 0.5) / 2, abs=1e-6)
    assert metrics["seen_outpaint_strip_stlpips_alex_win_rate_independent_s1"] == 0.5
    assert metrics["seen_prompts"] == 3 and metrics["seen_stlpips_alex_prompts"] == 2
    assert metrics["seen_outpaint_strip_stlpips_alex_prompts"] == 1
    assert metrics["seen_stlpips_alex_mean_base"] == pytest.approx((1.5 / 4 + 0.1) / 2)
    # Nearer is less: the distances themselves keep their sign.
    assert metrics["seen_stlpips_alex_difference"] == pytest.approx(((1.4 - 1.5) / 4 + 0.1) / 2)
    said = [key for key in metrics if "stlpips" in key]
    assert not [key for key in said if "_s2" in key or "vgg" in key or "warp" in key]
    assert not [key for key in said if re.search("variance|share|order", key)]


def test_an_outside_judge_leaves_the_other_numbers_alone() -> None:
    config = EvaluateConfig(resamples=100)
    samples = judged(0.5, config)
    blind = flat_metrics(measure(samples.assign(**dict.fromkeys(OUTSIDE, np.nan)), config))
    seeing = flat_metrics(measure(samples, config))
    assert blind == {key: value for key, value in seeing.items() if "stlpips" not in key}
    # Its distances are those of the reward upside down, on the prompts with an original alone.
    assert seeing["seen_stlpips_vgg_win_rate_independent_s1"] == pytest.approx(
        flat_metrics(measure(samples[samples["pattern"] != "warp"], config))["seen_reward_win_rate_independent_s1"]
    )


def test_samples_that_an_earlier_version_judged() -> None:
    config = EvaluateConfig(resamples=100)
    for name in (*(judge.name for judge in JUDGES), *EDGE, *map(original_edge, EDGE)):
        with pytest.raises(PrefPaintError, match=f"no column {name}; .*kedro run --pipeline=evaluate` again"):
            measure(judged(0.5, config).drop(columns=name), config)


def test_metrics_are_the_table_and_json_ready() -> None:
    config = EvaluateConfig(resamples=100)
    table = measure(judged(0.5, config), config)
    metrics = flat_metrics(table)
    assert all(isinstance(value, (int, float)) and np.isfinite(value) for value in metrics.values())
    row = table[(table["pattern"] == ALL) & (table["quantity"] == "win_rate") & (table["comparison"] == "equal")].iloc[
        0
    ]
    key = f"{row['split']}_{row['judge']}_win_rate_equal_s{row['best_of']}"
    assert metrics[key] == round(row["value"], 6)
    assert metrics[key + "_low"] <= metrics[key] <= metrics[key + "_high"]
    assert metrics == flat_metrics(measure(judged(0.5, config), config)), "same samples, same numbers"


def test_order_of_rows_does_not_matter() -> None:
    config = EvaluateConfig(resamples=100)
    table = judged(0.5, config)
    shuffled = table.sample(frac=1, random_state=0)
    assert flat_metrics(measure(table, config)) == flat_metrics(measure(shuffled, config))


@pytest.mark.parametrize("values", [{"best_of": (3,)}, {"best_of": (1, 1)}, {"best_of": (0, 1)}, {"sample": 3}])
def test_senseless_parameters_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        EvaluateConfig.model_validate(values)
