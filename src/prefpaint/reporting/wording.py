"""How numbers and their names are written for people."""

import math
import re
from collections.abc import Mapping
from typing import Any

NOTHING, MINUS = "–", "−"
OUTSIDE_WORDS = {"stlpips_alex": "ST-LPIPS (AlexNet)", "stlpips_vgg": "ST-LPIPS (VGG16)"}
KEY_WORDS = (
    ("win_rate", "win rate"),
    ("base_base", "base against base"),
    ("order_accuracy", "pairs within a prompt ordered correctly"),
    ("pair_accuracy", "pairs within a prompt ordered correctly"),
    ("equal", "same noise"),
    ("independent", "other noise"),
    ("hole_psnr", "hole PSNR"),
    ("spearman", "Spearman correlation"),
    ("gamma", "γ"),
    ("std", "standard deviation"),
    *OUTSIDE_WORDS.items(),
)


def plain_words(key: str) -> str:
    """A metric's key as words: `seen_noiseless_win_rate_equal_s3` → "seen noiseless win rate same noise, best of 3"."""
    words = re.sub(r"_s(\d+)$", r", best of \1", key)
    for short, long in KEY_WORDS:
        words = re.sub(rf"(^|_){short}(?=_|,|$)", rf"\1{long}", words)
    return words.replace("_", " ")


def percent(value: float) -> str:
    """0.6712 → "67.1 %", with a space that no line breaks at."""
    return f"{100 * value:.1f}\N{NO-BREAK SPACE}%" if math.isfinite(value) else NOTHING


def percent_range(row: Mapping[str, Any]) -> str:
    """The interval of a row with low and high: "60.2–73.4 %"."""
    return f"{100 * row['low']:.1f}–{percent(row['high'])}"


def number(value: Any) -> str:
    """Three significant digits for fractions; whole numbers, words and lists as they are."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if not math.isfinite(value):
        return NOTHING
    if float(value).is_integer():
        text = f"{int(value):,}"
    else:
        text = f"{value:.3f}" if 0.1 <= abs(value) < 1000 else f"{value:.3g}"
    return text.replace("-", MINUS)


def signed(value: float) -> str:
    """A change with its sign: three decimals, or two digits when it is tiny."""
    text = f"{value:+.3f}" if abs(value) >= 0.01 else f"{value:+.2g}"
    return text.replace("-", MINUS)
