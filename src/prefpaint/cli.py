"""The project's own `kedro` commands."""

import sys
from pathlib import Path
from types import TracebackType

import click

from prefpaint.commands.base import OneSentence, environment, project, user_message
from prefpaint.commands.photographs import photographs
from prefpaint.commands.raters import rate, raters, ratings
from prefpaint.commands.run import run
from prefpaint.commands.tryout import tryout
from prefpaint.lock import LOCK, RunLock


@click.command("import-reward", cls=OneSentence)
@click.argument("file", type=click.Path(path_type=Path))
@environment
def import_reward(file: Path, env: str | None) -> None:
    """Make the published reward weights in FILE the project's reward model."""
    import pandas as pd

    from prefpaint.reward.published import load_published

    model = load_published(file)
    with project(env) as context, RunLock(context.project_path / LOCK).unless_it_fails("kedro import-reward"):
        context.catalog.save("reward_model", model)
        context.catalog.save("reward_history", pd.DataFrame({"epoch": [0]}))  # nothing was trained here
    option = f" --env={env}" if env else ""
    click.echo(
        f"The reward model is now that of {file}. Score the candidates with it next:\n"
        f"  kedro run --pipeline=reward --from-nodes=score_candidates_with_reward{option}\n"
        f"then run bound and align."
    )


COMMANDS = (run, import_reward, photographs, rate, raters, ratings, tryout)
cli = click.Group("kedro", commands={str(command.name): command for command in COMMANDS})


def _in_one_sentence(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    message = user_message(error)
    if message is None:
        _shown_before(kind, error, trace)
    else:
        click.echo(f"Error: {message}", err=True)


# Kedro's own commands and those of its plugins read the configuration too.
_shown_before, sys.excepthook = sys.excepthook, _in_one_sentence
