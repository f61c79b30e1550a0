"""The project's own `kedro` commands; errors that the user can mend are shown as one sentence."""

import warnings
from pathlib import Path
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


@click.command("import-reward", cls=OneSentence)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--env", "-e", default=None, help="Configuration environment.")
def import_reward(file: Path, env: str | None) -> None:
    """Make the published reward weights in FILE the project's reward model."""
    import pandas as pd
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project

    from prefpaint.reward.published import load_published

    model = load_published(file)
    bootstrap_project(Path.cwd())
    session: Any
    with KedroSession.create(Path.cwd(), env=env) as session:
        catalog = session.load_context().catalog
        catalog.save("reward_model", model)
        catalog.save("reward_history", pd.DataFrame({"epoch": [0]}))  # nothing was trained here
    option = f" --env={env}" if env else ""
    click.echo(
        f"The reward model is now that of {file}. Score the candidates with it next:\n"
        f"  kedro run --pipeline=reward --from-nodes=score_candidates_with_reward{option}\n"
        f"and go on with bound and align."
    )


cli = click.Group("kedro", commands={"run": run, "import-reward": import_reward})
