import io
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from prefpaint.evaluation.config import EvaluateConfig
from prefpaint.evaluation.learned import NO_CHECKPOINT
from prefpaint.evaluation.measures import flat_metrics, measure
from prefpaint.evaluation.methods import compare_methods, methods_metrics
from prefpaint.evaluation.samples import OUTSIDE
from prefpaint.evaluation.sanity import COLUMNS as SANITY_COLUMNS
from prefpaint.evaluation.sanity import sanity_metrics
from prefpaint.reporting.figures import CHOICES, GalleryRow, draw_gallery, draw_win_rates
from prefpaint.reporting.page import SCORE_WORDS, Report, metric_rows, render_report
from prefpaint.reporting.sentences import (
    OUTSIDE_JUDGE,
    bound_sentence,
    interval_sentences,
    outside_sentences,
    reward_sentence,
    trust_sentences,
    verdict,
    verdicts,
    watch_sentences,
    width_sentence,
    worlds_sentence,
)
from prefpaint.reporting.wording import OUTSIDE_WORDS, number, percent, plain_words, signed
from tests.evaluation.test_measures import judged

CONFIG = EvaluateConfig(resamples=100)
WORLDS = pd.DataFrame(
    {
        "delta": [0.05, 0.2],
        "candidates": 30,
        "size": 8,
        "ridge": 0.1,
        "noise": 0.5,
        "worlds": 1000,
        "violated": 0.002,
        "violated_high": 0.007,
        "violated_seen": 0.0,
        "largest": 1.01,
        "tightness": [10.25, 7.5],
    }
)
PICTURE = np.full((8, 8, 3), 120, np.uint8)


def png() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PICTURE).save(stream, "PNG")
    return stream.getvalue()


def gallery() -> list[GalleryRow]:
    return [
        GalleryRow(
            split,
            choice,
            f"{split}_{i:05d}",
            pattern,
            (PICTURE, PICTURE, PICTURE, PICTURE, original),
            (3.0, 3.5),
            (0.1, 0.2),
            (0.3, 0.4),
        )
        for split in CONFIG.splits
        for choice in CHOICES
        for i, (pattern, original) in enumerate([("warp", None), ("outpaint_strip", PICTURE)])
    ]


SANITY = pd.DataFrame(
    [
        (holes, "original", worse, 0.97, 64, share, 0.8125, 1.0, f"sanity_{holes}_original_over_{worse}")
        for holes in ("outpainting", "warp")
        for worse, share in (("telea", 0.984375), ("one_colour", 0.953125))
    ],
    columns=list(SANITY_COLUMNS),
)


def report(people: bool = False, gain: float = 1.0) -> Report:
    samples = judged(gain, CONFIG, people)
    table, methods = measure(samples, CONFIG), compare_methods(samples, CONFIG)
    return Report(
        simulated=not people,
        table=table,
        methods=methods,
        learned=pd.DataFrame({"score": list(SCORE_WORDS), "status": NO_CHECKPOINT, "split": None, "method": None}),
        gallery=gallery(),
        sanity=SANITY[:0] if people else SANITY,
        metrics={
            "sanity_metrics": sanity_metrics(SANITY[:0] if people else SANITY),
            "evaluate_metrics": flat_metrics(table),
            "methods_metrics": methods_metrics(methods),
            "reward_metrics": {"test_ratings_pair_accuracy": 0.7125, "test_ratings_spearman": 0.8125},
            "bound_metrics": {"participation_ratio": 7.25},
            "align_metrics": {"iterations": 30},
            "preferences_metrics": {"raters": 3},
            "extend_metrics": {
                "pictures": 8,
                "joints": 48,
                "joints_within_range": 0.875,
                "joints_above_range": 0.0625,
                "joints_told": 48,
                "inside_colour_above": 0.09375,
                "inside_texture_above": 0.109375,
                "joints_colour_above": 0.1875,
                "joints_texture_above": 0.3125,
            },
            "novel_view_metrics": {
                "windows": 24,
                "filled_share": 0.125,
                **{
                    f"{key}{end}": 14.25
                    for key in ("psnr_base", "ssim_base", "psnr_gain", "ssim_gain")
                    for end in ("", "_low", "_high")
                },
            },
            "a_later_stage": {"something_new": 41.5},
        },
        figures={"masks_preview": png(), "a_later_figure": png()},
        worlds=WORLDS,
    )


def row(value: float, low: float, high: float, **more: object) -> "pd.Series[object]":
    return pd.Series({"split": "seen", "prompts": 128, "value": value, "low": low, "high": high, **more})


def test_verdict_says_what_the_interval_allows() -> None:
    up, down = row(0.1, 0.05, 0.15), row(-0.1, -0.15, -0.05)
    better = verdict(row(0.66, 0.58, 0.73), up, 0.7, 0.25)
    assert (
        better.word == "better" and "128 seen prompts" in better.sentence and "better than the base" in better.sentence
    )
    assert verdict(row(0.41, 0.33, 0.49), down, 0.3, 0.7).word == "worse"
    unclear = verdict(row(0.56, 0.49, 0.63), up, 0.5, 0.5)
    assert unclear.word == "open" and "neither a gain nor a loss is shown" in unclear.sentence
    assert "disagree" not in better.sentence
    few = verdict(row(1.0, 1.0, 1.0, prompts=5), up, 1.0, 0.0)
    assert few.word == "open" and "too few prompts to say anything" in few.sentence
    assert "Win rate and mean disagree" in verdict(row(0.6, 0.55, 0.66), down, 0.6, 0.4).sentence


def test_headline_is_judged_by_the_noiseless_score_where_there_is_one() -> None:
    table = measure(judged(0.5, CONFIG), CONFIG)
    # The reward may say what it likes.
    table.loc[table["judge"] == "reward", ["value", "low", "high"]] = 1.0
    shown = verdicts(table)
    assert [v.split for v in shown] == ["seen", "unseen"]
    assert all(v.value < 1 for v in shown)
    assert any("part of the gain in reward is not one the raters would see" in line for line in trust_sentences(table))


def test_numbers_as_people_write_them() -> None:
    assert percent(0.6714) == "67.1\N{NO-BREAK SPACE}%"
    assert percent(float("nan")) == "–"
    assert number(2208) == "2,208" and number(3.0) == "3" and number(0.81249) == "0.812"
    assert number(-0.00041234) == "−0.000412" and number("text") == "text" and number(True) == "True"
    assert signed(0.25) == "+0.250" and signed(-0.004) == "−0.004"


def test_keys_in_plain_words() -> None:
    assert plain_words("seen_noiseless_win_rate_equal_s3") == "seen noiseless win rate same noise, best of 3"
    assert plain_words("gamma_std") == "γ standard deviation"
    assert plain_words("seen_stlpips_vgg_win_rate_equal_s1") == ("seen ST-LPIPS (VGG16) win rate same noise, best of 1")


def test_a_value_and_its_interval_make_one_row() -> None:
    rows = metric_rows({"x": 0.5, "x_low": 0.25, "x_high": 0.75, "y_low": 1})
    assert [(value, interval) for _, value, interval, _ in rows] == [("0.500", "0.250 to 0.750"), ("1", "")]


def test_reward_and_trust_in_one_sentence_each() -> None:
    simulated = {
        "test_noiseless_pair_accuracy": 0.72,
        "test_noiseless_spearman": 0.78,
        "test_ceiling_raters_mean_vs_noiseless_pair_accuracy": 0.77,
        "test_ceiling_raters_mean_vs_noiseless_spearman": 0.9,
    }
    said = reward_sentence(simulated)
    assert "simulated" in said and "0.780" in said and percent(0.72) in said and percent(0.77) in said
    assert "simulated" not in reward_sentence({"test_ratings_pair_accuracy": 0.6, "test_ratings_spearman": 0.5})
    assert reward_sentence({}) == bound_sentence({}) == ""
    trust = {"participation_ratio": 1.02, "gamma_coefficient_of_variation": 0.001, "trust_informative": 0}
    assert "alignment goes without it" in bound_sentence(trust)
    ranked = {
        f"validation_spearman_width_error{end}": value for end, value in (("", 0.25), ("_low", 0.125), ("_high", 0.5))
    }
    assert "0.250 (0.125 to 0.500)" in bound_sentence({**trust, **ranked, "trust_informative": 1})


def outside_table(prompts: int, **intervals: tuple[float, float, float]) -> pd.DataFrame:
    common = {"split": "seen", "pattern": "all", "quantity": "win_rate", "comparison": "independent", "best_of": 1}
    return pd.DataFrame(
        [
            {**common, "judge": f"stlpips_{net}", "prompts": prompts, "value": value, "low": low, "high": high}
            for net, (value, low, high) in intervals.items()
        ]
    )


UP, DOWN, EVEN = (0.65, 0.55, 0.75), (0.35, 0.25, 0.45), (0.5, 0.45, 0.55)


@pytest.mark.parametrize(
    ("alex", "vgg", "meaning"),
    [
        (UP, UP, "its fills are closer to the originals than the base's"),
        (DOWN, DOWN, "its fills are farther from the originals than the base's"),
        (EVEN, EVEN, "neither model's fills are shown to be closer"),
        (EVEN, UP, "one of the two shows its fills to be closer, the other shows no difference"),
        (DOWN, EVEN, "one of the two shows its fills to be farther away, the other shows no difference"),
        (DOWN, UP, "the two contradict each other"),
    ],
)
def test_what_the_outside_judge_says(
    alex: tuple[float, float, float], vgg: tuple[float, float, float], meaning: str
) -> None:
    (said,) = outside_sentences(outside_table(64, alex=alex, vgg=vgg))
    assert said.startswith("On 64 seen prompts whose original is known") and said.endswith(f": {meaning}.")
    assert f"{percent(alex[0])} (" in said and f"{percent(vgg[0])} (" in said
    assert outside_sentences(outside_table(5, alex=alex, vgg=vgg))[0].endswith("too few prompts to say anything.")


def test_where_no_original_is_known_the_outside_judge_is_silent() -> None:
    samples = judged(1.0, CONFIG).assign(**dict.fromkeys(OUTSIDE, np.nan))
    table, methods = measure(samples, CONFIG), compare_methods(samples, CONFIG)
    assert outside_sentences(table) == []
    page = render_report(replace(report(), table=table, methods=methods, metrics={}))
    assert OUTSIDE_JUDGE not in page and "closer" not in page
    seeing = unescape(render_report(report()))
    assert OUTSIDE_JUDGE in seeing and seeing.count("closer, ST-LPIPS (AlexNet)") == len(CONFIG.splits)
    draw_win_rates(table, samples)


def widths(**intervals: tuple[float, float, float]) -> dict[str, float]:
    return {
        f"test_spearman_{kind}_error_ratings{end}": value
        for kind, values in intervals.items()
        for end, value in zip(("", "_low", "_high"), values, strict=True)
    }


def test_the_best_width_is_named_as_far_as_the_intervals_allow() -> None:
    clear = width_sentence(widths(elliptical=(0.5, 0.4, 0.6), ensemble=(0.1, 0.0, 0.2)))
    assert "the elliptical one" in clear and "more than the others" in clear and "ensemble 0.100 (0 to 0.200)" in clear
    assert "not clear" in width_sentence(widths(published=(0.5, 0.4, 0.6), elliptical=(0.49, 0.39, 0.59)))
    assert "no width is shown" in width_sentence(widths(published=(0.1, -0.1, 0.3)))
    assert width_sentence({}) == ""


def test_a_bound_too_wide_to_use_is_called_so() -> None:
    metrics = {
        "delta": 0.05,
        "bound_factor": 20.5,
        "test_bound_coverage_ratings": 1.0,
        "test_bound_half_width": 30.25,
        "test_bound_tightness_ratings": 60.5,
    }
    (alone,) = interval_sentences(metrics)
    assert "says little" in alone and "60.500 times" in alone and "95.0\N{NO-BREAK SPACE}%" in alone
    assert "says little" not in interval_sentences({**metrics, "test_bound_half_width": 1.5})[0]
    conformal = {
        f"test_conformal{kind}_{name}": 0.9 for kind in ("", "_scaled") for name in ("coverage_ratings", "length")
    }
    assert "split-conformal" in interval_sentences({**metrics, **conformal})[1]
    assert interval_sentences({}) == []


def test_worlds_are_summed_up_by_their_worst() -> None:
    said = worlds_sentence(WORLDS)
    assert (
        "2,000 drawn worlds" in said and said.count("at most 0.2\N{NO-BREAK SPACE}%") == 2 and "7.500 to 10.250" in said
    )
    assert worlds_sentence(WORLDS[:0]) == ""


class Links(HTMLParser):
    """Collects what a page would load, and its visible text."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "poster")]


def test_the_page_loads_nothing_from_elsewhere() -> None:
    html = render_report(report())
    page = Links()
    page.feed(html)
    assert page.links and all(link.startswith(("data:image/png;base64,", "#")) for link in page.links)
    assert all(f'id="{link[1:]}"' in html for link in page.links if link.startswith("#"))
    assert not page.tags & {"script", "link", "iframe"}
    assert "url(" not in html and "@import" not in html


def test_every_metric_and_figure_is_on_the_page() -> None:
    given = report()
    html = render_report(given)
    for metrics in given.metrics.values():
        for key in metrics:
            stem = re.sub("_(low|high)$", "", key)
            assert f'title="{stem}"' in html
    assert "41.5" in html and "a later stage" in html
    assert "a later figure" in html
    assert f"{given.metrics['evaluate_metrics']['seen_prompts']} prompts" in html


def test_simulated_raters_are_named_so() -> None:
    html = render_report(report())
    assert "The raters are simulated" in html
    assert "simulated raters, noiseless" in html
    for section in ("learned reward", "Preferences", "What changed", "How far to believe the reward"):
        assert section in html
    assert "2,000 drawn worlds" in html and "10.250" in html


def test_with_people_the_page_says_why_there_is_no_true_score() -> None:
    html = render_report(report(people=True))
    assert "a true score without noise exists only for simulated raters" in html
    assert "upper limit" in html
    assert "simulated raters, noiseless" not in html
    assert "The raters are simulated" not in html


def test_what_got_worse_is_shown_like_what_improved() -> None:
    html = render_report(report())
    for split in CONFIG.splits:
        improved, worse = html.index(f"{split}: most improved"), html.index(f"{split}: made worse")
        assert html[:improved].rsplit("<h", 1)[1] == html[:worse].rsplit("<h", 1)[1] == "3>"
    assert html.count('class="strip"') == 2 * len(CHOICES) * 2
    assert html.count('aria-label="no original"') == 2 * len(CHOICES), "a warp has no original"


def test_markup_in_a_metric_is_shown_not_run() -> None:
    given = report()
    bad = Report(
        given.simulated,
        given.table,
        given.methods,
        given.learned,
        [],
        {"x": {"note": "<script>alert(1)</script>"}},
        {},
        WORLDS,
        SANITY,
    )
    html = render_report(bad)
    assert "<script>" not in html and "&lt;script&gt;" in html


@pytest.mark.parametrize("people", [False, True])
def test_figures_are_drawn_the_same_twice(people: bool) -> None:
    evaluation = judged(1.0, CONFIG, people)
    table = measure(evaluation, CONFIG)
    drawn = []
    for _ in range(2):
        for figure in (draw_win_rates(table, evaluation), draw_gallery(gallery())):
            stream = io.BytesIO()
            figure.savefig(stream, format="png", dpi=40, metadata={"Software": None})
            drawn.append(stream.getvalue())
    assert drawn[:2] == drawn[2:]


def test_a_split_where_nothing_got_worse_says_so() -> None:
    given = report()
    only = [r for r in gallery() if r.choice != "made worse"]
    html = render_report(Report(True, given.table, given.methods, given.learned, only, {}, {}, WORLDS[:0], SANITY[:0]))
    assert html.count('<p class="note">None.</p>') == 2
    draw_gallery(only)


def test_what_the_watch_saw_is_told() -> None:
    metrics = {"iterations": 28, "watch_best_iteration": 24, "watch_stopped_early": 1, "watch_kl": 0.25}
    metrics |= {f"watch_{name}": 0.125 for name in ("brightness", "saturation", "sharpness")}
    metrics |= {"watch_referee_gain": 0.25, "watch_referee_gain_error": 0.125, "watch_hacked_by_referee": 0}
    metrics |= {"watch_reward_gain": 0.5, "watch_reward_gain_error": 0.125}
    kept, drift = watch_sentences(metrics)
    assert "after iteration 24 of 28" in kept and "stopped alignment early" in kept
    assert "+0.250 ± 0.125 by the referee" in kept and "noiseless" not in kept
    assert drift.startswith("No other judge") and "brightness +0.125" in drift
    raised = watch_sentences({**metrics, "watch_hacked_by_referee": 1})[1]
    assert raised.startswith(
        "The reward rose against the referee, a reward model of other ratings: the policy has begun"
    )
    assert watch_sentences({"iterations": 30}) == []


# What the page says whatever was measured: levels of confidence and of chance, scales, and numbers of the paper's
# tables and figures.
PROSE = {"5\u00a0%", "95\u00a0%", "95", "50\u00a0%", "50", "100", "0", "1", "2", "4", "7", "9"}


def test_every_number_on_the_page_is_in_a_metrics_file() -> None:
    given = report()
    metrics = [value for values in given.metrics.values() for value in values.values()]
    metrics += [value for row in WORLDS.to_dict("records") for value in row.values()]
    metrics += SANITY["goal"].tolist()
    metrics += [*CONFIG.best_of, *given.methods["prompts"], int(WORLDS["worlds"].sum())]
    # Each table in the appendix says how long it is, the methods' section how many there are.
    metrics += [len(metric_rows(values)) for values in given.metrics.values()] + [given.methods["method"].nunique() - 2]
    known = PROSE | {form(value) for value in metrics for form in (percent, number, signed)}
    # A range is written 60.2-73.4 %, with the unit once.
    known |= {f"{100 * value:.1f}" for value in metrics}
    known |= {f"{value:.2f}" for row in gallery() for value in (*row.scores, *row.rewards, *row.widths)}
    body = render_report(given).partition("<body>")[2]
    visible = unescape(re.sub("<[^>]*>", " ", body))
    tokens = re.findall(r"(?<![\w.])[+\u2212]?\d[\d,]*(?:\.\d+)?(?:e[+\u2212]?\d+)?(?:\u00a0%)?", visible)
    assert len(tokens) > 500
    assert not {token for token in tokens if token.rstrip(",") not in known}


def test_every_cell_shows_the_number_of_its_key() -> None:
    """A cell that is filled from another row, judge or split shows a number that is somewhere, but not this one."""
    given = report()
    metrics = {key: value for values in given.metrics.values() for key, value in values.items()}
    cells = re.findall(r'data-key="([^"]+)">([^<]*)<', render_report(given))
    assert len(cells) > 300
    for key, shown in cells:
        assert shown in {form(metrics[key]) for form in (percent, number, signed)}, key
    html = render_report(given)
    for section in re.split("<h[23]|<details", html):
        for split in CONFIG.splits:
            if re.match(rf"[^>]*>{split}\b", section):
                assert all(key.startswith(f"{split}_") for key in re.findall('data-key="([^"]+)"', section))
    changes = html.partition('class="changes"')[2].partition("</table>")[0]
    rows = [re.findall('data-key="([^"]+)"', line)[:3] for line in changes.splitlines() if "difference" in line]
    assert len(rows) > 5 and all(
        (base.rsplit("_", 1)[1], aligned.rsplit("_", 1)[1], change.endswith("_difference")) == ("base", "aligned", True)
        for base, aligned, change in rows
    )
    methods = html.partition("All methods</h2>")[2].partition("in the holes")[0]
    wins = re.findall('data-key="([^"]+_against_[^"]+)"', methods)
    assert wins and all("_against_base_" in key for key in wins)
    columns = {f"win rate, S = {size}": "noiseless" for size in CONFIG.best_of}
    columns |= {f"closer, {words}": judge for judge, words in OUTSIDE_WORDS.items()}
    for table in re.findall("<table>(.*?)</table>", methods, re.DOTALL):
        heads = re.findall("<th[^>]*>([^<]*)</th>", table.partition("</thead>")[0])
        for line in re.findall(r"<tr><td>.*?</tr>", table, re.DOTALL):
            for head, cell in zip(heads, line.split("</td>"), strict=False):
                for key in re.findall('data-key="([^"]+_win_rate_[^"]+)"', cell):
                    size = head.rpartition("= ")[2] if "= " in head else "1"
                    assert f"_{columns[head]}_win_rate_" in key and key.endswith(f"_s{size}"), (head, key)
    outside = [key for key in wins if "_stlpips_" in key]
    assert outside and not any("_warping_" in key for key in outside), "a view change has no original"
    keyed = {key for key, _ in cells}
    for quantity in ("win_rate_independent_s1", "difference", "mean_base", "variance_aligned"):
        assert {f"{split}_noiseless_{quantity}" for split in CONFIG.splits} <= keyed
    assert "unseen_warping_noiseless_win_rate_telea_against_base_s1" in keyed and "psnr_base_low" in keyed


def test_other_peoples_scores_are_shown_or_said_not_to_have_run() -> None:
    given = report()
    page = render_report(given)
    assert page.count(NO_CHECKPOINT) == len(SCORE_WORDS)
    rows = [
        {
            "score": "clip",
            "status": "run",
            "split": split,
            "method": method,
            "value": 21.5,
            "low": 20.25,
            "high": 22.75,
            "key": f"{split}_clip_{method}",
        }
        for split in CONFIG.splits
        for method in given.methods["method"].unique()
    ]
    learned = pd.concat([pd.DataFrame(rows), given.learned[given.learned["score"] != "clip"]])
    page = render_report(replace(given, learned=learned))
    assert page.count("21.500") == 2 * 4 and page.count(NO_CHECKPOINT) == len(SCORE_WORDS) - 1


def test_a_missed_sanity_goal_is_marked() -> None:
    html = render_report(report())
    assert html.count('<td class="n missed">') == 2, "one colour, in both kinds of hole"
    assert "original over one colour" in html and "Are the simulated raters sane?" in html
    assert "Are the simulated raters sane?" not in render_report(report(people=True))
