"""Other people's checkpoints, loaded whole or not at all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefpaint.errors import PrefPaintError


def first_line(error: BaseException) -> str:
    """What an exception says first, or its name where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def load_pretrained(
    key: str, checkpoint: str, advice: str, kind: Any, parts: tuple[Callable[..., Any], ...], **options: Any
) -> tuple[Any, ...]:
    """A transformers model in evaluation mode, and its processors.

    Args:
        key: of the configuration, which messages begin with.
        checkpoint: folder or hub id.
        advice: what to give instead, for the message.
        kind: class of the model.
        parts: what else is loaded, each by a function of the checkpoint and `local_files_only`.
        options: of the model's `from_pretrained`.

    Raises:
        PrefPaintError: it cannot be loaded, or lacks weights that the class has.
    """
    from safetensors import SafetensorError

    local = Path(checkpoint).is_dir()
    try:
        model, loading = kind.from_pretrained(
            checkpoint, local_files_only=local, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
        others = [load(checkpoint, local_files_only=local) for load in parts]
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = first_line(error)
        raise PrefPaintError(f"{key}: {checkpoint} cannot be loaded ({reason}); {advice}") from error
    # transformers would draw at random what a checkpoint of another kind does not have.
    lacking = sorted([*loading["missing_keys"], *(name for name, *_ in loading["mismatched_keys"])])
    if lacking:
        name = type(model).__name__
        raise PrefPaintError(
            f"{key}: {checkpoint} is not {'an' if name[0] in 'AEIOU' else 'a'} {name}: it lacks {lacking[0]}"
            f"{f' and {len(lacking) - 1} other weights' if len(lacking) > 1 else ''}; give a checkpoint of that kind"
        )
    return model.eval(), *others
