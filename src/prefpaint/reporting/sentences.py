"""What the numbers say, in sentences for the report and the model card."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from prefpaint.alignment.watch_config import LEAST_CHANGE
from prefpaint.evaluation.measures import ALL, truest_judge
from prefpaint.reporting.wording import OUTSIDE_WORDS, number, percent, percent_range, signed
from prefpaint.trust.fit import WIDTHS

# Normalised scores have spread 1: an interval of ± 3 holds nearly all of them.
VACUOUS = 3.0
# Five prompts that all say the same are not evidence at 5 % (sign test), though a bootstrap would suggest it.
LEAST_PROMPTS = 6
OUTSIDE_JUDGE = (
    "Besides the raters there is an outside judge that sees the hidden original: ST-LPIPS (Ghildyal and Liu), a "
    "distance between pictures whose weights were fitted to what people chose. Nothing here was trained, chosen or "
    "tuned by it. It answers a different question from the raters: a good fill need not be what was there before."
)


@dataclass(frozen=True)
class Verdict:
    """What one split says.

    Attributes:
        split: its name.
        sentence: how often the aligned model's picture wins and what that shows.
        word: better, worse or open.
        value, low, high: the win rate at S = 1, independent noise.
    """

    split: str
    sentence: str
    word: str
    value: float
    low: float
    high: float


def verdict(row: "pd.Series[Any]", change: "pd.Series[Any]", better: float, worse: float) -> Verdict:
    """Read one win rate and its mean change.

    A win rate whose interval contains one half shows neither gain nor loss; a mean that moves the other way
    is pointed out.

    Args:
        row: of the measures table: win_rate, independent, S = 1.
        change: difference, aligned minus base, of the same judge and split.
        better, worse: shares of the prompts whose mean score rose and fell.
    """
    word = "better" if row["low"] > 0.5 else "worse" if row["high"] < 0.5 else "open"
    few = row["prompts"] < LEAST_PROMPTS
    if few:
        word = "open"
    meaning = {
        "better": "better than the base",
        "worse": "worse than the base",
        "open": "too few prompts to say anything" if few else "neither a gain nor a loss is shown",
    }[word]
    sentence = (
        f"On {row['prompts']} {row['split']} prompts the aligned model wins {percent(row['value'])} of comparisons "
        f"(95\N{NO-BREAK SPACE}% interval {percent_range(row)}): {meaning}; the mean score changes by "
        f"{signed(change['value'])} ({signed(change['low'])} to {signed(change['high'])}). By the mean of "
        f"their samples {percent(better)} of the prompts got better and {percent(worse)} worse."
    )
    if (word == "better" and change["value"] < 0) or (word == "worse" and change["value"] > 0):
        sentence += " Win rate and mean disagree: a few prompts changed much, the other way."
    return Verdict(str(row["split"]), sentence, word, row["value"], row["low"], row["high"])


def pick(table: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """Rows of a tidy table with these values."""
    chosen = table
    for column, value in values.items():
        chosen = chosen[chosen[column] == value]
    return chosen


def verdicts(table: pd.DataFrame) -> list[Verdict]:
    """One per split, by the truest judge there is."""
    judge = truest_judge(table)
    whole = pick(table, pattern=ALL, judge=judge)
    rates = pick(whole, quantity="win_rate", comparison="independent", best_of=1)
    changes = pick(whole, quantity="difference").set_index("split")
    better, worse = (pick(whole, quantity=f"share_{name}").set_index("split")["value"] for name in ("better", "worse"))
    return [
        verdict(row, changes.loc[row["split"]], better[row["split"]], worse[row["split"]])
        for _, row in rates.iterrows()
    ]


def outside_sentences(table: pd.DataFrame) -> list[str]:
    """Whose fills are closer to the hidden originals, one sentence per split; empty where no original is known.

    Args:
        table: of `measures.measure`.
    """
    rates = pick(table, pattern=ALL, quantity="win_rate", comparison="independent", best_of=1)
    rates = rates[rates["judge"].isin(OUTSIDE_WORDS)]
    sentences = []
    for split, rows in rates.groupby("split", sort=False):
        parts = [
            f"in {percent(row['value'])} ({percent_range(row)}) of comparisons by {OUTSIDE_WORDS[row['judge']]}"
            for _, row in rows.iterrows()
        ]
        prompts = int(rows["prompts"].max())
        shown = {"closer" if row["low"] > 0.5 else "farther" if row["high"] < 0.5 else "" for _, row in rows.iterrows()}
        meaning = {
            ("closer",): "its fills are closer to the originals than the base's",
            ("farther",): "its fills are farther from the originals than the base's",
            ("",): "neither model's fills are shown to be closer",
            ("", "closer"): "one of the two shows its fills to be closer, the other shows no difference",
            ("", "farther"): "one of the two shows its fills to be farther away, the other shows no difference",
            ("closer", "farther"): "the two contradict each other",
        }[tuple(sorted(shown))]
        if prompts < LEAST_PROMPTS:
            meaning = "too few prompts to say anything"
        sentences.append(
            f"On {prompts} {split} prompts whose original is known, the aligned model's fill is closer to it than the "
            f"base's {' and '.join(parts)}: {meaning}."
        )
    return sentences


def trust_sentences(table: pd.DataFrame) -> list[str]:
    """How far the reward can be believed, from the compared samples themselves; empty without a noiseless score."""
    whole = pick(table, pattern=ALL)
    sentences = []
    for split in whole.loc[whole["judge"] == "noiseless", "split"].unique():
        of_split = pick(whole, split=split)
        rates = pick(of_split, quantity="win_rate", comparison="independent", best_of=1).set_index("judge")["value"]
        order = pick(of_split, quantity="order_accuracy").set_index("comparison")
        parts = [
            f"{percent(row['value'])} ({percent_range(row)}) among {words}"
            for name, words in (("base", "the base's samples"), ("aligned", "the aligned model's"))
            for _, row in order.loc[[name]].iterrows()
            if math.isfinite(row["value"])
        ]
        gap = rates["reward"] - rates["noiseless"]
        sentence = (
            f"{split}: by the learned reward the aligned model wins {percent(rates['reward'])}, by the simulated "
            f"raters' noiseless score {percent(rates['noiseless'])}"
            + (": part of the gain in reward is not one the raters would see." if gap > 0.03 else ".")
        )
        if parts:
            sentence += (
                " Of two samples of one prompt the reward prefers the one the noiseless score prefers in "
                f"{' and '.join(parts)}; guessing gives 50\N{NO-BREAK SPACE}%."
            )
        sentences.append(sentence)
    return sentences


def reward_sentence(metrics: Mapping[str, Any]) -> str:
    """The reward on rated test candidates, beside what the raters' own labels reach; empty without test metrics."""
    truth = "noiseless" if "test_noiseless_pair_accuracy" in metrics else "ratings"
    if f"test_{truth}_pair_accuracy" not in metrics:
        return ""
    against = {"noiseless": "the simulated raters' noiseless score", "ratings": "the raters' mean score"}[truth]
    sentence = (
        f"On test candidates of the base the reward orders {percent(metrics[f'test_{truth}_pair_accuracy'])} of pairs "
        f"within a prompt as {against} does, and its Spearman correlation with it is "
        f"{number(metrics[f'test_{truth}_spearman'])}."
    )
    ceiling = "test_ceiling_raters_mean_vs_noiseless"
    if f"{ceiling}_pair_accuracy" in metrics:
        sentence += (
            f" The raters' own mean label reaches {percent(metrics[f'{ceiling}_pair_accuracy'])} and "
            f"{number(metrics[f'{ceiling}_spearman'])}: their noise is the ceiling."
        )
    return sentence


def watch_sentences(metrics: Mapping[str, Any]) -> list[str]:
    """What held-out prompts said while alignment ran; empty without a watch."""
    if "watch_referee_gain" not in metrics:
        return []
    judges = [
        ("reward", "the learned reward"),
        ("referee", "the referee, a reward model of other ratings"),
        ("noiseless", "the simulated raters' noiseless score (points of 0 to 7), which decides nothing"),
    ]
    known = [name for name, _ in judges]
    found = [key.removeprefix("watch_").removesuffix("_gain") for key in metrics if key.endswith("_gain")]
    # Of several rewards, each is a judge too.
    if others := [name for name in found if name not in known and f"watch_{name}_gain" in metrics]:
        judges[0] = ("reward", "what was raised, the weighted sum of the rewards")
        judges += [(name, f"the reward {name}, in its own units") for name in others]
    gains = [
        f"{signed(metrics[f'watch_{name}_gain'])} \N{PLUS-MINUS SIGN} {number(metrics[f'watch_{name}_gain_error'])} by "
        f"{words}"
        for name, words in judges
        if f"watch_{name}_gain" in metrics
    ]
    drift = ", ".join(
        f"{name} {signed(metrics[f'watch_{name}'])}" for name in ("brightness", "saturation", "sharpness")
    )
    stopped = " It stopped alignment early." if metrics["watch_stopped_early"] else ""
    against = [words for name, words in judges if metrics.get(f"watch_hacked_by_{name}")]
    suspicion = (
        f"The reward rose against {' and '.join(against)}: the policy has begun to exploit what it raises."
        if against
        else "No other judge shows that the policy exploits what it raises."
    )
    # A chain without random steps has no density.
    divergence = (
        f"; KL to the base {number(metrics['watch_kl'])} nats per step and latent" if "watch_kl" in metrics else ""
    )
    blind = abs(metrics["watch_referee_gain"]) < LEAST_CHANGE
    reason = (
        "the last, because the referee, a reward model of few ratings, cannot tell their fills from the base's"
        if blind and metrics["watch_best_iteration"] == metrics["iterations"]
        else "those that the referee likes most"
    )
    return [
        f"The weights after iteration {metrics['watch_best_iteration']} of {metrics['iterations']} were kept: "
        f"{reason} on held-out prompts.{stopped} Their gain over the base from the same noise, with "
        f"one standard error, is {'; '.join(gains)}.",
        f"{suspicion} The fills' drift from the base's: {drift} (of 1){divergence}.",
    ]


def held_out_sentence(metrics: Mapping[str, Any]) -> str:
    """What the truest judge of held-out prompts said when alignment ended; empty without a watch."""
    judge = "noiseless" if "watch_noiseless_gain" in metrics else "referee"
    if f"watch_{judge}_gain" not in metrics:
        return ""
    words = {"noiseless": "the simulated raters' noiseless score", "referee": "the referee, which chose the weights"}
    gain, error = metrics[f"watch_{judge}_gain"], metrics[f"watch_{judge}_gain_error"]
    said = "a gain" if gain > 2 * error else "a loss" if gain < -2 * error else "neither gain nor loss"
    return (
        f"Held-out prompts that alignment was watched on show {said}: {signed(gain)} \N{PLUS-MINUS SIGN} "
        f"{number(error)} (one standard error) by {words[judge]}."
    )


def bound_sentence(metrics: Mapping[str, Any]) -> str:
    """Whether trust carries information; empty without bound metrics."""
    if "participation_ratio" not in metrics or "gamma_coefficient_of_variation" not in metrics:
        return ""
    rank, variation = number(metrics["participation_ratio"]), percent(metrics["gamma_coefficient_of_variation"])
    sentence = (
        f"Effective rank of the embeddings (participation ratio): {rank}; coefficient of variation of γ: {variation}."
    )
    name = "validation_spearman_width_error"
    if name in metrics:
        sentence += (
            f" Spearman correlation of trust width and error on validation: {number(metrics[name])} "
            f"({number(metrics[f'{name}_low'])} to {number(metrics[f'{name}_high'])})."
        )
    if not metrics.get("trust_informative", 1):
        sentence += " The trust width carries no information, and alignment goes without it unless told otherwise."
    return sentence


def width_sentence(metrics: Mapping[str, Any]) -> str:
    """Which width says most about the reward's errors on test candidates; empty without these metrics."""
    found = {
        kind: [metrics[f"test_spearman_{kind}_error_ratings{end}"] for end in ("", "_low", "_high")]
        for kind in WIDTHS
        if f"test_spearman_{kind}_error_ratings" in metrics
    }
    if not found:
        return ""
    best = max(found, key=lambda kind: found[kind][0])
    value, low, high = found[best]
    others = [
        f"{kind} {number(other[0])} ({number(other[1])} to {number(other[2])})"
        for kind, other in found.items()
        if kind != best
    ]
    sentence = (
        f"Of the widths, the {best} one ranks the reward's errors on test ratings best: Spearman {number(value)}, "
        f"95\N{NO-BREAK SPACE}% interval {number(low)} to {number(high)}"
        + (f"; {', '.join(others)}." if others else ".")
    )
    if low <= 0:
        return sentence + " The interval includes 0: no width is shown to carry information there."
    if any(other[2] >= low for kind, other in found.items() if kind != best):
        return sentence + " It carries information, but the intervals overlap: which width carries most is not clear."
    return sentence + " It carries information, and more than the others."


def interval_sentences(metrics: Mapping[str, Any]) -> list[str]:
    """How the proved bound and split-conformal intervals fare on test candidates; empty without these metrics."""
    if "test_bound_coverage_ratings" not in metrics:
        return []
    truth = "noiseless" if "test_bound_coverage_noiseless" in metrics else "ratings"
    against = {"noiseless": "noiseless scores", "ratings": "ratings"}[truth]
    width, tightness = metrics["test_bound_half_width"], metrics[f"test_bound_tightness_{truth}"]
    level = percent(1 - metrics["delta"])
    sentences = [
        f"The bound, ridge estimate ± {number(metrics['bound_factor'])} · elliptical width, contains "
        f"{percent(metrics[f'test_bound_coverage_{truth}'])} of the {against} of test candidates; it promises to "
        f"contain all of them at once with probability {level}. It reaches {number(width)} score "
        f"units to either side on average, for half of the candidates more than {number(tightness)} times their error"
        + ("; the whole range of scores is narrower, so it is safe but says little." if width > VACUOUS else ".")
    ]
    if "test_conformal_coverage_ratings" in metrics and "test_conformal_scaled_coverage_ratings" in metrics:
        sentences.append(
            f"For comparison: split-conformal intervals from validation errors promise {level} for one new candidate "
            "and need no theory. With one length they contain "
            f"{percent(metrics['test_conformal_coverage_ratings'])} of test ratings at "
            f"{number(metrics['test_conformal_length'])} score units from end to end; with length in "
            f"proportion to the trust width, {percent(metrics['test_conformal_scaled_coverage_ratings'])} at "
            f"{number(metrics['test_conformal_scaled_length'])}."
        )
    return sentences


def worlds_sentence(worlds: pd.DataFrame) -> str:
    """The worst of the drawn worlds' settings; empty without worlds."""
    if worlds.empty:
        return ""
    parts = [
        f"δ = {number(float(delta))}: at most {percent(rows['violated'].max())}"
        for delta, rows in worlds.groupby("delta")
    ]
    return (
        f"In {number(int(worlds['worlds'].sum()))} drawn worlds whose true ψ* is known, the share of worlds of any "
        f"setting in which the bound failed for some picture is, for {'; '.join(parts)}. The bound is "
        f"{number(worlds['tightness'].min())} to {number(worlds['tightness'].max())} times the typical error: the "
        "price of holding for every picture at once."
    )


def joints_sentence(metrics: Mapping[str, Any]) -> str:
    """Whether the joints of widened pictures show; empty without widened pictures."""
    if not metrics.get("joints"):
        return ""
    sentence = (
        f"{number(metrics['pictures'])} pictures were widened with {number(metrics['joints'])} joints. Colours "
        "are matched at joints, so the step there says little: at "
        f"{percent(metrics['joints_within_range'])} of the joints it lies within the middle 95\N{NO-BREAK SPACE}% of "
        "the other columns' steps, at "
        f"{percent(metrics['joints_above_range'])} above."
    )
    if metrics.get("joints_told"):
        sentence += (
            " A wider look tells whether the picture goes on: from a band of an eighth of the height "
            f"before a joint to one behind it, at {percent(metrics['joints_colour_above'])} of "
            f"{number(metrics['joints_told'])} joints the colours change more than at 95\N{NO-BREAK SPACE}% of the "
            f"places inside the original, at {percent(metrics['joints_texture_above'])} the texture does. Inside the "
            f"originals, each half judged by the other, the shares are {percent(metrics['inside_colour_above'])} and "
            f"{percent(metrics['inside_texture_above'])}."
        )
    return sentence


def second_view_sentence(metrics: Mapping[str, Any]) -> str:
    """Whether alignment brings fills nearer to a true second view; empty without these metrics."""
    if "psnr_gain" not in metrics:
        return ""
    low, high = metrics["psnr_gain_low"], metrics["psnr_gain_high"]
    verdict = "nearer to" if low > 0 else "farther from" if high < 0 else "not shown to be nearer to or farther from"
    return (
        f"The aligned model's fills are {verdict} the true view than the base's: {signed(metrics['psnr_gain'])} dB "
        f"({signed(low)} to {signed(high)}), SSIM {signed(metrics['ssim_gain'])} "
        f"({signed(metrics['ssim_gain_low'])} to {signed(metrics['ssim_gain_high'])}). No rater saw that view."
    )


DEPTH_WORDS = {
    "measured": "The photograph's depth was measured.",
    "estimated": "The photograph's depth was estimated by a network, so shapes are likely rather than true.",
    "guessed": "The photograph's depth was guessed, so its shapes say nothing about the scene.",
}


def scene_sentences(metrics: Mapping[str, Any]) -> list[str]:
    """What the reconstructed scene is, and how far to believe it, from the metrics that there are."""
    depth = DEPTH_WORDS.get(str(metrics.get("depth")), "")
    said = [
        "One photograph, seen from several places: what each new view uncovered was painted, by the base and by the "
        f"aligned model, and all views were joined into one coloured surface. {depth}".strip()
    ]
    if "consistency_ratio" in metrics:
        said.append(
            "Two views of the same painted point differ by "
            f"{number(metrics['consistency_shared'])} grey levels, where each view painted on its own has "
            f"{number(metrics['consistency_independent'])}: {number(metrics['consistency_ratio'])} times as much "
            f"({number(metrics['consistency_ratio_low'])} to {number(metrics['consistency_ratio_high'])})."
        )
    if "stereo_psnr_gain_base" in metrics:
        said.append(
            "Seen from the second camera of a stereo pair, the pixels that the aligned model painted are like what "
            f"that camera saw to {number(metrics['stereo_psnr_scene'])} dB (PSNR); "
            + " and ".join(
                f"{signed(metrics[key])} dB ({signed(metrics[f'{key}_low'])} to {signed(metrics[f'{key}_high'])}) "
                f"against {words}"
                for key, words in (
                    ("stereo_psnr_gain_base", "the base's"),
                    ("stereo_psnr_gain_telea", "Telea's method"),
                )
            )
            + "."
        )
    said.append(
        "Only what the photograph shows is known. The rest is invented, its depth included, and fits from near the "
        "photograph's place and falls apart farther away; sides and backs were never seen."
    )
    return said


def beaten_sentences(methods: pd.DataFrame) -> list[str]:
    """Methods that are shown to beat the aligned model; in the headline, because the base alone is a low bar."""
    judge = truest_judge(methods)
    rates = pick(methods, pattern=ALL, judge=judge, quantity="win_rate", against="aligned", best_of=1)
    enough = rates["prompts"] >= LEAST_PROMPTS
    ahead = rates[(rates["low"] > 0.5) & enough & (rates["method"] != "base")]
    sentences = []
    for split, rows in ahead.groupby("split", sort=False):
        wins = [f"{row['method']} wins {percent(row['value'])} ({percent_range(row)})" for _, row in rows.iterrows()]
        sentences.append(
            f"On {split} prompts {', '.join(wins)} against the aligned model: for this judge there are better fills."
        )
    return sentences
