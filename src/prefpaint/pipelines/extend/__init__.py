"""Pictures made wider by the aligned model."""

from prefpaint.pipelines.extend.pipeline import create_pipeline

__all__ = ["create_pipeline"]
