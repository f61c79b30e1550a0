"""`python -m prefpaint`: the same as `kedro run` inside the project."""

import sys
from pathlib import Path

from kedro.framework.cli.utils import find_run_command
from kedro.framework.project import configure_project


def main() -> None:
    """Run a pipeline with the command line's options."""
    configure_project(Path(__file__).parent.name)
    find_run_command(Path(__file__).parent.name)(args=sys.argv[1:])


if __name__ == "__main__":
    main()
