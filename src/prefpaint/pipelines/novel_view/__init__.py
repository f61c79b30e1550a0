"""Pictures seen from other places."""

from prefpaint.pipelines.novel_view.pipeline import create_pipeline

__all__ = ["create_pipeline"]
