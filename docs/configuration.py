"""Write every parameter with its value in conf/base and its meaning into docs/configuration.md, and params.yaml.

python docs/configuration.py        # after a change to a config.py or to conf/base
"""

import json
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from omegaconf import OmegaConf
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from prefpaint.config import Config
from prefpaint.parameters import known_models, read_overrides
from prefpaint.pipeline_registry import register_pipelines

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/configuration.md"
# Longer values are looked up in their file.
LONGEST = 48
BOUNDS = {
    "ge": "at least {}",
    "gt": "above {}",
    "le": "at most {}",
    "lt": "below {}",
    "multiple_of": "a multiple of {}",
}
OVERRIDES = ROOT / "params.yaml"
OVERRIDES_HEAD = """# Merged over conf, and seen by DVC: `dvc exp run -S reward.seed=4` writes here.
# null: as conf says. The names are made by `python docs/configuration.py`.
"""
HEAD = """# Configuration

<!-- Made by `python docs/configuration.py`; do not edit. -->

One table per top-level key of the parameters, with the values of `conf/base`. Put what you change into a file of the
same name in `conf/local/`, which is merged over it, or on the command line: `kedro run --params align.iterations=5`.
With DVC, `params.yaml` is the better place ([DVC](dvc.md)): it is merged over all of these but the command line.
`conf/paper/` and `conf/held_out/` are merged instead of `conf/local/` with `--env=paper` and `--env=held_out`. A
misspelt key or a wrong value stops a run before any work, with the names that would be right.
"""


def models_in(annotation: Any) -> list[type[Config]]:
    """The configuration models that a field's type is made of."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return [annotation] if issubclass(annotation, Config) else []
    return [model for inner in typing.get_args(annotation) for model in models_in(inner)]


def kind_of(model: type[BaseModel]) -> str | None:
    """The value by which a model is chosen among others, where it has one."""
    field = model.model_fields.get("kind")
    names = typing.get_args(field.annotation) if field and typing.get_origin(field.annotation) is Literal else ()
    return str(names[0]) if len(names) == 1 else None


def plain(value: Any) -> Any:
    """A value as YAML has it."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def shown(value: Any, file: str) -> str:
    """A value as a table has it."""
    text = json.dumps(plain(value), ensure_ascii=False)
    return f"`{text}`" if len(text) <= LONGEST else f"see `{file}`"


def meaning(field: FieldInfo, models: list[type[Config]]) -> str:
    """What a field does, and which values it takes."""
    said = field.description or " ".join(" ".join((model.__doc__ or "").split()) for model in models)
    limits = [
        form.format(f"{value:g}")
        for entry in field.metadata
        for name, form in BOUNDS.items()
        if (value := getattr(entry, name, None)) is not None
    ]
    choices = typing.get_args(field.annotation) if typing.get_origin(field.annotation) is Literal else ()
    if len(choices) > 1:
        limits.append("one of " + ", ".join(f"`{choice}`" for choice in choices))
    if limits:
        said = f"{said.rstrip()} *{', '.join(limits)[0].upper()}{', '.join(limits)[1:]}.*"
    return said.replace("|", "\\|")


def rows(model: type[BaseModel], value: Any, file: str, prefix: str = "", note: str = "") -> Iterator[str]:
    """A model's fields, those of models inside it below their own names.

    Args:
        model: what is described.
        value: an instance of it as configured, or None for its own defaults.
        file: where its values are set.
        prefix: dotted names above.
        note: with which choice the fields are in use.
    """
    for name, field in model.model_fields.items():
        models = models_in(field.annotation)
        own = field.get_default(call_default_factory=True) if not field.is_required() else None
        given = getattr(value, name) if value is not None else own
        place, many = f"{prefix}{name}", typing.get_origin(field.annotation) in (dict, tuple)
        if name == "kind" and kind_of(model):
            continue
        if not models or many:
            default = "required" if value is None and field.is_required() else shown(given, file)
            yield f"| `{place}`{note} | {default} | {meaning(field, models)} |"
            if many:
                inner = ".NAME." if typing.get_origin(field.annotation) is dict else "[…]."
                for each in models:
                    chosen = f"{note} ({kind_of(each)})" if len(models) > 1 else note
                    if chosen != note:
                        yield f"| `{place}{inner}kind`{chosen} | required | {' '.join((each.__doc__ or '').split())} |"
                    yield from rows(each, None, file, f"{place}{inner}", chosen)
        elif len(models) == 1:
            yield from rows(models[0], given, file, f"{place}.", note)
        else:
            kinds = {str(kind_of(each)): each for each in models}
            said = " ".join(f"`{kind}`: {' '.join((each.__doc__ or '').split())}" for kind, each in kinds.items())
            yield f"| `{place}.kind`{note} | {shown(given.kind, file)} | {said} |"
            for kind, each in kinds.items():
                mine = given if given.kind == kind else None
                yield from rows(each, mine, file, f"{place}.", f"{note} ({kind})")


def page(conf: Path) -> str:
    """docs/configuration.md from the models and the parameters files of an environment."""
    parts = [HEAD]
    models = known_models(register_pipelines())
    given = {
        key: (values, file.name)
        for file in sorted(conf.glob("parameters*.yml"))
        for key, values in yaml.safe_load(file.read_text(encoding="utf-8")).items()
    }
    for key, model in sorted(models.items()):
        values, name = given[key]
        file = f"conf/base/{name}"
        parts.append(f"## {key}\n\n{' '.join((model.__doc__ or '').split())} `{file}`\n")
        table = rows(model, model.model_validate(values), file)
        parts.append("\n".join(["| name | default | meaning |", "| --- | --- | --- |", *table]) + "\n")
    return "\n".join(parts)


def overrides(conf: Path) -> str:
    """params.yaml: every knob of a DVC stage, null but for what is set already."""
    stages = yaml.safe_load((conf.parents[1] / "dvc.yaml").read_text(encoding="utf-8"))["stages"].values()
    keys = {key for stage in stages for file in stage["params"] for names in file.values() for key in names}
    models, values = known_models(register_pipelines()), {}
    for file in sorted(conf.glob("parameters*.yml")):
        for key, given in yaml.safe_load(file.read_text(encoding="utf-8")).items():
            if key in keys:
                values[key] = nothing(models[key].model_validate(given).model_dump(mode="json"))
    kept = OmegaConf.merge(values, read_overrides(OVERRIDES))
    return OVERRIDES_HEAD + yaml.safe_dump(OmegaConf.to_container(kept))


def nothing(value: Any) -> Any:
    """Null for every value, in the same mappings."""
    return {key: nothing(inner) for key, inner in value.items()} if isinstance(value, dict) and value else None


if __name__ == "__main__":
    OVERRIDES.write_text(overrides(ROOT / "conf/base"), encoding="utf-8")
    PAGE.write_text(page(ROOT / "conf/base"), encoding="utf-8")
