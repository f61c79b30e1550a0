"""Every knob says what it does where it is declared."""

import pkgutil
import types
import typing
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Literal

import pytest

import prefpaint
from prefpaint.config import Config


def every_module() -> list[str]:
    """Dotted names of all modules, but those that start a program."""
    return [
        module.name
        for module in pkgutil.walk_packages(prefpaint.__path__, "prefpaint.")
        if not module.name.endswith("__main__")
    ]


def below(model: type[Config]) -> Iterator[type[Config]]:
    for child in model.__subclasses__():
        yield child
        yield from below(child)


def explains_itself(annotation: Any) -> bool:
    """Whether a field is other models, which have docstrings, or the one name by which such a model is chosen."""
    if typing.get_origin(annotation) is Literal:
        return len(typing.get_args(annotation)) == 1
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return all(kind is type(None) or explains_itself(kind) for kind in typing.get_args(annotation))
    return isinstance(annotation, type) and issubclass(annotation, Config) and bool(annotation.__doc__)


for name in every_module():
    import_module(name)
MODELS = sorted({model for model in below(Config) if model.__module__.startswith("prefpaint.")}, key=str)


def test_all_models_are_found() -> None:
    assert {model.__name__ for model in MODELS} >= {"AlignConfig", "RewardConfig", "MasksConfig", "StudioConfig"}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_knob_is_described(model: type[Config]) -> None:
    assert model.__doc__
    missing = [
        name
        for name, field in model.model_fields.items()
        if not field.description and not explains_itself(field.annotation)
    ]
    assert not missing, f"{model.__module__}.{model.__name__}: say what these do and cost"


def test_what_needs_no_description() -> None:
    class Inner(Config):
        """Explained here."""

    class Silent(Config):
        pass

    assert explains_itself(Inner) and explains_itself(Inner | None) and explains_itself(Literal["one"])
    assert not explains_itself(Silent) and not explains_itself(Literal["one", "two"]) and not explains_itself(int)
