"""Scenes in three dimensions: geometry known to the pixel, fills shared by views, files that others can read."""

import io
import json
import os
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import trimesh
from PIL import Image
from pydantic import ValidationError

from prefpaint.applications.depth_filling import fill_depth, filled_sheet, outlooks
from prefpaint.applications.own_pictures import own_picture, read_depth
from prefpaint.applications.reconstruct import Builder, frames_work, paint_holes, reconstruct, reconstruct_in
from prefpaint.applications.reconstruct_config import ReconstructConfig
from prefpaint.applications.reconstruct_quality import consistency_metrics, independent_fills, stereo_metrics
from prefpaint.applications.scene import TEAR, Camera, Sheet, photograph_sheet, render, settle_edges
from prefpaint.applications.scene_files import linear, mesh, point_cloud, surface
from prefpaint.applications.subject import Subject, all_views, check_memory, free_memory, grid_views, prepare
from prefpaint.errors import PrefPaintError
from prefpaint.images import ImageFolder, complete_folder
from prefpaint.inpainting.checkpoint import load_pipeline
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.sampling import Inpainter
from prefpaint.masks.warp import orbit_pose, warp_view
from tests.conftest import Project
from tests.rasterise import rasterise
from tests.test_cli_errors import sentence
from tests.tiny import write_tiny_chooser

SIDE, FOCAL, PIVOT = 64, 66.0, 2.0
PARALLAX = FOCAL * PIVOT * 0.3
SMALL = ReconstructConfig(longest_side=40, frames=5, resamples=100)


def drawn(camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A wall (z = 4 + x / 4), a floor (y = 1.2) and a sphere before them, ray by ray from any camera.

    Returns:
        Picture (H, W, 3) uint8, depth (H, W) along the optical axis, and which of the three each pixel shows.
    """
    index = np.arange(camera.height * camera.width)
    origin = -camera.pose.rotation.T @ camera.pose.translation
    rays = camera.to_world(index, np.ones(len(index))) - origin
    with np.errstate(divide="ignore", invalid="ignore"):
        wall = (4 + origin[0] / 4 - origin[2]) / (rays[:, 2] - rays[:, 0] / 4)
        floor = (1.2 - origin[1]) / rays[:, 1]
        centre, radius = np.array([0.1, 0.2, 2.0]), 0.45
        a, b = (rays**2).sum(1), rays @ (origin - centre)
        root = b**2 - a * (((origin - centre) ** 2).sum() - radius**2)
        sphere = (-b - np.sqrt(root)) / a
    distances = np.stack([wall, floor, sphere], 1)
    distances = np.where(np.isfinite(distances) & (distances > 1e-6), distances, np.inf)
    kind = distances.argmin(1)
    # A ray of length 1 along the axis: distances are depths.
    depth = distances.min(1)
    points = origin + rays * depth[:, None]
    checks = (np.floor(points * 3).sum(1) % 2).astype(int)
    tint = np.array([[200, 90, 60], [70, 160, 90], [60, 90, 210]])[kind]
    colours = np.clip(tint + 30 * checks[:, None], 0, 255).astype(np.uint8)
    shape = camera.height, camera.width
    return colours.reshape(*shape, 3), depth.reshape(shape), kind.reshape(shape)


def camera(yaw: float, pitch: float = 0.0) -> Camera:
    return Camera(orbit_pose(yaw, pitch, PIVOT), FOCAL, SIDE, SIDE)


def photograph() -> Sheet:
    image, depth, _ = drawn(camera(0))
    return photograph_sheet(image, depth, FOCAL, PARALLAX)


@pytest.fixture(scope="module")
def inpainter(tiny_base: Path) -> Inpainter:
    return Inpainter(load_pipeline(tiny_base), SamplingConfig(steps=2, batch=4), "cpu")


def subject(config: ReconstructConfig = SMALL) -> Subject:
    image, depth, _ = drawn(camera(0))
    return prepare(image, depth, "measured", config)


def test_a_camera_undoes_itself() -> None:
    view = camera(0.3, -0.1)
    index = np.arange(SIDE * SIDE)
    pixel, depth = view.pixels(view.to_world(index, np.full(len(index), 1.7)))
    np.testing.assert_array_equal(pixel, index)
    np.testing.assert_allclose(depth, 1.7, rtol=1e-12)


@pytest.mark.parametrize("view", [(0.3, 0.0), (-0.2, 0.15), (0.0, 0.0)])
def test_one_sheet_is_warped_as_prompts_are(view: tuple[float, float]) -> None:
    image, depth, _ = drawn(camera(0))
    seen = render([photograph()], camera(*view))
    warped, hole = warp_view(image, depth, camera(*view).pose, FOCAL)
    np.testing.assert_array_equal(seen.hole, hole)
    np.testing.assert_array_equal(seen.picture, warped)


@pytest.mark.parametrize("yaw", [0.25, -0.25])
def test_what_is_seen_is_where_it_is(yaw: float) -> None:
    seen = render([photograph()], camera(yaw))
    _, depth, kind = drawn(camera(yaw))
    inner = seen.hole == 0
    # Within a pixel of an edge, either surface may be seen.
    for axis in (0, 1):
        for shift in (-1, 1):
            inner &= np.roll(kind, shift, axis) == kind
    # A pixel's depth is that of its middle; the steepest surface changes by 7 % from pixel to pixel.
    np.testing.assert_allclose(seen.depth[inner], depth[inner], rtol=0.07)
    assert np.median(np.abs(seen.depth[inner] / depth[inner] - 1)) < 0.01


@pytest.mark.parametrize("yaw", [0.25, -0.25])
def test_holes_are_filled_with_what_is_behind(yaw: float) -> None:
    """Wall and floor continue behind the sphere, as planes: the sphere does not pull them forward."""
    seen = render([photograph()], camera(yaw))
    _, truth, kind = drawn(camera(yaw))
    filled = fill_depth(seen)
    np.testing.assert_array_equal(filled[seen.hole == 0], seen.depth[seen.hole == 0])
    middle = seen.hole > 0
    middle[:, : SIDE // 5] = middle[:, -SIDE // 5 :] = False
    assert middle.sum() > 100, "behind the sphere"
    # In pixels by which the farthest camera would see it displaced; with the sphere's depth it would be 15.
    # What the photograph does not see of the sphere itself does not count: nothing says that it is there.
    error = PARALLAX * np.abs(1 / filled - 1 / truth)[middle & (kind < 2)]
    # Where wall and floor meet inside a hole, no plane is both: 1.3 pixels at most; half are within half a pixel.
    assert np.median(error) < 0.5 and error.max() < 1.5


def test_a_hole_in_a_plane_is_a_plane() -> None:
    camera_ = camera(0)
    ys, xs = np.mgrid[:SIDE, :SIDE]
    depth = 1 / (0.3 + 0.002 * xs + 0.001 * ys)
    seen = render([photograph_sheet(np.zeros((SIDE, SIDE, 3), np.uint8), depth, FOCAL, PARALLAX)], camera_)
    seen.hole[20:40, 20:40] = 1
    seen.depth[20:40, 20:40] = 0
    np.testing.assert_allclose(fill_depth(seen), depth, rtol=1e-3)
    # An estimate of another scale and shift says the same.
    estimate = 1 / (3 / depth + 0.5)
    np.testing.assert_allclose(fill_depth(seen, estimate), depth, rtol=1e-3)


def test_pixels_between_two_surfaces_go_to_the_nearer() -> None:
    depth = np.full((9, 12), 4.0)
    depth[:, :5] = 1.0
    depth[:, 5] = 1.4
    settled = settle_edges(depth, 40.0)
    assert set(np.unique(settled)) == {1.0, 4.0}
    assert (settled[:, :7] == 1.0).all() and (settled[:, 7:] == 4.0).all(), "the near side takes one pixel more"


def test_a_scene_keeps_the_photograph_and_has_no_holes_where_it_was_painted(inpainter: Inpainter) -> None:
    one = subject()
    sheets = reconstruct(inpainter, one, [(0.3, 0.0), (-0.3, 0.0)], 0)
    assert len(sheets) == 3 and all(sheet.own.any() for sheet in sheets)
    np.testing.assert_array_equal(render(sheets, one.camera(0, 0)).picture, one.image)
    seen = render(sheets, one.camera(-0.3, 0.0))
    assert not seen.hole.any() and seen.filled.any()
    again = reconstruct(inpainter, one, [(0.3, 0.0), (-0.3, 0.0)], 0)
    np.testing.assert_array_equal(again[2].colours, sheets[2].colours)


def test_the_next_view_sees_what_was_painted_before(inpainter: Inpainter) -> None:
    one = subject()
    builder = Builder(one, [])
    first, second = one.camera(0.3, 0.0), one.camera(0.3, 0.05)
    alone = builder.see(second).hole.sum()
    seen = builder.see(first)
    painted = paint_holes(inpainter, seen, 0)
    np.testing.assert_array_equal(painted[seen.hole == 0], seen.picture[seen.hole == 0])
    builder.add(first, seen, painted)
    assert builder.see(second).hole.sum() < 0.4 * alone


def test_the_fill_that_is_chosen_is_kept(inpainter: Inpainter) -> None:
    seen = Builder(subject(), []).see(subject().camera(0.3, 0.0))
    first, last = (
        paint_holes(inpainter, seen, 0, samples=2, choose=lambda fills, hole, text, n=n: n)  # type: ignore[misc]
        for n in (0, 1)
    )
    assert (first != last).any()
    np.testing.assert_array_equal(first, paint_holes(inpainter, seen, 0))


def test_killed_scenes_go_on_to_the_same(inpainter: Inpainter, tmp_path: Path) -> None:
    one, views = subject(), grid_views(SMALL)[:4]

    def run(paint: object) -> list[Sheet]:
        return reconstruct_in(tmp_path, "scene", lambda: paint, "stamp", one, views, SMALL)

    whole = run(inpainter)
    folder = ImageFolder(tmp_path)
    checksums = {key: folder.checksum(key) for key in folder}
    assert list(checksums) == [f"view_{number:04d}" for number in range(4)]
    for key in ("view_0002", "view_0003"):
        folder.file(key).unlink()
    for sheets in (run(inpainter), run("nothing to paint")):
        assert {key: folder.checksum(key) for key in folder} == checksums
        for sheet, before in zip(sheets, whole, strict=True):
            np.testing.assert_array_equal(sheet.colours, before.colours)
            np.testing.assert_array_equal(sheet.depth, before.depth)
    frames = ImageFolder(tmp_path / "frames")
    complete_folder(frames, frames_work((whole, whole), one, SMALL, "stamp"))
    assert len(frames) == 5 and frames["frame_0000"].shape == (40, 80, 3)
    np.testing.assert_array_equal(frames["frame_0000"], np.concatenate([one.image, one.image], 1))


def test_shared_fills_agree_and_independent_ones_do_not(inpainter: Inpainter, tmp_path: Path) -> None:
    one = subject()
    sheets = reconstruct(inpainter, one, grid_views(SMALL), 0)
    alone = independent_fills(tmp_path, lambda: inpainter, "stamp", one, SMALL)
    found = consistency_metrics(sheets, alone, one, SMALL)
    assert found["consistency_pairs"] > 5
    assert found["consistency_ratio_low"] <= found["consistency_ratio"] <= found["consistency_ratio_high"]
    assert found["consistency_shared"] < found["consistency_independent"]


def test_the_truth_is_nearest_to_itself() -> None:
    truth = drawn(camera(0.1))[0]
    hole = np.zeros((SIDE, SIDE), np.uint8)
    hole[10:20, 10:50] = 1
    worse = np.where(hole[..., None] > 0, 255 - truth, truth)
    pictures = {"telea": worse, "base": worse, "aligned": worse, "scene": truth}
    found = stereo_metrics(hole, pictures, truth, 32, SMALL)
    assert found["stereo_windows"] == 6 and found["stereo_ssim_scene"] == 1.0
    assert found["stereo_stlpips_scene"] == 0.0 < found["stereo_stlpips_base"]
    assert found["stereo_psnr_gain_base_low"] > 10 and found["stereo_psnr_gain_telea"] > 10


def test_points_and_mesh_are_read_by_others() -> None:
    one = subject()
    builder = Builder(one, [])
    view = one.camera(0.3, 0.0)
    seen = builder.see(view)
    painted = np.where(seen.hole[..., None] > 0, np.uint8(77), seen.picture)
    builder.add(view, seen, painted)
    first, second = builder.sheets
    count = len(first.index) + int(second.own.sum())
    cloud = trimesh.load(io.BytesIO(point_cloud(builder.sheets)), file_type="ply")
    assert cloud.vertices.shape == (count, 3)
    np.testing.assert_array_equal(cloud.colors[: 40 * 40, :3], one.image.reshape(-1, 3))
    np.testing.assert_array_equal(cloud.colors[40 * 40 :, :3], np.full((count - 1600, 3), 77))
    # The first pixel, by hand: half a pixel from the corner, y up, z towards the viewer.
    z = one.depth[0, 0]
    expected = [(0.5 - 20) / one.focal * z, -(0.5 - 20) / one.focal * z, -z]
    np.testing.assert_allclose(cloud.vertices[0], expected, rtol=1e-6)

    data = mesh(builder.sheets, one.parallax)
    length = int.from_bytes(data[12:16], "little")
    tree = json.loads(data[20 : 20 + length])
    assert tree["extensionsUsed"] == ["KHR_materials_unlit"]
    (material,) = tree["materials"]
    assert material["pbrMetallicRoughness"] == {"roughnessFactor": 1.0, "metallicFactor": 0.0}
    assert len(tree["meshes"]) == 2, "a mesh for each sheet"
    (primitive,) = tree["meshes"][0]["primitives"]
    assert tree["accessors"][primitive["indices"]]["componentType"] == 5123, "16 bits"
    accessor = tree["accessors"][primitive["attributes"]["COLOR_0"]]
    assert (accessor["componentType"], accessor["type"], accessor["normalized"]) == (5123, "VEC4", True)
    loaded, fill = trimesh.load(io.BytesIO(data), file_type="glb").geometry.values()
    np.testing.assert_array_equal(fill.faces, surface(second, one.parallax)[2])
    # The picture's corner belongs to one pixel alone.
    np.testing.assert_allclose(loaded.vertices[0], [-20 / one.focal * z, 20 / one.focal * z, -z], rtol=1e-6)
    # From the photograph's camera every pixel is two triangles between its corners: no gap, tears or not.
    pixels = 2 * 40 * 40
    flat = -loaded.vertices[:, :2] / loaded.vertices[:, 2:] * one.focal * [1, -1] + 20
    places = flat[loaded.faces[:pixels]]
    # 1e-3: float32 positions, in pixels.
    np.testing.assert_allclose(places, np.rint(places), atol=1e-3)
    corners = np.rint(places).astype(int)
    assert (np.ptp(corners, axis=1) == 1).all()
    assert len({tuple(corner) for corner in corners[: pixels // 2].min(1)}) == 40 * 40
    # Seen from the photograph's camera, every triangle shows its front.
    normals = np.cross(*np.moveaxis(np.diff(loaded.vertices[loaded.faces[:500]], axis=1), 1, 0))
    assert ((normals * loaded.vertices[loaded.faces[:500, 0]]).sum(1) < 0).all()


def test_a_surface_is_torn_where_it_ends() -> None:
    """Two pixels beside each other, by hand: joined they share two corners, torn they share none."""
    depth, image = np.array([[1.0, 1.0]]), np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    for second, shared, inverse, light in ((1.25, 2, 0.9, 32768), (4.0, 0, 1.0, 0)):
        depth[0, 1] = second
        sheet = photograph_sheet(image, depth, 2.0, 1.0)
        points, colours, faces = surface(sheet, 5.0)
        assert len(points) == 8 - shared and faces.shape == (4, 3)
        # The corner in the middle of the upper edge, as the first pixel has it: means of inverse depth and of light.
        there = np.flatnonzero((points[:, 0] == 0) & (points[:, 1] < 0))
        place = there[points[there, 2].argmin()]
        assert 1 / points[place, 2] == pytest.approx(inverse)
        assert colours[place].tolist() == [light, light, light, 65535]


def test_linear_light_by_hand() -> None:
    # IEC 61966-2-1: 128 / 255 is 21.586 % of the light, 10 / 255 is 0.3035 % (the straight part).
    found = linear(np.array([[128, 10, 255]], np.uint8))
    np.testing.assert_array_equal(found, [[round(65535 * 0.2158605), round(65535 * 10 / 255 / 12.92), 65535, 65535]])


def test_depth_from_files(tmp_path: Path) -> None:
    depth = np.array([[1000, 0], [3000, 4000]], np.uint16)
    Image.fromarray(depth).save(tmp_path / "depth.png")
    np.save(tmp_path / "depth.npy", np.where(depth == 0, np.nan, depth).astype(np.float32))
    for name in ("depth.png", "depth.npy"):
        found = read_depth(tmp_path / name)
        assert found[0, 0] == 1000 and found[0, 1] in (1000, 4000) and found[1, 1] == 4000
    (tmp_path / "broken.png").write_bytes(b"no picture")
    np.save(tmp_path / "flat.npy", np.zeros((4, 4)))
    Image.new("RGB", (4, 4)).save(tmp_path / "colour.png")
    for name, message in (
        ("broken.png", "cannot be read"),
        ("nothing.png", "cannot be read"),
        ("flat.npy", "no value above 0"),
        ("colour.png", "one number for each pixel"),
    ):
        with pytest.raises(PrefPaintError, match=f"reconstruct.depth: .*{name}.*{message}"):
            read_depth(tmp_path / name)


def test_a_picture_of_ones_own(tmp_path: Path) -> None:
    Image.fromarray(drawn(camera(0))[0]).save(tmp_path / "own.png")
    own = tmp_path / "own.png"
    image, depth, source = own_picture(own, None, None)
    assert image.shape == (SIDE, SIDE, 3) and depth.shape == (SIDE, SIDE) and source == "guessed"
    np.save(tmp_path / "depth.npy", np.ones((SIDE, SIDE + 1)))
    with pytest.raises(PrefPaintError, match=r"reconstruct.depth: .*depth is 65 x 64 px, but the picture 64 x 64"):
        own_picture(own, tmp_path / "depth.npy", None)
    np.save(tmp_path / "depth.npy", np.ones((SIDE, SIDE)))
    assert own_picture(own, tmp_path / "depth.npy", None)[2] == "measured"
    with pytest.raises(ValidationError, match="either picture or folder"):
        ReconstructConfig(picture=own, folder=tmp_path)
    with pytest.raises(ValidationError, match="depth belongs to picture"):
        ReconstructConfig(depth=tmp_path / "depth.npy")


def test_a_flat_depth_is_said(caplog: pytest.LogCaptureFixture) -> None:
    prepare(np.zeros((40, 40, 3), np.uint8), np.full((40, 40), 2.0), "measured", SMALL)
    assert "the depth is flat" in caplog.text
    caplog.clear()
    subject()
    assert not caplog.text


def test_a_path_that_leaves_the_scene_is_refused(inpainter: Inpainter) -> None:
    far = SMALL.model_copy(update={"views": ((0.95, 0.9),)})
    image, depth, _ = drawn(camera(0))
    one = prepare(image, 5 * depth - 4.5 * depth.min(), "measured", far)
    with pytest.raises(PrefPaintError, match=r"leaves the scene: it sees \d+ % of its picture"):
        reconstruct(inpainter, one, [(0.95, 0.9)], 0)


def test_more_than_memory_is_refused_with_the_numbers() -> None:
    # 2e10 pixels: 1,750 + 4 · 33 bytes each, and twice 210 for the files.
    said = r"200000 x 100000 px from 33 views need about 46040\.0 GB .* 8400\.0 GB of it .* and \d+\.\d GB are free"
    with pytest.raises(PrefPaintError, match=said):
        check_memory(100_000, 200_000, 33)
    assert 0 < free_memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_views_of_ones_own_come_first() -> None:
    config = ReconstructConfig(views=((0.2, 0.0), (0.1, 0.1)), frames=5)
    assert all_views(config)[:2] == [(0.2, 0.0), (0.1, 0.1)] and len(all_views(config)) == 7
    assert grid_views(SMALL)[0] == (0.0, 0.0) and len(grid_views(SMALL)) == 9


def test_a_filled_sheet_owns_its_hole_alone() -> None:
    view = camera(0.2)
    seen = render([photograph()], view)
    sheet = filled_sheet(seen, view, seen.picture, fill_depth(seen), PARALLAX)
    assert sheet.own.sum() == seen.hole.sum() < len(sheet.own)


OUTER = [(0.3, 0.0), (-0.3, 0.0), (0.3, 0.15), (-0.3, -0.15)]


def test_fills_hide_nothing_that_was_photographed() -> None:
    """A hole whose depth is wrong, that of the sphere: the fill goes back behind what any outer view has seen."""
    first, view = photograph(), camera(0.3, 0.15)
    seen = render([first], view)
    wrong = np.where(seen.hole > 0, 1.6, seen.depth)
    before = outlooks(first, [camera(*one) for one in OUTER], PARALLAX)
    for guards, least, most in (([], 300, SIDE**2), (before, 0, 0)):
        sheet = filled_sheet(seen, view, seen.picture, wrong, PARALLAX, guards)
        hidden = 0
        for one in [(0.0, 0.0), *OUTER]:
            places = sheet.camera.to_world(sheet.index, sheet.depth)
            pixel, depth = camera(*one).pixels(places)
            known = render([first], camera(*one))
            there = (pixel >= 0) & (known.hole.reshape(-1)[pixel] == 0)
            excess = 1 / depth[there] - 1 / known.depth.reshape(-1)[pixel[there]]
            # As far as a tear: so that a surface can go on.
            hidden += int((excess * PARALLAX > TEAR + 1e-6).sum())
        assert least <= hidden <= most
    # What was right stays where it was, but for what would stand before the photograph by less than a pixel.
    right = fill_depth(seen)
    sheet = filled_sheet(seen, view, seen.picture, right, PARALLAX, before)
    moved = PARALLAX * np.abs(1 / sheet.depth - 1 / right.reshape(-1)[sheet.index])[sheet.own]
    assert np.median(moved) < 0.1 and np.quantile(moved, 0.9) < 1


def test_the_mesh_is_closed_and_shows_the_photograph() -> None:
    """Through a z-buffer, from the views that were painted and from between them."""
    builder = Builder(subject(ReconstructConfig(longest_side=SIDE)), OUTER)
    parallax = builder.subject.parallax
    for view in [*OUTER, (0.15, 0.0), (-0.15, 0.0)]:
        camera_ = builder.subject.camera(*view)
        seen = builder.see(camera_)
        exact = np.where(seen.hole[..., None] > 0, drawn(camera_)[0], seen.picture)
        builder.add(camera_, seen, exact)
    parts = [surface(sheet, parallax) for sheet in builder.sheets]
    starts = np.cumsum([0, *(len(points) for points, _, _ in parts)])
    points = np.concatenate([one for one, _, _ in parts])
    faces = np.concatenate([one + start for (_, _, one), start in zip(parts, starts, strict=False)])
    filled = np.repeat([sheet.filled for sheet in builder.sheets], [len(one) for _, _, one in parts])
    for view in [(0.0, 0.0), (0.08, 0.04), *OUTER, (0.22, 0.1), (-0.22, -0.05)]:
        number, depth = rasterise(points, faces, builder.subject.camera(*view))
        # Of 4,096 pixels at most 10 show what is behind the mesh; without skirts up to 127.
        assert (number < 0).sum() <= 15, view
        known = render(builder.sheets[:1], builder.subject.camera(*view))
        covered = (number >= 0) & filled[number] & (known.hole == 0)
        excess = 1 / depth[covered] - 1 / known.depth[covered]
        assert (excess * parallax < TEAR).all(), view
        if view == (0.0, 0.0):
            assert (number >= 0).all() and covered.mean() < 0.02


def test_the_pipeline(project: Project) -> None:
    assert project.run("run", "--pipeline=masks").returncode == 0
    aligned = project.path / "data/06_models/aligned"
    (project.path / "data/06_models/base").rename(aligned)
    aligned.with_name("base").symlink_to(aligned)
    write_tiny_chooser(aligned.parent)
    project.set(reconstruct={"photograph": "nobody"})
    assert "reconstruct.photograph: nobody was not found; choose from astronaut" in sentence(
        project.run("run", "--pipeline=reconstruct")
    )
    project.set(
        reconstruct={"photograph": "motorcycle", "frames": 5, "longest_side": 40, "views": [[0.2, 0.0]], "samples": 2}
    )
    done = project.run("run", "--pipeline=reconstruct")
    assert done.returncode == 0, done.stderr
    folder = project.path / "data/07_model_output/reconstruct"
    for name in ("base", "aligned"):
        assert (folder / f"{name}.glb").read_bytes().startswith(b"glTF")
        assert (folder / f"{name}.ply").read_bytes().startswith(b"ply\n")
    assert len(ImageFolder(folder / "frames")) == 5
    metrics = json.loads((project.path / "data/08_reporting/reconstruct_metrics.json").read_text())
    assert metrics["depth"] == "measured" and "stereo_psnr_gain_base_low" in metrics
    frames, _ = imageio_ffmpeg.count_frames_and_secs(str(project.path / "data/08_reporting/reconstruct.mp4"))
    assert frames == 5
