"""The `rehearse` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.rehearse.nodes import rehearse
from prefpaint.pipelines.wiring import named


def create_pipeline() -> Pipeline:
    """conf/paper and conf/rehearsal → what every stage takes, and what a whole run would."""
    return Pipeline(
        [
            Node(
                name="rehearse",
                func=rehearse,
                inputs=named("judge", workspace="rehearsal_workspace", config="params:rehearse"),
                outputs=["rehearsal_metrics", "rehearsal_markdown"],
            )
        ]
    )
