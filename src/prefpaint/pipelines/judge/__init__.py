"""Train the judge of photographs, which the simulated raters share; not part of the default run."""

from prefpaint.pipelines.judge.pipeline import create_pipeline

__all__ = ["create_pipeline"]
