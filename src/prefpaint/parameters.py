"""Parameters checked against their models; every mistake is one sentence that names the right keys."""

import types
import typing
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import yaml
from kedro.config import OmegaConfigLoader
from kedro.pipeline import Pipeline
from kedro.validation import TypeExtractor
from omegaconf import OmegaConf
from pydantic import BaseModel, Field, ValidationError

from prefpaint.config import Config
from prefpaint.errors import PrefPaintError
from prefpaint.studio.config import StudioConfig

# Beside conf. Its name is DVC's: that of `dvc exp run -S reward.seed=4`.
OVERRIDES = "params.yaml"


class RunConfig(Config):
    """`kedro run`: what it does about earlier work."""

    out_of_date: Literal["refuse", "warn"] = Field(
        "refuse",
        description="When a stage would start from what an earlier stage made before its own inputs or parameters "
        "changed: refuse: stop, and name the pipelines to run; warn: use it as it is.",
    )


class ParametersLoader(OmegaConfigLoader):
    """Kedro's loader, which also takes what `params.yaml` sets: DVC's file of parameters, null where nothing is set.

    It is merged over the environment's parameters and below those of `--params`.
    """

    def __init__(
        self, conf_source: str, env: str | None = None, runtime_params: dict[str, Any] | None = None, **options: Any
    ) -> None:
        if not Path(conf_source).is_dir():
            # Rules of the catalog are read as files in the project.
            raise PrefPaintError(
                f"{conf_source}: is not a folder; put the configuration into conf here (`tar xzf` unpacks that of "
                "`kedro package`) and leave --conf-source out"
            )
        overrides = read_overrides(Path(conf_source).parent / OVERRIDES)
        given: Any = OmegaConf.to_container(OmegaConf.merge(overrides, runtime_params or {}))
        super().__init__(conf_source, env=env, runtime_params=given, **options)


def read_overrides(file: Path) -> dict[str, Any]:
    """The values of `params.yaml` that are not null.

    Raises:
        PrefPaintError: the file is not a mapping in YAML.
    """
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise PrefPaintError(f"{file}: cannot be read ({' '.join(str(error).split())}); correct it") from error
    if not isinstance(values, dict | None):
        raise PrefPaintError(f"{file}: is not a mapping of parameters; `git checkout {file.name}` restores it")
    return _without_null(values or {})


def _without_null(values: dict[str, Any]) -> dict[str, Any]:
    said = {key: _without_null(value) if isinstance(value, dict) else value for key, value in values.items()}
    return {key: value for key, value in said.items() if value is not None and value != {}}


def known_models(pipelines: dict[str, Pipeline]) -> dict[str, type[BaseModel]]:
    """The model of every top-level parameter: those that nodes take, and those of the commands themselves."""
    return {**TypeExtractor(pipelines).extract_types_from_pipelines(), "run": RunConfig, "studio": StudioConfig}


def check_parameters(raw: Mapping[str, Any], models: Mapping[str, type[BaseModel]]) -> None:
    """Raise for the first parameter that does not fit.

    Args:
        raw: top-level keys and values as the YAML files of one environment give them, merged.
        models: the model of each key.

    Raises:
        PrefPaintError: a key is missing or unknown, or its value is not allowed.
    """
    for key in raw:
        if key not in models:
            raise PrefPaintError(f"parameter {key}: is not a known parameter; {suggest(key, list(models))}")
    for key, model in sorted(models.items(), key=lambda item: item[0]):
        if key not in raw:
            raise PrefPaintError(f"parameter {key}: is missing; put it into conf/base/parameters_{key}.yml")
        try:
            model.model_validate(raw[key])
        except ValidationError as error:
            raise PrefPaintError(_sentence(key, model, error)) from error


def _sentence(key: str, model: type[BaseModel], error: ValidationError) -> str:
    problems = []
    for problem in error.errors(include_url=False):
        place = problem["loc"]
        dotted = ".".join(str(part) for part in (key, *place))
        if problem["type"] == "extra_forbidden":
            problems.append(f"{dotted}: is not a known parameter; {suggest(str(place[-1]), _known(model, place[:-1]))}")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            given = "" if isinstance(problem["input"], dict) else f", not {problem['input']!r}"
            problems.append(f"{dotted}: {message[0].lower()}{message[1:]}{given}")
    return "parameter " + "; parameter ".join(problems)


def suggest(wrong: str, known: list[str]) -> str:
    """What may have been meant, and what there is."""
    folded = {name.casefold(): name for name in known}
    close = [folded[name] for name in get_close_matches(wrong.casefold(), folded, n=1)]
    return (f"did you mean {close[0]}? " if close else "") + f"allowed are {', '.join(known)}"


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every pydantic model inside a type annotation."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, BaseModel):
            yield annotation
        return
    for inner in typing.get_args(annotation):
        yield from _models_in(inner)


def _known(model: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    """Names of the fields at a place inside a model.

    A place is pydantic's: field names, list positions, and tags of discriminated unions.
    """
    here, names = [model], False
    for part in place:
        if names:
            # A name of the user's own, whatever it may also be called.
            names = False
            continue
        fields = [m.model_fields[part] for m in here if isinstance(part, str) and part in m.model_fields]
        names = any(typing.get_origin(field.annotation) is dict for field in fields)
        inside = [found for field in fields for found in _models_in(field.annotation)]
        tagged = [m for m in here if any(field.default == part for field in m.model_fields.values())]
        here = inside or tagged or here
    return list(dict.fromkeys(name for m in here for name in m.model_fields))
