"""The `pretrain` pipeline."""

from kedro.pipeline import Pipeline, node

from prefpaint.pipelines.pretrain import nodes


def create_pipeline() -> Pipeline:
    """Photographs and depth, as `masks` made them → base model."""
    return Pipeline(
        [
            node(
                nodes.pretrain_base_model,
                [
                    "photographs",
                    "depth_maps",
                    "photograph_table",
                    "params:photographs",
                    "params:pretrain",
                    "pretrain_workspace",
                ],
                "base_model",
                name="pretrain_base_model",
            )
        ]
    )
