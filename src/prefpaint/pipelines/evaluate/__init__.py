"""Evaluate: base and aligned model on prompts kept for this, and the page about it."""

from prefpaint.pipelines.evaluate.pipeline import create_pipeline

__all__ = ["create_pipeline"]
