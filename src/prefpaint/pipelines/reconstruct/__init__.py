"""A photograph as a scene in three dimensions."""

from prefpaint.pipelines.reconstruct.pipeline import create_pipeline

__all__ = ["create_pipeline"]
