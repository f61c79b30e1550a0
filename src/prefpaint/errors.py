"""The one exception whose message is meant for the person who ran the command."""

from collections.abc import Iterator
from contextlib import contextmanager


class PrefPaintError(Exception):
    """Something the user can fix: one sentence naming the file, row or key and what to do.

    The command line prints only the message, without a traceback.
    """


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
