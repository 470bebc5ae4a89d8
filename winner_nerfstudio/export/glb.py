"""Coloured meshes as .glb files, glTF 2.0, whose colours of vertices are linear light."""

import json
import struct
from typing import Any

import numpy as np
import trimesh

from ..signals.shape.colors import to_linear

FLOAT, UINT = 5126, 5125
VERTICES, INDICES = 34962, 34963
"""What the parts of the buffer are for."""


def encode_glb(mesh: trimesh.Trimesh) -> bytes:
    """Return a mesh with normals and sRGB colours of vertices as a .glb file.

    The colours are written as linear floats (glTF 2.0, section 3.7.2.1). There is no material, for trimesh reads the
    colours of vertices as such only without one.
    """
    visual: Any = mesh.visual
    colors = to_linear(np.asarray(visual.vertex_colors)[:, :3] / 255)
    arrays = [
        np.asarray(mesh.vertices, "<f4"),
        np.asarray(mesh.vertex_normals, "<f4"),
        colors.astype("<f4"),
        np.asarray(mesh.faces, "<u4").reshape(-1, 1),
    ]
    views: list[dict[str, Any]] = []
    accessors: list[dict[str, Any]] = []
    for index, array in enumerate(arrays):
        start = sum(view["byteLength"] for view in views)
        is_vertex = array.shape[1] == 3
        target = VERTICES if is_vertex else INDICES
        views.append({"buffer": 0, "byteOffset": start, "byteLength": array.nbytes, "target": target})
        component, shape = (FLOAT, "VEC3") if is_vertex else (UINT, "SCALAR")
        accessors.append({"bufferView": index, "componentType": component, "count": len(array), "type": shape})
    accessors[0] |= {"min": arrays[0].min(0).tolist(), "max": arrays[0].max(0).tolist()}
    attributes = {"POSITION": 0, "NORMAL": 1, "COLOR_0": 2}
    document = {
        "asset": {"version": "2.0", "generator": "winner-nerfstudio"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": attributes, "indices": 3}]}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": sum(array.nbytes for array in arrays)}],
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    body = b"".join(array.tobytes() for array in arrays)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(body), b"BIN\0") + body
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
