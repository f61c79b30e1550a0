"""The `pretrain` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.pretrain.nodes import pretrain_base_model


def create_pipeline() -> Pipeline:
    """The folder that `kedro photographs download` fills → base model."""
    return Pipeline(
        [
            Node(
                name="pretrain_base_model",
                func=pretrain_base_model,
                inputs=["params:pretrain", "pretrain_workspace"],
                outputs="base_model",
            )
        ]
    )
