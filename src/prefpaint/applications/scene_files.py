"""Scenes as files that other programs read: coloured points (PLY) and a mesh (GLB).

Both have y up and look along -z, as glTF does; the photograph's camera is at the origin.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from prefpaint.applications.scene import TEAR, Sheet

# From camera coordinates (y down, z forward) to those of glTF.
UPRIGHT = np.array([1.0, -1.0, -1.0])


def point_cloud(sheets: Sequence[Sheet]) -> bytes:
    """Every pixel of a scene as a point, a binary PLY file.

    Vertices have x, y, z (float32), red, green, blue (uchar, sRGB as in the picture) and filled (uchar, 1 where a model
    painted).
    """
    layout = np.dtype(
        [
            *((axis, "<f4") for axis in "xyz"),
            *((name, "u1") for name in ("red", "green", "blue", "filled")),
        ]
    )
    parts = []
    for sheet in sheets:
        part = np.zeros(int(sheet.own.sum()), layout)
        for number, axis in enumerate("xyz"):
            part[axis] = (sheet.points()[sheet.own] * UPRIGHT)[:, number]
        for number, name in enumerate(("red", "green", "blue")):
            part[name] = sheet.colours[sheet.own][:, number]
        part["filled"] = sheet.filled
        parts.append(part)
    vertices = np.concatenate(parts)
    kinds = {"f": "float", "u": "uchar"}
    names = [f"property {kinds[layout[name].kind]} {name}" for name in layout.names or ()]
    head = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}", *names, "end_header", ""]
    return "\n".join(head).encode() + vertices.tobytes()


def triangles(sheet: Sheet, parallax: float) -> np.ndarray:
    """Neighbouring pixels joined where no surface ends between them.

    Args:
        sheet: of a scene.
        parallax: pixels by which the farthest camera sees a point of inverse depth 1 move.

    Returns:
        (M, 3) int64, numbers of pixels of the sheet, counter-clockwise as its camera sees them with y up.
    """
    number = np.full(sheet.camera.height * sheet.camera.width, -1)
    number[sheet.index] = np.arange(len(sheet.index))
    grid = number.reshape(sheet.camera.height, sheet.camera.width)
    corners = grid[:-1, :-1], grid[1:, :-1], grid[:-1, 1:], grid[1:, 1:]
    top_left, bottom_left, top_right, bottom_right = (corner.ravel() for corner in corners)
    faces = np.concatenate(
        [
            np.stack([top_left, bottom_left, top_right], 1),
            np.stack([top_right, bottom_left, bottom_right], 1),
        ]
    )
    faces = faces[(faces >= 0).all(1)]
    # A triangle of pixels that are all of other sheets is in their mesh already.
    faces = faces[sheet.own[faces].any(1)]
    inverse = (1 / sheet.depth)[faces]
    return faces[np.ptp(inverse, axis=1) * parallax <= TEAR]


def linear(colours: np.ndarray) -> np.ndarray:
    """sRGB as glTF wants the colours of vertices: linear light (IEC 61966-2-1), with an opaque alpha.

    Args:
        colours: (N, 3) uint8.

    Returns:
        (N, 4) uint16, 65535 for 1; in 8 bits dark colours would show steps.
    """
    value = np.arange(256) / 255
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    table = np.rint(65535 * light).astype(np.uint16)
    return np.concatenate([table[colours], np.full((len(colours), 1), 65535, np.uint16)], 1)


def mesh(sheets: Sequence[Sheet], parallax: float) -> bytes:
    """The surfaces of a scene, a binary glTF file: one mesh with colours at its vertices, shown as bright as they are.

    Args:
        sheets: of the scene.
        parallax: see `triangles`.
    """
    import trimesh
    from trimesh.visual.material import PBRMaterial

    points, colours, faces, count = [], [], [], 0
    for sheet in sheets:
        found = triangles(sheet, parallax)
        used, places = np.unique(found, return_inverse=True)
        points.append(sheet.points()[used] * UPRIGHT)
        colours.append(linear(sheet.colours[used]))
        faces.append(places.reshape(-1, 3) + count)
        count += len(used)
    # Of glTF's own attributes trimesh writes colours in 8 bits only; an attribute of one's own keeps its 16.
    whole = trimesh.Trimesh(
        np.concatenate(points),
        np.concatenate(faces),
        vertex_attributes={"_COLOR": np.concatenate(colours)},
        process=False,
        validate=False,
    )
    whole.visual = trimesh.visual.TextureVisuals(
        material=PBRMaterial(metallicFactor=0.0, roughnessFactor=1.0, doubleSided=True)
    )
    return bytes(trimesh.Scene([whole]).export(file_type="glb", tree_postprocessor=_as_colours))


def _as_colours(tree: dict[str, Any]) -> None:
    """Make the attribute the vertices' colour, and ask viewers not to light what was lit when it was photographed."""
    for primitive in _primitives(tree):
        attributes = primitive["attributes"]
        attributes["COLOR_0"] = attributes.pop("_COLOR")
        accessor = tree["accessors"][attributes["COLOR_0"]]
        accessor["normalized"] = True
        for limit in ("min", "max"):
            accessor.pop(limit, None)
    for material in tree.get("materials", []):
        material["extensions"] = {"KHR_materials_unlit": {}}
    tree["extensionsUsed"] = sorted({*tree.get("extensionsUsed", []), "KHR_materials_unlit"})


def _primitives(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for one in tree["meshes"]:
        yield from one["primitives"]
