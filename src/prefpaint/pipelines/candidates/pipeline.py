"""The `candidates` pipeline."""

from kedro.pipeline import Pipeline, node

from prefpaint.pipelines.candidates import nodes


def create_pipeline() -> Pipeline:
    """Prompts → candidates."""
    given = ["prompts", "prompt_images", "prompt_masks"]
    return Pipeline(
        [
            node(
                nodes.paint_candidates,
                ["base_model", *given, "params:sampling", "params:candidates"],
                "candidate_images",
                name="paint_candidates",
            ),
            node(
                nodes.record_candidates,
                ["prompts", "candidate_images", "params:candidates"],
                "candidates",
                name="record_candidates",
            ),
            node(
                nodes.show_candidates,
                [*given, "candidates", "candidate_images"],
                "candidates_preview",
                name="show_candidates",
            ),
        ]
    )
