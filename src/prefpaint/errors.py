"""The one exception whose message is meant for the person who ran the command."""

from collections.abc import Iterator
from contextlib import contextmanager


class PrefPaintError(Exception):
    """Something the user can fix: one sentence naming the file, row or key and what to do.

    The command line prints only the message, without a traceback. What messages quote from files and file names may
    hold anything; they are made `printable` here, once for all.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def printable(text: str) -> str:
    """A text as one line that any terminal and log can show.

    Line ends, control characters, invisible and bidirectional ones, private ones and lone surrogates are written as
    escapes (\\x1b, \\u202e).
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


@contextmanager
def within_memory(advice: str) -> Iterator[None]:
    """Turn torch's out-of-memory errors into one sentence.

    Args:
        advice: what to do about it, naming the knob.

    Raises:
        PrefPaintError: the block ran out of memory.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        from accelerate.utils.memory import should_reduce_batch_size

        if isinstance(error, MemoryError) or should_reduce_batch_size(error):
            raise PrefPaintError(f"out of memory: {advice}") from error
        raise


@contextmanager
def needs_extra(extra: str, what: str) -> Iterator[None]:
    """Name the extra of this package that installs a missing library.

    Args:
        extra: its name in pyproject.toml.
        what: what needs it, as a user calls it.

    Raises:
        PrefPaintError: a library that the block imports is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise PrefPaintError(f"{what} needs `pip install 'prefpaint[{extra}]'`: {error.name} is missing") from error
