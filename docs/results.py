"""Write the measured numbers into docs/results.md and into the tables of README.md and docs/gpus.md.

    python docs/results.py                        # after `kedro run` or `dvc repro`
    python docs/results.py --held-out ../other    # also the numbers of a clone that ran `kedro run --env=held_out`

Numbers come from data/08_reporting/*_metrics.json, which git tracks. Tables that git does not track (other seeds, ways
of training and aligning, the held-out clone) are copied into docs/tables.json, each with a checksum of what it was
measured with, and are dropped as soon as that changes. A number that does not exist is "not measured".
"""

import argparse
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from prefpaint.rehearsal.report import rehearsal_markdown
from prefpaint.reporting.wording import MINUS, OUTSIDE_WORDS, number, percent, percent_range, signed

ROOT = Path(__file__).resolve().parents[1]
REPORTS, TABLES = "data/08_reporting", "docs/tables.json"
NOT_MEASURED = "not measured"
NOTHING = "Not measured.\n"
RESULTS, REHEARSAL = "results", "rehearsal"
SPLITS = ("seen", "unseen")
METRICS = (
    *("preferences", "reward", "bound", "align", "extend", "novel_view", "reconstruct"),
    *("evaluate", "methods", "learned", "sanity"),
)
# Copied tables: their file among the reports, and the file whose change makes them out of date.
COPIED = {
    "seeds": ("seeds.parquet", f"{REPORTS}/evaluate_metrics.json"),
    "ablate_reward": ("ablate_reward.parquet", f"{REPORTS}/reward_metrics.json"),
    "ablate_order": ("ablate_order.parquet", f"{REPORTS}/reward_metrics.json"),
    "ablate_align": ("ablate_align.parquet", f"{REPORTS}/align_metrics.json"),
    "overoptimise": ("overoptimise.parquet", f"{REPORTS}/preferences_metrics.json"),
    "held_out": ("", "data/06_models/base/unet/diffusion_pytorch_model.safetensors"),
}

# A file of the project by its path; None if it does not exist.
Read = Callable[[str], bytes | None]
Numbers = Mapping[str, Any]
Metrics = Mapping[str, Numbers]
Form = Callable[[Numbers, str], str]

# ------------------------------------------------------------------ cells


def share(found: Numbers, key: str) -> str:
    """A share with its interval, where it has one: "65.7 % (61.5–69.7 %)"."""
    if key not in found:
        return NOT_MEASURED
    ends = {end: found.get(f"{key}_{end}") for end in ("low", "high")}
    return percent(found[key]) + ("" if None in ends.values() else f" ({percent_range(ends)})")


def change(found: Numbers, key: str) -> str:
    """A difference with its interval: "+0.198 (+0.138 to +0.256)"."""
    return _with_interval(found, key, signed)


def amount(found: Numbers, key: str) -> str:
    """A number with its interval: "0.718 (0.655 to 0.791)"."""
    return _with_interval(found, key, number)


def _with_interval(found: Numbers, key: str, form: Callable[[Any], str]) -> str:
    if key not in found:
        return NOT_MEASURED
    ends = [found.get(f"{key}_{end}") for end in ("low", "high")]
    return form(found[key]) + ("" if None in ends else f" ({form(ends[0])} to {form(ends[1])})")


def plain(found: Numbers, key: str) -> str:
    """A number without an interval."""
    return number(found[key]) if key in found else NOT_MEASURED


def flag(found: Numbers, key: str) -> str:
    """Yes or no."""
    return ("yes" if found[key] else "no") if key in found else NOT_MEASURED


FORMS: dict[str, Form] = {form.__name__: form for form in (share, change, amount, plain, flag)}


# ------------------------------------------------------------------ tables


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(heads)} |", f"| {' | '.join('---' for _ in heads)} |"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The same, or one sentence where no cell beside the first column was measured."""
    kept = [list(row) for row in rows]
    return NOTHING if all(cell == NOT_MEASURED for row in kept for cell in row[1:]) else markdown(heads, kept)


def listed(text: str) -> list[tuple[str, str, Form]]:
    """Rows written as "words | form | key"; {judge} stands for both outside judges in turn."""
    rows: list[tuple[str, str, Form]] = []
    for line in text.strip().splitlines():
        for judge, words in OUTSIDE_WORDS.items() if "{judge}" in line else (("", ""),):
            label, form, key = (part.strip().replace("{judge}", judge) for part in line.split("|"))
            rows.append((label.replace("{words}", words), key, FORMS[form]))
    return rows


def one_column(found: Numbers, text: str, head: str = "") -> str:
    """Quantities and their values."""
    return table((head, "value"), ([label, form(found, key)] for label, key, form in listed(text)))


def by_split(found: Numbers, text: str) -> list[list[str]]:
    """One row per quantity, one column per split; {split} stands for its name."""
    return [
        [label, *(form(found, key.replace("{split}", split)) for split in SPLITS)] for label, key, form in listed(text)
    ]


def split_heads(found: Numbers) -> list[str]:
    """Each split with the number of its prompts."""
    return [split + (f", {n} prompts" if (n := found.get(f"{split}_prompts")) else "") for split in SPLITS]


# ------------------------------------------------------------------ reading


def from_folder(folder: Path) -> Read:
    """Reads files of a working tree."""
    return lambda path: (folder / path).read_bytes() if (folder / path).is_file() else None


def load(read: Read) -> dict[str, dict[str, Any]]:
    """All metrics by the name of their file.

    An evaluation without the sanity table is of an earlier version, with other photographs and raters, and is not
    shown.
    """
    found = {name: read(f"{REPORTS}/{name}_metrics.json") for name in METRICS}
    return {name: json.loads(text) for name, text in found.items() if text} if found["sanity"] else {}


def digest(content: bytes | None) -> str:
    """What a copied table is compared with."""
    return sha256(content or b"").hexdigest()


def copied(read: Read, name: str) -> Any:
    """A copied table; None if there is none, or if it was measured with something else."""
    content = read(TABLES)
    entry = json.loads(content).get(name) if content else None
    return entry["content"] if entry and entry["beside"] == digest(read(COPIED[name][1])) else None


# ------------------------------------------------------------------ README.md

MAIN = """
wins over the base, by the simulated raters | share | evaluate {split}_noiseless_win_rate_independent_s1
change of the mean score (0 to 7) | change | evaluate {split}_noiseless_difference
closer to the original than the base, {words} | share | evaluate {split}_{judge}_win_rate_independent_s1
wins over Telea's fill, by the simulated raters | share | methods {split}_noiseless_win_rate_aligned_against_telea_s1
"""


def main_table(runs: Mapping[str, Metrics]) -> str:
    """The main figures of some runs side by side; their names stand before the splits'."""
    columns: list[list[str]] = []
    for name, metrics in runs.items():
        both = {
            f"{file} {key}": value for file in ("evaluate", "methods") for key, value in metrics.get(file, {}).items()
        }
        rows = by_split(both, MAIN)
        heads = [f"{name}{head}" for head in split_heads(metrics.get("evaluate", {}))]
        columns += [list(column) for column in zip(heads, *(row[1:] for row in rows), strict=True)]
    labels = ["aligned model", *(label for label, _, _ in listed(MAIN))]
    heads, *rows = zip(labels, *columns, strict=True)
    return markdown(heads, rows)


def readme_table(read: Read) -> str:
    """The one table of the README: the demo, and the photographs kept out of pretraining."""
    return main_table({"demo: ": load(read), "held out: ": copied(read, "held_out") or {}})


def insert(page: str, made: str, place: str = RESULTS) -> str:
    """A page with what stands between two comments replaced.

    Args:
        page: Markdown.
        made: what is put there.
        place: the comments' name.
    """
    begin, end = f"<!-- {place} -->", f"<!-- /{place} -->"
    before, rest = page.split(begin)
    return f"{before}{begin}\n\n{made}\n{end}{rest.split(end)[1]}"


# ------------------------------------------------------------------ docs/gpus.md


def rehearsal(read: Read) -> str:
    """What `kedro run --pipeline=rehearse` measured."""
    found = read(f"{REPORTS}/rehearsal_metrics.json")
    return rehearsal_markdown(json.loads(found)) if found else NOTHING


# ------------------------------------------------------------------ docs/results.md


def aligned_and_base(metrics: Metrics, read: Read) -> str:
    found = metrics.get("evaluate", {})
    sizes = sorted({int(hit[1]) for key in found if (hit := re.fullmatch(r".*_noiseless_.*_independent_s(\d+)", key))})
    best = "".join(
        f"best of {size} over one sample of the base | share | {{split}}_noiseless_win_rate_independent_s{size}\n"
        f"the same when the base itself has {size} | share | {{split}}_noiseless_win_rate_base_base_s{size}\n"
        for size in sizes
        if size > 1
    )
    rows = f"""
wins over the base, other noise | share | {{split}}_noiseless_win_rate_independent_s1
wins over the base, same noise | share | {{split}}_noiseless_win_rate_equal_s1
base over base, other noise (control) | share | {{split}}_noiseless_win_rate_base_base_s1
{best}wins around a kept square | share | {{split}}_outpaint_square_noiseless_win_rate_independent_s1
wins beside a kept strip | share | {{split}}_outpaint_strip_noiseless_win_rate_independent_s1
wins in changed views | share | {{split}}_warp_noiseless_win_rate_independent_s1
change of the mean score (0 to 7) | change | {{split}}_noiseless_difference
prompts whose mean score rose | share | {{split}}_noiseless_share_better
prompts whose mean score fell | share | {{split}}_noiseless_share_worse
wins over the base by the learned reward | share | {{split}}_reward_win_rate_independent_s1
"""
    return table(("by the simulated raters", *split_heads(found)), by_split(found, rows))


def outside_judge(metrics: Metrics, read: Read) -> str:
    rows = """
closer to the original than the base, {words} | share | {split}_{judge}_win_rate_independent_s1
prompts compared, {words} | plain | {split}_{judge}_prompts
mean distance, base, {words} | amount | {split}_{judge}_mean_base
mean distance, aligned, {words} | amount | {split}_{judge}_mean_aligned
change, {words} | change | {split}_{judge}_difference
"""
    return table(("by the outside judge", *SPLITS), by_split(metrics.get("evaluate", {}), rows))


LOOKS = {
    "seam_ratio": "step across the hole's edge, times the steps beside it",
    "colour_step": "colour step at the hole's edge, grey levels",
    "palette": "colours that occur nowhere else",
    "log_energy": "texture against the surroundings, log (0: as around)",
    "log_energy_coarse": "the same at half the resolution",
    "hole_spread": "differences between samples, grey levels",
    "hole_psnr": "PSNR of the hole, dB",
    "hole_ssim": "SSIM of the hole",
    "width": "trust width of the reward",
}


def pictures(metrics: Metrics, read: Read) -> str:
    found = metrics.get("evaluate", {})
    columns = (("base", plain, "mean_base"), ("aligned", plain, "mean_aligned"), ("change", change, "difference"))
    heads = [f"{split}, {title}" for split in SPLITS for title, _, _ in columns]
    rows = (
        [words, *(form(found, f"{split}_{name}_{end}") for split in SPLITS for _, form, end in columns)]
        for name, words in LOOKS.items()
    )
    return table(("mean over prompts", *heads), rows)


def methods(metrics: Metrics, read: Read) -> str:
    found = metrics.get("methods", {})
    prefix = f"{SPLITS[0]}_reward_mean_"
    names = {key.removeprefix(prefix) for key in found if key.startswith(prefix)}
    names = {name for name in names if not name.endswith(("_low", "_high"))}
    first = [name for name in ("base", "aligned") if name in names]

    def wins(split: str, name: str, other: str) -> str:
        return "–" if name == other else share(found, f"{split}_noiseless_win_rate_{name}_against_{other}_s1")

    rows = [
        [
            split,
            name,
            *(wins(split, name, other) for other in ("base", "aligned")),
            *(amount(found, f"{split}_{judge}_mean_{name}") for judge in ("noiseless", "reward")),
            *(plain(found, f"{split}_{what}_mean_{name}") for what in (*OUTSIDE_WORDS, "hole_psnr", "log_energy")),
        ]
        for split in SPLITS
        for name in first + sorted(names.difference(first))
    ]
    heads = ["prompts", "method", "wins over base", "wins over aligned", "mean score (0 to 7)", "mean reward"]
    return markdown([*heads, *OUTSIDE_WORDS.values(), "PSNR, dB", "texture"], rows) if rows else NOTHING


def edges(metrics: Metrics, read: Read) -> str:
    found = metrics.get("methods", {})
    prefix = f"{SPLITS[0]}_seam_ratio_mean_"
    names = {key.removeprefix(prefix) for key in found if key.startswith(prefix)}
    first = ["original", "base", "aligned"]
    others = sorted(name for name in names.difference(first) if not name.endswith(("_low", "_high")))
    columns = [(split, what) for split in SPLITS for what in ("seam_ratio", "colour_step")]
    heads = [f"{split}, {words}" for split in SPLITS for words in ("step across the edge", "colour step")]
    rows = (
        [
            "untouched original" if name == "original" else name,
            *(amount(found, f"{split}_{what}_mean_{name}") for split, what in columns),
        ]
        for name in (*first, *others)
    )
    return table(("method", *heads), rows)


def learned(metrics: Metrics, read: Read) -> str:
    found = metrics.get("learned", {})
    keys = sorted(key for key in found if not key.endswith(("_low", "_high")))
    return table(("score", "value"), ([key.replace("_", " "), amount(found, key)] for key in keys))


def sanity(metrics: Metrics, read: Read) -> str:
    from prefpaint.evaluation.sanity import PAIRS

    found = metrics.get("sanity", {})
    if len(found) < 2:  # people rated, so there is nothing but the count
        return NOTHING
    rows = (
        [
            f"{better} over {worse}".replace("_", " "),
            *(share(found, f"sanity_{holes}_{better}_over_{worse}") for holes in ("outpainting", "warp")),
            f"at least {100 * goal:.0f}\N{NO-BREAK SPACE}%",
        ]
        for (better, worse), goal in PAIRS.items()
    )
    made = markdown(("pair", "outpainting holes", "holes of a changed view", "goal"), rows)
    return f"{made}\nGoals missed: {found['sanity_missed']}.\n"


def ratings(metrics: Metrics, read: Read) -> str:
    rows = """
ratings | plain | ratings
raters | plain | raters
Krippendorff's α of the score | amount | alpha_score
two raters order two candidates alike | share | rank_agreement
mean rating and noiseless score order pairs alike, test | share | label_pair_accuracy_test
Spearman correlation of the two, test | amount | label_spearman_test
"""
    return one_column(metrics.get("preferences", {}), rows)


def reward(metrics: Metrics, read: Read) -> str:
    rows = """
pairs within a prompt ordered as by the noiseless score | share | test_noiseless_pair_accuracy
the same by the raters' own mean label (ceiling) | share | test_ceiling_raters_mean_vs_noiseless_pair_accuracy
pairs within a prompt ordered as by the ratings | share | test_ratings_pair_accuracy
Spearman correlation with the noiseless score | amount | test_noiseless_spearman
the same of the raters' own mean label (ceiling) | amount | test_ceiling_raters_mean_vs_noiseless_spearman
Spearman correlation with the ratings | amount | test_ratings_spearman
"""
    return one_column(metrics.get("reward", {}), rows)


WIDTHS = {
    "elliptical": "elliptical, √(zᵀV⁻¹z)",
    "published": "published, ‖zᵀV⁻¹‖₂",
    "ensemble": "disagreement of bootstrapped readouts",
}


def trust(metrics: Metrics, read: Read) -> str:
    found = metrics.get("bound", {})
    against = (("test", "ratings"), ("test", "noiseless"), ("validation", "ratings"))
    widths = table(
        ("Spearman correlation of width and error", "ratings, test", "noiseless score, test", "ratings, validation"),
        (
            [words, *(amount(found, f"{split}_spearman_{kind}_error_{truth}") for split, truth in against)]
            for kind, words in WIDTHS.items()
        ),
    )
    rows = """
proved bound: test ratings inside | share | test_bound_coverage_ratings
proved bound: to either side, score units | plain | test_bound_half_width
split-conformal, one length: test ratings inside | share | test_conformal_coverage_ratings
split-conformal, one length: end to end, score units | plain | test_conformal_length
split-conformal, scaled by the width: test ratings inside | share | test_conformal_scaled_coverage_ratings
split-conformal, scaled by the width: end to end, score units | plain | test_conformal_scaled_length
best by the reward of a prompt's rated fills over their mean, noiseless score | change | test_gain_noiseless
the same by the ratings | change | test_gain_ratings
the same by the reward itself | plain | test_gain_reward
how often the best by the reward is better than the mean, noiseless score | share | test_gain_share_better_noiseless
the same by the ratings | share | test_gain_share_better_ratings
interval of that gain: test ratings inside | share | test_gain_coverage_ratings
interval of that gain: to either side, score units | plain | gain_half_width
interval of the chosen fill's reward: test ratings inside | share | test_choice_coverage_ratings
interval of the chosen fill's reward: to either side, score units | plain | choice_half_width
choices that are sure | share | test_gain_sure
effective rank of the embeddings (participation ratio) | plain | participation_ratio
numbers in an embedding | plain | embedding_size
coefficient of variation of γ | share | gamma_coefficient_of_variation
the width carries information | flag | trust_informative
"""
    return "\n".join(dict.fromkeys((widths, one_column(found, rows))))


def watched(metrics: Metrics, read: Read) -> str:
    found = dict(metrics.get("align", {}))
    for name in ("reward", "referee", "noiseless"):
        gain = found.get(f"watch_{name}_gain")
        if gain is not None:
            error = 1.96 * found.get(f"watch_{name}_gain_error", math.nan)
            found |= {f"watch_{name}_gain_low": gain - error, f"watch_{name}_gain_high": gain + error}
    rows = """
gain by the reward that is raised | change | watch_reward_gain
gain by the referee, which decides what is kept | change | watch_referee_gain
gain by the simulated raters (0 to 7) | change | watch_noiseless_gain
reward hacking, by the referee | flag | watch_hacked_by_referee
reward hacking, by the simulated raters | flag | watch_hacked_by_noiseless
iteration whose weights were kept | plain | watch_best_iteration
iterations | plain | iterations
stopped early | flag | watch_stopped_early
network evaluations | plain | network_evaluations
change of brightness (of 1) | change | watch_brightness
change of saturation (of 1) | change | watch_saturation
change of sharpness (of 1) | change | watch_sharpness
KL divergence to the base, nats per step and latent | amount | watch_kl
"""
    return one_column(found, rows, "aligned model against the base, same noise")


def extend(metrics: Metrics, read: Read) -> str:
    rows = """
pictures | plain | pictures
joints | plain | joints
joints whose step is within the middle 95 % of other columns' steps | share | joints_within_range
joints whose step is above that range | share | joints_above_range
joints where colours change more than at 95 % of the places inside the original | share | joints_colour_above
such places inside the originals, each half judged by the other | share | inside_colour_above
joints where texture changes more than at 95 % of the places inside the original | share | joints_texture_above
such places inside the originals, each half judged by the other: texture | share | inside_texture_above
"""
    return one_column(metrics.get("extend", {}), rows)


def novel_view(metrics: Metrics, read: Read) -> str:
    found = metrics.get("novel_view", {})
    names = [hit[1] for key in found if (hit := re.fullmatch(r"psnr_(?!gain)([a-z]+)", key))]
    rows = [[name, *(amount(found, f"{what}_{name}") for what in ("psnr", "ssim"))] for name in sorted(names)]
    rows.append(["aligned minus base", change(found, "psnr_gain"), change(found, "ssim_gain")])
    return table(("fill", "PSNR, dB", "SSIM"), rows)


def reconstruct(metrics: Metrics, read: Read) -> str:
    found = metrics.get("reconstruct", {})
    ways = {"telea": "warp + Telea", "base": "warp + base", "aligned": "warp + aligned", "scene": "scene, aligned"}
    quantities = ("psnr", "ssim", "stlpips")
    rows = [[words, *(amount(found, f"stereo_{what}_{way}") for what in quantities)] for way, words in ways.items()]
    for other in ("telea", "base"):
        differences = (change(found, f"stereo_{what}_gain_{other}") for what in quantities)
        rows.append([f"scene less {ways[other]}", *differences])
    agreement = """
colour difference of a filled point between two views of the scene, grey levels | amount | consistency_shared
the same, each view painted on its own | amount | consistency_independent
how many times smaller it is in the scene | amount | consistency_ratio
"""
    stereo = table(("right view of the stereo pair", "PSNR, dB", "SSIM", "ST-LPIPS"), rows)
    if stereo == NOTHING:
        return NOTHING
    return stereo + "\n" + one_column(found, agreement, "agreement of views")


def held_out(metrics: Metrics, read: Read) -> str:
    found = copied(read, "held_out")
    return main_table({"": found}) if found else NOTHING


def seeds(metrics: Metrics, read: Read) -> str:
    columns = listed("""
wins, other noise | share | {split}_noiseless_win_rate_independent_s1
wins, same noise | share | {split}_noiseless_win_rate_equal_s1
change of the mean score | change | {split}_noiseless_difference
{words} | share | {split}_{judge}_win_rate_independent_s1
""")
    rows = [
        [run["run"], split, *(form(run, key.replace("{split}", split)) for _, key, form in columns)]
        for split in SPLITS
        for run in copied(read, "seeds") or []
    ]
    return markdown(("run", "prompts", *(label for label, _, _ in columns)), rows) if rows else NOTHING


def ablate_reward(metrics: Metrics, read: Read) -> str:
    rows = []
    for row in copied(read, "ablate_reward") or []:
        judge = "noiseless" if "noiseless_pair_accuracy" in row else "ratings"
        frozen, variance = f"{100 * row['frozen']:.0f}\N{NO-BREAK SPACE}%", row[f"{judge}_pair_accuracy_variance"]
        cells = [share(row, f"{judge}_pair_accuracy"), number(1e4 * variance), amount(row, f"{judge}_spearman")]
        rows.append([row["objective"], row["head"], frozen, *cells])
    heads = ("objective", "head", "frozen", "pairs ordered correctly", "variance over seeds, (% points)²", "Spearman")
    return markdown(heads, rows) if rows else NOTHING


def _tenths(value: float) -> str:
    """Percentage points with their sign, to one decimal."""
    return f"{value:+.1f}".replace("-", MINUS)


def ablate_order(metrics: Metrics, read: Read) -> str:
    rows = []
    for row in copied(read, "ablate_order") or []:
        points = {key: 100 * value for key, value in row.items() if key.startswith("difference")}
        # The first prompts are the same in both orders.
        apart = _with_interval(points, "difference", _tenths) if rows else "–"
        rows.append([str(row["prompts"]), share(row, "random"), share(row, "width"), apart])
    heads = ("rated prompts", "pairs ordered correctly, at random", "by width", "difference, % points")
    return markdown(heads, rows) if rows else NOTHING


def ablate_align(metrics: Metrics, read: Read) -> str:
    rows = []
    for row in copied(read, "ablate_align") or []:
        names = ("network_evaluations", "network_evaluations_low", "network_evaluations_high")
        thousands = {name: row[name] / 1000 for name in names if name in row}
        cost = amount(thousands, "network_evaluations") if row["reached"] else "not reached"
        rates = [share(row, f"{name}_win_rate") for name in (*SPLITS, "outside")]
        looks = [change(row, "brightness"), share(row, "diversity")]
        seeds = f"{row['reached']} of {row['seeds']}"
        rows.append([row["variant"], change(row, "reward_gain"), *rates, *looks, cost, seeds])
    heads = ["alignment", "gain in held-out reward", *(f"wins over the base, {split}" for split in SPLITS)]
    heads += [
        "closer to the original than the base, ST-LPIPS",
        "change of brightness, of 1",
        "diversity, of the base's",
    ]
    heads += ["thousand network evaluations to the target", "seeds that reached it"]
    return markdown(heads, rows) if rows else NOTHING


def overoptimise(metrics: Metrics, read: Read) -> str:
    rows = []
    for row in copied(read, "overoptimise") or []:
        gains = [change(row, name) for name in ("final_proxy", "best_gold", "final_gold", "gold_at_target")]
        apart = [change(row, f"{name}_difference") for name in ("final_gold", "gold_at_target")]
        rows.append([row["variant"], *gains, *apart, f"{row['reached']} of {row['seeds']}"])
    heads = ["trust", "last proxy gain", "best gold gain", "last gold gain", "gold gain at equal proxy gain"]
    heads += ["last gold gain, less `none`'s", "gold gain at equal proxy gain, less `none`'s"]
    return markdown([*heads, "seeds that reached it"], rows) if rows else NOTHING


PAGE = (
    (
        "Aligned model against its base",
        "Single samples unless a row says otherwise; 50 % means no difference. [How they are compared](evaluation.md).",
        aligned_and_base,
    ),
    (
        "The outside judge",
        "By ST-LPIPS, a distance to the hidden original; only prompts that have one count. "
        "[What it can and cannot say](evaluation.md#the-outside-judge).",
        outside_judge,
    ),
    ("What changed in the pictures", "Means over samples and prompts.", pictures),
    (
        "Methods side by side",
        "Same prompts, masks and seeds for all; wins and scores by the simulated raters. A smaller ST-LPIPS is closer "
        "to the original.",
        methods,
    ),
    (
        "At the hole's edge",
        "The step across the edge as a multiple of those beside it, and the step of the colours in grey levels. What "
        "untouched originals have, where there are any, is the value to aim for. "
        "[How they are measured](evaluation.md#at-the-holes-edge).",
        edges,
    ),
    (
        "Scores of other people's models",
        "Only scores with a checkpoint. [How to set one](evaluation.md#scores-of-other-peoples-models).",
        learned,
    ),
    (
        "Are the simulated raters sane?",
        "Share of prompts in which the raters, without bias and noise, order two fills as anybody would. "
        "[How this is measured](rating.md#are-the-simulated-raters-sane).",
        sanity,
    ),
    ("Ratings", "How much was rated, and how well raters agree.", ratings),
    ("The reward", "On test candidates, which it was not fitted to. [What it is](trust.md#the-reward).", reward),
    ("Trust in the reward", "[What the widths and intervals are](trust.md#how-far-to-believe-it).", trust),
    (
        "Held-out prompts watched during alignment",
        "Validation prompts, with the same noise at every look; intervals are ± 1.96 standard errors. "
        "[How the watch works](aligning.md#reward-hacking-is-watched).",
        watched,
    ),
    ("Wider pictures", "[How joints are measured](applications.md#wider-pictures).", extend),
    ("Other views", "[How views are measured](applications.md#other-views).", novel_view),
    (
        "A scene in three dimensions",
        "Filled pixels beside what the right camera saw, over windows of one picture; and how far the views of one "
        "scene agree. A smaller ST-LPIPS is closer. [How it is measured](applications.md#a-scene-in-three-dimensions).",
        reconstruct,
    ),
    (
        "Photographs kept out of pretraining",
        "From a second clone of the project. [How to make this table](evaluation.md#the-held-out-table).",
        held_out,
    ),
    ("Other training seeds", "`kedro run --pipeline=seeds`; the *oracle* aligns to the noiseless score itself.", seeds),
    ("Ways of training the reward", "`kedro run --pipeline=ablate_reward`.", ablate_reward),
    (
        "Asking where the reward knows least",
        "`kedro run --pipeline=ablate_order`. Rewards of prompts that were rated at random or in the order of the "
        "trust width, judged by the simulated raters' noiseless score on validation prompts. Means over seeds with "
        "intervals of Student's t over the seeds; differences are paired by seed. "
        "[How it works](rating.md#does-it-pay-to-ask-by-width).",
        ablate_order,
    ),
    (
        "Ways of aligning",
        "`kedro run --pipeline=ablate_align`. Means over seeds. The target is the gain that `ddpo` ends with; some "
        "runs are longer than their mode's own, so that they can reach it. Intervals are Student's t over seeds, for "
        "wins a bootstrap over seeds and prompts. [How to read it](aligning.md#comparing-ways-of-aligning).",
        ablate_align,
    ),
    (
        "Trust where the reward is over-optimised",
        "`kedro run --pipeline=overoptimise`. A reward fitted to few ratings (*proxy*) is raised for long; the "
        "simulated raters' noiseless score of held-out prompts (*gold*) says what that is worth. Means over seeds, in "
        "points of the score, with intervals of Student's t over the seeds; differences are paired by seed. "
        "[How to read it](aligning.md#comparing-ways-of-aligning).",
        overoptimise,
    ),
)
HEAD = """# Results

<!-- Made by `python docs/results.py`; do not edit. -->

What the committed run of the embedded demo measured: 64 px, CPU, one training seed, *simulated* raters. In brackets are
95 % intervals over prompts; they do not cover another training seed or other photographs. `python docs/results.py`
makes this page and the README's table from `data/08_reporting/*_metrics.json`.
"""


def results_page(read: Read) -> str:
    """docs/results.md."""
    metrics = load(read)
    return HEAD + "".join(f"\n## {title}\n\n{about}\n\n{make(metrics, read)}" for title, about, make in PAGE)


# ------------------------------------------------------------------ copying


def _compared(key: str) -> bool:
    """Whether a flat metric is shown of another seed or of the held-out clone."""
    rates = r"win_rate_(independent|equal)_s1|win_rate_aligned_against_telea_s1|difference"
    judged = rf"({'|'.join(('noiseless', *OUTSIDE_WORDS))})_({rates})(_low|_high)?"
    return key == "run" or bool(re.fullmatch(rf"({'|'.join(SPLITS)})_({judged}|prompts)", key))


def _storable(row: Numbers) -> dict[str, Any]:
    """A row as JSON can hold it: no numpy, no NaN, six digits."""
    values = {key: value.item() if hasattr(value, "item") else value for key, value in row.items()}
    return {
        key: round(value, 6) if isinstance(value, float) else value
        for key, value in values.items()
        if not isinstance(value, float) or math.isfinite(value)
    }


def collect(root: Path, clone: Path | None) -> dict[str, Any]:
    """The copied tables: earlier ones, and those whose file is newer than the one it depends on.

    Args:
        root: of the project.
        clone: one that ran `kedro run --env=held_out`.
    """
    read = from_folder(root)
    earlier = read(TABLES)
    tables: dict[str, Any] = json.loads(earlier) if earlier else {}
    for name, (file, beside) in COPIED.items():
        made, known = root / REPORTS / file, root / beside
        if made.is_file() and known.is_file() and made.stat().st_mtime >= known.stat().st_mtime:
            import pandas as pd

            rows = [_storable(row) for row in pd.read_parquet(made).to_dict("records")]
            if name == "seeds":
                rows = [{key: value for key, value in row.items() if _compared(key)} for row in rows]
            tables[name] = {"beside": digest(read(beside)), "content": rows}
    if clone is not None:
        found = load(from_folder(clone))
        if not found:
            raise SystemExit(f"{clone}: no metrics found; run `kedro run --env=held_out` there")
        kept = {
            file: {key: value for key, value in found.get(file, {}).items() if _compared(key)}
            for file in ("evaluate", "methods")
        }
        tables["held_out"] = {"beside": digest(read(COPIED["held_out"][1])), "content": kept}
    return tables


def main() -> None:
    """Write docs/results.md, the tables of other pages and, where there is something to copy, docs/tables.json."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--held-out", type=Path, metavar="FOLDER", help="a clone that ran `kedro run --env=held_out`")
    tables = collect(ROOT, parser.parse_args().held_out)
    if tables:
        (ROOT / TABLES).write_text(json.dumps(tables, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    read, readme = from_folder(ROOT), ROOT / "README.md"
    (ROOT / "docs/results.md").write_text(results_page(read), encoding="utf-8")
    readme.write_text(insert(readme.read_text(encoding="utf-8"), readme_table(read)), encoding="utf-8")
    gpus = ROOT / "docs/gpus.md"
    gpus.write_text(insert(gpus.read_text(encoding="utf-8"), rehearsal(read), REHEARSAL), encoding="utf-8")


if __name__ == "__main__":
    main()
