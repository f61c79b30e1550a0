"""The `candidates` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.candidates import nodes


def create_pipeline() -> Pipeline:
    """Prompts → candidates."""
    given = ["prompts", "prompt_images", "prompt_masks"]
    return Pipeline(
        [
            Node(
                name="paint_candidates",
                func=nodes.paint_candidates,
                inputs=["base_model", *given, "params:sampling", "params:candidates"],
                outputs="candidate_images",
            ),
            Node(
                name="record_candidates",
                func=nodes.record_candidates,
                inputs=["prompts", "candidate_images", "params:candidates"],
                outputs="candidates",
            ),
            Node(
                name="show_candidates",
                func=nodes.show_candidates,
                inputs=[*given, "candidates", "candidate_images"],
                outputs="candidates_preview",
            ),
        ]
    )
