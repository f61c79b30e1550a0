"""Base class of every configuration model, and the seeds drawn from a configuration."""

import hashlib
import json
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """Typed, immutable configuration; a misspelt key is an error, not a silently ignored line."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    # Fields that change memory, speed or bookkeeping, never what comes out.
    speed_only: ClassVar[frozenset[str]] = frozenset()


def without_empty(given: Any) -> Any:
    """A mapping without what is null in it, for a validator that runs before others.

    Environments are merged, so the only way to take a key out of a mapping is to set it to null.
    """
    return {key: value for key, value in given.items() if value is not None} if isinstance(given, dict) else given


def derive_seed(*parts: Any) -> int:
    """A 63-bit seed that depends on every part and on nothing else.

    Used wherever work is split into items (a crop, a prompt, a candidate), so that an item's random
    draws are the same whatever else is computed beside it, in whatever order or batch.

    Args:
        parts: strings, numbers or anything else `json.dumps` takes.

    Returns:
        An integer in [0, 2**63), the same on every machine.
    """
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def sample_seeds(count: int, *parts: Any) -> list[int]:
    """Seeds of several samples of one item. The first is the same for any count: that of the item itself.

    Args:
        count: how many, at least 1.
        parts: of the item, see `derive_seed`.
    """
    return [derive_seed(*parts), *(derive_seed(*parts, sample) for sample in range(1, count))]


def fingerprint(*parts: Any) -> str:
    """A short hexadecimal digest of configurations and inputs, to tell whether earlier work still fits.

    Args:
        parts: pydantic models or anything else `json.dumps` takes.
    """
    plain = [part.model_dump(mode="json") if isinstance(part, BaseModel) else part for part in parts]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]
