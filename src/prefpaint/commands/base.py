"""What all commands share: one sentence for a user's mistake, and access to the project's catalog and parameters."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from kedro import KedroDeprecationWarning
from kedro.framework.cli.utils import KedroCliError
from kedro.validation import DataValidationError

from prefpaint.errors import PrefPaintError

# What must exist before people can rate.
RATED = ("prompts", "candidates", "prompt_images", "prompt_masks", "candidate_images")

environment = click.option("--env", "-e", default=None, help="Configuration environment.")


def user_message(error: BaseException) -> str | None:
    """The sentence for the person at the terminal, or None for an error that is the program's own."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, PrefPaintError):
            return str(cause)
        cause = cause.__cause__
    # Kedro's own would add its Python name and an option that does nothing here.
    if isinstance(error, KedroCliError):
        return " ".join(error.message.split())
    # A validator that raises no PrefPaintError of its own: Kedro's report on one line.
    return " ".join(str(error).split()) if isinstance(error, DataValidationError) else None


class OneSentence(click.Command):
    """A command that shows a user's mistake without a traceback; other errors keep theirs."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; exit code 1 for a mistake."""
        # Kedro 1.7 announces `--pipelines` as the new name of `--pipeline`; both work.
        warnings.filterwarnings("ignore", category=KedroDeprecationWarning)
        with self.one_sentence():
            return super().invoke(ctx)

    @staticmethod
    @contextmanager
    def one_sentence() -> Iterator[None]:
        """Turn a user's mistake into click's own exception."""
        try:
            yield
        except Exception as error:
            message = user_message(error)
            if message is None:
                raise
            raise click.ClickException(message) from error


@contextmanager
def project(env: str | None) -> Iterator[Any]:
    """The context of the project around the current folder: `catalog` and `config_loader`."""
    import logging

    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project
    from kedro.utils import find_kedro_project

    # What is loaded from where matters in a run; here only the command's own output does.
    logging.getLogger("kedro").setLevel(logging.WARNING)
    root = find_kedro_project(Path.cwd()) or Path.cwd()
    bootstrap_project(root)
    session: Any
    with KedroSession.create(root, env=env) as session:
        yield session.load_context()


def load(catalog: Any, name: str) -> Any:
    """A dataset that a pipeline makes.

    Raises:
        PrefPaintError: it does not exist yet.
    """
    if not catalog.exists(name):
        option = " --pipelines=masks,candidates" if name in RATED else ""
        raise PrefPaintError(f"{name}: does not exist yet; run `kedro run{option}` or `dvc pull`")
    return catalog.load(name)


def warn_of_old(context: Any, names: tuple[str, ...]) -> None:
    """Say what is out of date among datasets; unlike a stage, a command shows what there is."""
    from prefpaint.provenance import read_provenance

    sentence = read_provenance(context.project_path, context.config_loader, context.catalog).check(names)
    if sentence:
        click.echo(f"Warning: {sentence.partition(', or add')[0]}", err=True)
