"""Kedro's `run` command, with errors that the user can mend shown as one sentence."""

import warnings
from typing import Any

import click
from kedro import KedroDeprecationWarning
from kedro.framework.cli.project import run as kedro_run
from kedro.validation import DataValidationError

from prefpaint.errors import PrefPaintError


def user_message(error: BaseException) -> str | None:
    """The sentence for the person at the terminal, or None for an error that is the program's own."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, PrefPaintError):
            return str(cause)
        cause = cause.__cause__
    # A validator that raises no PrefPaintError of its own: Kedro's report on one line.
    return " ".join(str(error).split()) if isinstance(error, DataValidationError) else None


class OneSentence(click.Command):
    """A command that shows a user's mistake without a traceback; other errors keep theirs."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; exit code 1 for a mistake."""
        # Kedro 1.7 announces `--pipelines` as the new name of `--pipeline`; both work.
        warnings.filterwarnings("ignore", category=KedroDeprecationWarning)
        try:
            return super().invoke(ctx)
        except Exception as error:
            message = user_message(error)
            if message is None:
                raise
            raise click.ClickException(message) from error


run = OneSentence("run", params=kedro_run.params, callback=kedro_run.callback, help=kedro_run.help)
cli = click.Group("kedro", commands={"run": run})
