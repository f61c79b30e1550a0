"""One page about everything that was measured."""

from prefpaint.pipelines.report.pipeline import create_pipeline

__all__ = ["create_pipeline"]
