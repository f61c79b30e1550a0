"""The default parameters."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from prefpaint.preferences.config import PreferencesConfig

BASE = Path(__file__).parents[2] / "conf" / "base"


def test_conf_base_writes_out_the_defaults() -> None:
    written = yaml.safe_load((BASE / "parameters_preferences.yml").read_text())["preferences"]
    assert PreferencesConfig.model_validate(written) == PreferencesConfig()


def test_misspelt_parameters_are_refused() -> None:
    with pytest.raises(ValidationError, match="sed"):
        PreferencesConfig.model_validate({"sed": 1})


def test_simulated_raters_say_what_they_are() -> None:
    assert all(rater.name.startswith("simulated") for rater in PreferencesConfig().simulated.raters)
