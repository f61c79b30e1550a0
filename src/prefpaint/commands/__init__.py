"""The project's own `kedro` commands."""
