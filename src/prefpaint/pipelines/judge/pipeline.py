"""The `judge` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.judge.nodes import train_judge


def create_pipeline() -> Pipeline:
    """Photographs and the base's fills of them → judge."""
    return Pipeline(
        [
            Node(
                name="train_judge",
                func=train_judge,
                inputs=["base_model", "params:pretrain", "params:sampling", "params:judge", "judge_workspace"],
                outputs="judge",
            )
        ]
    )
