"""Objective and frozen share of the reward model, in one table; not part of the default run."""
