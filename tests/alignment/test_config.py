"""Modes of alignment: what is given counts, at every depth, and the mode decides the rest."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from prefpaint.alignment.config import (
    PRESETS,
    AlignConfig,
    GateConfig,
    LoraConfig,
)
from prefpaint.alignment.dpo_config import DPOConfig
from prefpaint.alignment.modes import MODES
from prefpaint.alignment.watch_config import WatchConfig

NAMES = tuple(PRESETS)


def test_every_mode_has_its_knobs_and_says_what_it_does() -> None:
    assert set(MODES) == set(PRESETS)
    description = str(AlignConfig.model_fields["mode"].description)
    assert all(f"{name}: " in description for name in NAMES)


@pytest.mark.parametrize(
    ("values", "watch"),
    [
        ({"mode": "ddpo", "watch": {"patience": 2}}, (2, 64, 2)),
        ({"mode": "ddpo", "watch": {"every": 7}}, (7, 64, 4)),
        ({"watch": {"prompts": 8}}, (1, 8, 4)),
        ({"mode": "published", "watch": {"patience": 2}}, (25, 64, 2)),
        ({"mode": "published", "watch": {"every": 4}}, (4, 64, 4)),
        ({"mode": "published", "watch": {"patience": None}}, (25, 64, None)),
        ({"mode": "published", "watch": {}}, (25, 64, 4)),
        ({"mode": "published"}, (25, 64, 4)),
        ({"mode": "dpo", "watch": {"prompts": 8, "patience": 1}}, (25, 8, 1)),
        # Of a model that was built already its fields count that were set; 4 is given even where it is the default.
        ({"mode": "published", "watch": WatchConfig(patience=2)}, (25, 64, 2)),
        ({"mode": "published", "watch": WatchConfig(every=4)}, (4, 64, 4)),
        ({"mode": "dpo", "watch": WatchConfig(prompts=8).model_copy(update={"every": 3})}, (3, 8, 4)),
        ({"mode": "dpo", "watch": WatchConfig()}, (25, 64, 4)),
    ],
    ids=repr,
)
def test_a_nested_knob_leaves_its_neighbours_to_the_mode(
    values: dict[str, Any], watch: tuple[int, int, int | None]
) -> None:
    before = copy.deepcopy((values, PRESETS))
    made = AlignConfig.model_validate(values).watch
    assert (made.every, made.prompts, made.patience) == watch
    assert (values, PRESETS) == before, "neither is changed"


def test_groups_that_no_mode_sets_keep_their_own_defaults() -> None:
    made = AlignConfig.model_validate({"mode": "dpo", "lora": {"rank": 2}, "dpo": {"pairs": 3}})
    assert (made.lora, made.dpo) == (LoraConfig(rank=2), DPOConfig(pairs=3))
    assert made.iterations == 200


@pytest.mark.parametrize("name", NAMES)
def test_a_written_configuration_reads_back_as_it_was(name: str) -> None:
    made = AlignConfig.model_validate({"mode": name, "watch": {"patience": 2}})
    assert AlignConfig.model_validate(made.model_dump()) == made == AlignConfig.model_validate(dict(made))
    assert AlignConfig.model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize("wrong", [{"mode": "DPO"}, {"mode": ["dpo"]}, {"mode": None}])
def test_a_wrong_mode_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="mode") as caught:
        AlignConfig.model_validate(wrong)
    if isinstance(wrong["mode"], str):
        assert "must be one of ddpo, published, dpok, dpo" in str(caught.value)


def test_gamma_is_a_parameter_of_its_own() -> None:
    with pytest.raises(ValidationError, match="gamma"):
        AlignConfig.model_validate({"gamma": {"kind": "static"}})


def test_pairs_are_weighed_or_not_and_nothing_else() -> None:
    assert AlignConfig(mode="dpo").trust == "none" and AlignConfig(mode="published").trust == "weight"
    assert AlignConfig(mode="dpo", trust="weight").trust == "weight"
    for mode in (name for name, preset in PRESETS.items() if not preset.compares):
        for trust in ("gate", "pessimistic"):
            with pytest.raises(
                ValidationError, match=f"trust: {trust} needs samples that are compared, which mode {mode}"
            ):
                AlignConfig.model_validate({"mode": mode, "trust": trust})


@pytest.mark.parametrize("mode", NAMES)
def test_what_a_mode_would_ignore_is_refused(mode: str) -> None:
    preset = PRESETS[mode]
    known = {"norm_ceiling": preset.ceiling, "kl": preset.kl, "inner_updates": preset.compares}
    for knob, used in known.items():
        if not used:
            with pytest.raises(ValidationError, match=f"{knob}: mode {mode} "):
                AlignConfig.model_validate({"mode": mode, knob: 2})
        else:
            assert getattr(AlignConfig.model_validate({"mode": mode, knob: 2}), knob) == 2


@pytest.mark.parametrize("wrong", [None, 3, {"evry": 1}, DPOConfig(pairs=3)])
def test_a_wrong_group_is_refused(wrong: Any) -> None:
    with pytest.raises(ValidationError, match="watch"):
        AlignConfig.model_validate({"mode": "published", "watch": wrong})


# A value for every kind of knob that no mode and no default has, and that is allowed beside any other.
OTHER: dict[str, Any] = {
    **{"seed": 5, "iterations": 11, "tune": "lora", "lr": 0.5, "weight_decay": 0.5, "gradient_norm": 7.0},
    **{"average": 0.25, "prompts": 48, "candidates": 6, "advantage_clip": 2.0, "steps": 60, "trained_steps": 2},
    **{"least_sigma": 0.5, "clip": 0.5, "micro_batch": 3, "keep_last": 5},
    "watch": {"every": 9, "prompts": 9, "patience": 9},
    "lora": {"rank": 3, "alpha": 3},
    "dpo": {"pairs": 3, "beta": 3.0},
    "gate": {"share": 0.5, "weight": 3.0, "refresh": 0.5},
    "pessimism": 3.0,
}
PLACES = [(name, inner) for name, value in OTHER.items() for inner in (value if isinstance(value, dict) else [None])]
MODELS: dict[str, type[BaseModel]] = {
    "watch": WatchConfig,
    "lora": LoraConfig,
    "dpo": DPOConfig,
    "gate": GateConfig,
}


@given(st.sampled_from(NAMES), st.sets(st.sampled_from(PLACES)), st.booleans())
def test_any_knobs_change_what_they_name_and_nothing_else(
    name: str, chosen: set[tuple[str, str | None]], built: bool
) -> None:
    values: dict[str, Any] = {"mode": name}
    expected = AlignConfig.model_validate({"mode": name}).model_dump()
    for knob, inner in chosen:
        if inner is None:
            values[knob] = expected[knob] = OTHER[knob]
        else:
            values.setdefault(knob, {})[inner] = expected[knob][inner] = OTHER[knob][inner]
    if built:
        values |= {knob: MODELS[knob](**values[knob]) for knob in MODELS if knob in values}
    assert AlignConfig.model_validate(values).model_dump() == expected
