"""The `seeds` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.align.pipeline import job_node
from prefpaint.pipelines.seeds.nodes import repeat_training


def create_pipeline() -> Pipeline:
    """What an alignment starts from + further seeds → one table of gains."""
    return Pipeline(
        [
            job_node(),
            Node(
                name="repeat_training",
                func=repeat_training,
                inputs=[
                    "align_job",
                    "evaluate_metrics",
                    "seeds_workspace",
                    "params:bound",
                    "params:evaluate",
                    "params:seeds",
                ],
                outputs=["seeds_table", "seeds_markdown"],
            ),
        ]
    )
