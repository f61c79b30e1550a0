"""Raters' names: which can be one, and which are the same person's."""

import unicodedata
from collections.abc import Iterable

LONGEST_NAME = 64
NAME_RULE = f"use up to {LONGEST_NAME} printable characters, not beginning with =, +, - or @"


def is_name(name: str) -> bool:
    """Whether a rater can have this name; see `NAME_RULE`."""
    # A spreadsheet that opens an export would take =, +, - and @ for the beginning of a formula.
    return 0 < len(name) <= LONGEST_NAME and name.isprintable() and name == name.strip() and name[0] not in "=+-@"


def composed(name: str) -> str:
    """A name as it is kept: é is one character (Unicode's form NFC), and words are one space apart."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def same_name(name: str) -> str:
    """What names of one person have in common: `André`, `andré`, `ANDRÉ`, composed or not, narrow or wide.

    Unicode's compatibility caseless matching (The Unicode Standard, section 3.13, D146, less the rarest cases).
    """
    return composed(unicodedata.normalize("NFKC", name).casefold())


def spellings(names: Iterable[str], known: Iterable[str] = ()) -> dict[str, str]:
    """The spelling under which each name is kept, so that one person is one rater.

    A known name stays as it is, even where an earlier version made two raters of one person. Another one becomes the
    first known name, or else the first of `names`, that is the same.
    """
    known = list(known)
    first: dict[str, str] = {}
    for name in known:
        first.setdefault(same_name(name), name)
    exact = set(known)
    return {name: name if name in exact else first.setdefault(same_name(name), composed(name)) for name in names}
