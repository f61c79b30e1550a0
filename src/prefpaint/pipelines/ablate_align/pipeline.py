"""The `ablate_align` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.ablate_align.nodes import ablate_align
from prefpaint.pipelines.align.pipeline import job_node


def create_pipeline() -> Pipeline:
    """Base model and trusted reward → what ways of aligning come to."""
    return Pipeline(
        [
            job_node(),
            Node(
                name="ablate_align",
                func=ablate_align,
                inputs=["align_job", "ablate_align_workspace", "params:ablate_align"],
                outputs=["ablate_align_table", "ablate_align_curves", "ablate_align_markdown", "ablate_align_figure"],
            ),
        ]
    )
