"""Every parameter of every environment fits its model; mistakes are named with the right keys."""

from typing import Any

import pytest
import yaml
from kedro.config import OmegaConfigLoader
from kedro.validation import TypeExtractor
from kedro.validation.parameter_validator import ParameterValidator

from prefpaint.errors import PrefPaintError
from prefpaint.parameters import check_parameters, known_models
from prefpaint.pipeline_registry import register_pipelines
from prefpaint.settings import CONFIG_LOADER_ARGS
from tests.conftest import REPOSITORY

MODELS = known_models(register_pipelines())
# What the rehearsal's is merged over is the paper's (tests/rehearsal/test_run.py).
ELSEWHERE = {"local", "rehearsal"}
ENVIRONMENTS = sorted({path.name for path in (REPOSITORY / "conf").iterdir() if path.is_dir()} - ELSEWHERE)


def parameters(environment: str) -> dict[str, Any]:
    loader = OmegaConfigLoader(str(REPOSITORY / "conf"), env=environment, **CONFIG_LOADER_ARGS)
    return dict(loader["parameters"])


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_environment_fits(environment: str) -> None:
    check_parameters(parameters(environment), MODELS)


def test_every_pipeline_with_knobs_and_two_commands_have_a_parameters_file_of_their_own() -> None:
    files = {path.stem.removeprefix("parameters_") for path in (REPOSITORY / "conf/base").glob("parameters_*.yml")}
    assert files == set(register_pipelines()) - {"__default__", "release", "report"} | {"run", "studio"}


def test_every_typed_parameter_is_a_pydantic_model() -> None:
    used = {name for p in register_pipelines().values() for name in p.inputs() if name.startswith("params:")}
    assert used == {f"params:{key}" for key in MODELS} - {"params:run", "params:studio"}


@pytest.mark.parametrize("pipeline", [*register_pipelines(), None])
def test_kedro_hands_every_node_its_model(pipeline: str | None) -> None:
    asked = register_pipelines() if pipeline is None else {pipeline: register_pipelines()[pipeline]}
    made = ParameterValidator(asked).validate_raw_params(parameters("base"))
    for key, model in TypeExtractor(asked).extract_types_from_pipelines().items():
        # A nested one would depend on the order in which Kedro makes them.
        assert "." not in key and isinstance(made[key], model), key


def test_a_parameter_must_be_there() -> None:
    raw = {key: value for key, value in parameters("base").items() if key != "align"}
    with pytest.raises(PrefPaintError, match=r"align: is missing; put it into conf/base/parameters_align.yml"):
        check_parameters(raw, MODELS)


def test_paper_changes_single_numbers_and_keeps_the_rest() -> None:
    base, paper = parameters("base"), parameters("paper")
    assert paper["masks"]["geometry"]["depth_checkpoint"] and not base["masks"]["geometry"]["depth_checkpoint"]
    assert paper["masks"]["geometry"]["yaw"] == base["masks"]["geometry"]["yaw"] == 0.3
    assert (paper["sampling"]["steps"], paper["sampling"]["eta"]) == (50, 1.0)
    assert sum(paper["masks"]["prompts"][split] for split in ("train", "validation", "test")) == 17_000


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("masks: {geometry: {yawn: 1}}", ["masks.geometry.yawn", "did you mean yaw?", "square_area"]),
        ("mask: {}", ["parameter mask:", "did you mean masks?"]),
        ("reward: {backbone: {kind: contrast, tapes: [1]}}", ["tapes", "did you mean taps?", "input_size"]),
        ("preferences: {simulated: {raters: [{name: a, nose: 1}]}}", ["raters.0.nose", "noise"]),
        ("gamma: {limit: 1}", ["gamma.limit", "did you mean limits?", "average"]),
        ("align: {gamma: {kind: static}}", ["align.gamma: is not a known parameter", "allowed are mode, seed"]),
        ("align: {rewards: {hps: {kind: http, url: 'http://a', timout: 1}}}", ["rewards.hps", "did you mean timeout?"]),
        ("align: {rewards: {mine: {kind: python, function: f}}}", ["rewards.mine", "module:function, not 'f'"]),
        ("sampling: {steps: many}", ["sampling.steps", "valid integer", "'many'"]),
        ("photographs: {split: {train: 1, validation: 1, test: 1}}", ["photographs", "adding up to 1"]),
    ],
)
def test_a_mistake_is_one_sentence_with_the_right_keys(change: str, expected: list[str]) -> None:
    raw = parameters("base") | yaml.safe_load(change)
    with pytest.raises(PrefPaintError) as caught:
        check_parameters(raw, MODELS)
    message = str(caught.value)
    assert "\n" not in message
    for part in expected:
        assert part in message


def test_a_missing_key_names_its_file() -> None:
    raw = parameters("base")
    del raw["align"]
    with pytest.raises(PrefPaintError, match="parameter align: is missing"):
        check_parameters(raw, MODELS)
