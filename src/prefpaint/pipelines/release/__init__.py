"""The aligned checkpoint with its model card, ready to be passed on."""

from prefpaint.pipelines.release.pipeline import create_pipeline

__all__ = ["create_pipeline"]
