"""Ways of aligning side by side, in one table; not part of the default run."""
