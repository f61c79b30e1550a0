"""What trust is worth where a reward is over-optimised, as curves and a table; not part of the default run."""
