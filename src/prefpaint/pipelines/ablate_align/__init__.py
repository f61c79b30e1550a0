"""Trust weights, constant factors and other ways of aligning, in one table; not part of the default run."""
