"""Scenes as files that other programs read: coloured points (PLY) and a mesh (GLB).

Both have y up and look along -z, as glTF does; the photograph's camera is at the origin.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from prefpaint.applications.scene import Sheet

# From camera coordinates (y down, z forward) to those of glTF.
UPRIGHT = np.array([1.0, -1.0, -1.0])
# Neighbours are joined if the farthest camera sees them part by no more than this many pixels more than the
# photograph's does. Points close gaps as narrow, so nothing is painted behind them, and a torn mesh would show through.
GAP = 3.0


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
        places = sheet.camera.to_world(sheet.index[sheet.own], sheet.depth[sheet.own]) * UPRIGHT
        for number, axis in enumerate("xyz"):
            part[axis] = places[:, number]
        for number, name in enumerate(("red", "green", "blue")):
            part[name] = sheet.colours[sheet.own][:, number]
        part["filled"] = sheet.filled
        parts.append(part)
    vertices = np.concatenate(parts)
    kinds = {"f": "float", "u": "uchar"}
    names = [f"property {kinds[layout[name].kind]} {name}" for name in layout.names or ()]
    head = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}", *names, "end_header", ""]
    return "\n".join(head).encode() + vertices.tobytes()


def surface(sheet: Sheet, parallax: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A sheet as a surface: every pixel a square, joined to its neighbours where no surface ends between them.

    A corner that pixels of one surface share lies at the mean of their inverse depths and has the mean of their light.
    Where a surface ends, each side has corners of its own at the same place of the picture, so that from the sheet's
    own camera there is no gap.

    Args:
        sheet: of a scene; pixels that are not its own only pull at corners.
        parallax: pixels by which the farthest camera sees a point of inverse depth 1 move.

    Returns:
        (V, 3) float64, world coordinates; (V, 4) uint16, colours as in `linear`; and (M, 3) int64, triangles,
        counter-clockwise as its camera sees them with y up.
    """
    height, width = sheet.camera.height, sheet.camera.width
    number = np.full((height + 2, width + 2), -1)
    rows, columns = np.divmod(sheet.index, width)
    number[rows + 1, columns + 1] = np.arange(len(sheet.index))
    # The pixels around every corner, going round: top left, top right, bottom right, bottom left.
    around = np.stack([number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]], -1).reshape(-1, 4)
    present = around >= 0
    inverse = np.where(present, (1 / sheet.depth)[around], np.nan)
    with np.errstate(invalid="ignore"):
        joined = np.abs(inverse - np.roll(inverse, -1, 1)) * parallax <= GAP
    group = np.tile(np.arange(4), (len(around), 1))
    # Twice round the corner brings the least number of a group to all of it.
    for one in (0, 1, 2, 3) * 2:
        other = (one + 1) % 4
        least = np.where(joined[:, one], np.minimum(group[:, one], group[:, other]), -1)
        for place in (one, other):
            group[:, place] = np.where(joined[:, one], least, group[:, place])
    vertex = 4 * np.arange(len(around))[:, None] + group
    # A pixel is the bottom right one of its top left corner, and so on.
    corner = rows * (width + 1) + columns
    top_left, top_right = vertex[corner, 2], vertex[corner + 1, 3]
    bottom_left, bottom_right = vertex[corner + width + 1, 1], vertex[corner + width + 2, 0]
    faces = np.concatenate(
        [np.stack([top_left, bottom_left, top_right], 1), np.stack([top_right, bottom_left, bottom_right], 1)]
    )
    used, places = np.unique(faces, return_inverse=True)
    members, size = vertex[present], vertex.size

    def mean(values: np.ndarray) -> np.ndarray:
        return (np.bincount(members, values, size) / np.maximum(np.bincount(members, minlength=size), 1))[used]

    light = linear(sheet.colours)[around[present]]
    colours = np.stack([np.rint(mean(light[:, channel])) for channel in range(4)], 1).astype(np.uint16)
    y, x = np.divmod(used // 4, width + 1)
    points = sheet.camera.unproject(x, y, 1 / mean(inverse[present]))
    return points, colours, places.reshape(-1, 3)


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
    """The surfaces of a scene, a binary glTF file: a mesh for each sheet, shown as bright as its pixels are.

    Args:
        sheets: of the scene.
        parallax: see `surface`.
    """
    import trimesh
    from trimesh.visual.material import PBRMaterial

    material = PBRMaterial(metallicFactor=0.0, roughnessFactor=1.0, doubleSided=True)
    whole = trimesh.Scene()
    for number, sheet in enumerate(sheets):
        points, colours, faces = surface(sheet, parallax)
        # Of glTF's own attributes trimesh writes colours in 8 bits only; an attribute of one's own keeps its 16.
        part = trimesh.Trimesh(
            points * UPRIGHT, faces, vertex_attributes={"_COLOR": colours}, process=False, validate=False
        )
        part.visual = trimesh.visual.TextureVisuals(material=material)
        whole.add_geometry(part, f"sheet {number}", f"sheet {number}")
    return bytes(whole.export(file_type="glb", tree_postprocessor=_as_colours, buffer_postprocessor=_short_indices))


def _short_indices(buffers: OrderedDict[str, bytes], tree: dict[str, Any]) -> None:
    """Corners' numbers in 16 bits where they fit: a third of the file. 65535 is no number (glTF 2.0, 3.7.2.1)."""
    names, accessors = list(buffers), list(tree["accessors"].values())
    for primitive in _primitives(tree):
        indices, corners = accessors[primitive["indices"]], accessors[primitive["attributes"]["POSITION"]]
        # Sheets of one shape share them.
        if corners["count"] <= 65535 and indices["componentType"] == 5125:
            name = names[indices["bufferView"]]
            data = np.frombuffer(buffers[name], "<u4").astype("<u2").tobytes()
            buffers[name], indices["componentType"] = data + bytes(-len(data) % 4), 5123


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
