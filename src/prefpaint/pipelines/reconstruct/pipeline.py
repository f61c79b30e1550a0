"""The `reconstruct` pipeline."""

from kedro.pipeline import Node, Pipeline

from prefpaint.pipelines.reconstruct import nodes
from prefpaint.pipelines.wiring import named


def create_pipeline() -> Pipeline:
    """Base and aligned model + one photograph with depth → two scenes as files, frames, and how true they are."""
    models = named(base="base_model", aligned="aligned_model")
    judges = named("reward_model", "choice_errors")
    scenes = named(
        base_scene="reconstruct_base_scene", aligned_scene="reconstruct_aligned_scene", subject="reconstruct_subject"
    )
    subject = named(subject="reconstruct_subject", name="reconstruct_name")
    sampling, config = named(sampling="params:sampling"), named(config="params:reconstruct")
    masks, workspace = named(masks="params:masks"), named(workspace="reconstruct_workspace")
    return Pipeline(
        [
            Node(
                name="prepare_photograph",
                func=nodes.prepare_photograph,
                inputs=named("photographs", "depth_maps", regions="photograph_table") | masks | config,
                outputs=["reconstruct_subject", "reconstruct_name"],
            ),
            Node(
                name="build_scenes",
                func=nodes.build_scenes,
                inputs=models | judges | subject | sampling | masks | config | workspace,
                outputs=["reconstruct_base_scene", "reconstruct_aligned_scene"],
            ),
            Node(
                name="make_folder",
                func=nodes.make_folder,
                inputs=models | judges | sampling | masks | config | workspace,
                outputs="reconstruct_scenes",
            ),
            Node(
                name="export_scenes",
                func=nodes.export_scenes,
                inputs=scenes,
                outputs=[
                    "reconstruct_base_mesh",
                    "reconstruct_aligned_mesh",
                    "reconstruct_base_points",
                    "reconstruct_aligned_points",
                ],
            ),
            Node(
                name="render_frames",
                func=nodes.render_frames,
                inputs=models | named("reward_model") | scenes | sampling | masks | config,
                outputs="reconstruct_frames",
            ),
            Node(
                name="animate_scenes",
                func=nodes.animate,
                inputs="reconstruct_frames",
                outputs=["reconstruct_animation", "reconstruct_video"],
            ),
            Node(
                name="measure_scenes",
                func=nodes.measure,
                inputs=models | judges | scenes | named(name="reconstruct_name") | sampling | config | workspace,
                outputs=["reconstruct_metrics", "reconstruct_figure"],
            ),
        ]
    )
