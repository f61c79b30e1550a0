"""Kedro project settings."""

from prefpaint.hooks import InputsExist, NodeTimes, OneRun, ParametersFit, UpToDate
from prefpaint.parameters import ParametersLoader

HOOKS = (ParametersFit(), OneRun(), InputsExist(), UpToDate(), NodeTimes())

CONFIG_LOADER_CLASS = ParametersLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # Without this an environment that changes one number would have to repeat the whole top-level key.
    "merge_strategy": {"parameters": "soft"},
}
