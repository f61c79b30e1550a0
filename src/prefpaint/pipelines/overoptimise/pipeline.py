"""The `overoptimise` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.align.pipeline import job_node
from prefpaint.pipelines.overoptimise.nodes import overoptimise


def create_pipeline() -> Pipeline:
    """Base model and ratings → what uses of trust come to where a reward is over-optimised."""
    return Pipeline(
        [
            job_node(),
            Node(
                name="overoptimise",
                func=overoptimise,
                inputs=["align_job", "overoptimise_workspace", "params:overoptimise"],
                outputs=["overoptimise_table", "overoptimise_curves", "overoptimise_markdown", "overoptimise_figure"],
            ),
        ]
    )
