"""View-change holes known to the pixel."""

import numpy as np
import pytest

from prefpaint.masks.warp import Pose, orbit_pose, view_grid, warp_view

SIZE = 16


def shifted(x: float) -> Pose:
    """The scene moves to the right, the camera to the left."""
    return Pose(np.eye(3), np.array([x, 0.0, 0.0]))


def two_planes() -> tuple[np.ndarray, np.ndarray]:
    """A near square (depth 1, columns and rows 6-9) before a far wall (depth 4)."""
    depth = np.full((SIZE, SIZE), 4.0)
    depth[6:10, 6:10] = 1.0
    image = np.full((SIZE, SIZE, 3), 50, np.uint8)
    image[6:10, 6:10] = 200
    return image, depth


def test_no_motion_opens_no_hole() -> None:
    image, depth = two_planes()
    warped, mask = warp_view(image, depth, shifted(0.0), focal=16.0)
    assert mask.sum() == 0
    np.testing.assert_array_equal(warped, image)


def test_a_pure_translation_of_one_plane_uncovers_its_edge() -> None:
    image = np.arange(SIZE * SIZE * 3, dtype=np.uint8).reshape(SIZE, SIZE, 3)
    # Parallax = focal · x / depth = 16 · 0.5 / 2 = 4 pixels to the right.
    warped, mask = warp_view(image, np.full((SIZE, SIZE), 2.0), shifted(0.5), focal=16.0)
    expected = np.zeros((SIZE, SIZE), np.uint8)
    expected[:, :4] = 1
    np.testing.assert_array_equal(mask, expected)
    np.testing.assert_array_equal(warped[:, 4:], image[:, :-4])


def test_the_holes_of_two_planes_are_known_to_the_pixel() -> None:
    image, depth = two_planes()
    # The far wall moves 16 · 0.25 / 4 = 1 pixel, the near square 16 · 0.25 / 1 = 4: from columns 6-9 to 10-13.
    warped, mask = warp_view(image, depth, shifted(0.25), focal=16.0)
    expected = np.zeros((SIZE, SIZE), np.uint8)
    expected[:, 0] = 1  # the wall's left edge came in
    # The square hid wall columns 6-9, which are now at 7-10; at 10 the square itself covers them.
    expected[6:10, 7:10] = 1
    np.testing.assert_array_equal(mask, expected)
    assert (warped[6:10, 10:14] == 200).all(), "the nearest surface wins"
    assert (warped[mask == 1] == 0).all()


def test_the_orbit_keeps_its_pivot_in_the_middle() -> None:
    pose = orbit_pose(0.3, -0.15, 2.5)
    np.testing.assert_allclose(pose.rotation @ [0, 0, 2.5] + pose.translation, [0, 0, 2.5], atol=1e-12)
    np.testing.assert_allclose(pose.rotation @ pose.rotation.T, np.eye(3), atol=1e-12)


def test_a_right_angle_by_hand() -> None:
    # Turning by 90° about the vertical axis takes the optical axis to the right.
    rotation = orbit_pose(np.pi / 2, 0.0, 1.0).rotation
    np.testing.assert_allclose(rotation @ [0, 0, 1], [1, 0, 0], atol=1e-12)


def test_the_nine_published_views() -> None:
    views = view_grid(0.3, 0.15)
    assert len(set(views)) == 9 and (0.0, 0.0) in views
    assert {yaw for yaw, _ in views} == {-0.3, 0.0, 0.3} and {pitch for _, pitch in views} == {-0.15, 0.0, 0.15}


@pytest.mark.parametrize("scale", [0.5, 10.0])
def test_holes_do_not_depend_on_the_unit_of_depth(scale: float) -> None:
    image, depth = two_planes()
    masks = [warp_view(image, s * depth, orbit_pose(0.2, 0.1, s * 2.0), 16.0)[1] for s in (1.0, scale)]
    np.testing.assert_array_equal(*masks)
