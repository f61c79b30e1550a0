"""Ratings of candidates, checked and turned into scores."""

from prefpaint.pipelines.preferences.pipeline import create_pipeline

__all__ = ["create_pipeline"]
