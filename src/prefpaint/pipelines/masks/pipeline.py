"""The `masks` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.masks import nodes
from prefpaint.pipelines.wiring import named


def create_pipeline() -> Pipeline:
    """Photographs → regions and depth → prompts."""
    configs = {"source": "params:photographs", "config": "params:masks"}
    pictures = {"photographs": "photographs", "depths": "depth_maps", "holes": "own_holes"}
    return Pipeline(
        [
            Node(
                name="collect_photographs",
                func=nodes.collect_photographs,
                inputs=named(source="params:photographs"),
                outputs="photographs",
            ),
            Node(
                name="collect_masks",
                func=nodes.collect_holes,
                inputs=named("photographs", source="params:photographs"),
                outputs="own_holes",
            ),
            Node(
                name="divide_photographs_into_splits",
                func=nodes.list_regions,
                inputs=named("photographs", source="params:photographs", holes="own_holes"),
                outputs=["photograph_table", "annotation_table", "photograph_report"],
            ),
            Node(
                name="plan_prompts",
                func=nodes.plan_prompts,
                inputs=named(
                    "photographs",
                    **configs,
                    regions="photograph_table",
                    annotations="annotation_table",
                    holes="own_holes",
                    workspace="caption_workspace",
                ),
                outputs="prompt_plan",
            ),
            Node(
                name="estimate_depth",
                func=nodes.estimate_depth,
                # The plan comes first: where it stops, no depth has been estimated.
                inputs=named("photographs", **configs, regions="photograph_table", plan="prompt_plan"),
                outputs="depth_maps",
            ),
            Node(
                name="make_prompts",
                func=nodes.make_prompts,
                inputs=named(**pictures, **configs, plan="prompt_plan"),
                outputs=["prompt_images", "prompt_masks"],
            ),
            Node(
                name="record_prompts",
                func=nodes.record_prompts,
                inputs=named(**pictures, **configs, plan="prompt_plan", images="prompt_images", masks="prompt_masks"),
                outputs="prompts",
            ),
            Node(
                name="show_prompts",
                func=nodes.show_prompts,
                inputs=named("prompts", images="prompt_images", masks="prompt_masks"),
                outputs="masks_preview",
            ),
        ]
    )
