"""The same training from other seeds, in one table; not part of the default run."""
