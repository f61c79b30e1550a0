"""The `masks` pipeline."""

from kedro.pipeline import Pipeline, node

from prefpaint.pipelines.masks import nodes


def create_pipeline() -> Pipeline:
    """Photographs → regions and depth → prompts."""
    configs = ["params:photographs", "params:masks"]
    pictures = ["photographs", "depth_maps"]
    return Pipeline(
        [
            node(nodes.collect_photographs, "params:photographs", "photographs", name="collect_photographs"),
            node(
                nodes.list_regions,
                ["params:photographs", "photographs"],
                ["photograph_table", "photograph_report"],
                name="divide_photographs_into_splits",
            ),
            node(
                nodes.estimate_depth,
                ["photograph_table", "photographs", *configs],
                "depth_maps",
                name="estimate_depth",
            ),
            node(nodes.plan_prompts, ["photograph_table", *configs], "prompt_plan", name="plan_prompts"),
            node(
                nodes.make_prompts,
                ["prompt_plan", *pictures, *configs],
                ["prompt_images", "prompt_masks"],
                name="make_prompts",
            ),
            node(
                nodes.record_prompts,
                ["prompt_plan", *pictures, "prompt_images", "prompt_masks", *configs],
                "prompts",
                name="record_prompts",
            ),
            node(
                nodes.show_prompts, ["prompts", "prompt_images", "prompt_masks"], "masks_preview", name="show_prompts"
            ),
        ]
    )
