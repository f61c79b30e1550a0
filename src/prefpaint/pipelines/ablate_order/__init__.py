"""Prompts rated at random or by the trust width, in one table; not part of the default run."""
