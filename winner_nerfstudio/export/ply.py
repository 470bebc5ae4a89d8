"""PLY files of double precision, which trimesh does not write."""

from typing import Any

import numpy as np
import trimesh


def encode_ply(mesh: trimesh.Trimesh) -> bytes:
    """Return a binary PLY file of a mesh: vertices in double precision, their normals, and their colours if any."""
    properties = [("double", name, "<f8", column) for name, column in zip("xyz", mesh.vertices.T, strict=True)]
    properties += [
        ("float", f"n{name}", "<f4", column) for name, column in zip("xyz", mesh.vertex_normals.T, strict=True)
    ]
    visual: Any = mesh.visual
    if visual.kind == "vertex":
        names = ("red", "green", "blue", "alpha")
        colors = zip(names, np.asarray(visual.vertex_colors).T, strict=True)
        properties += [("uchar", name, "<u1", column) for name, column in colors]
    vertices = np.zeros(len(mesh.vertices), [(name, kind) for _, name, kind, _ in properties])
    for _, name, _, column in properties:
        vertices[name] = column
    faces = np.zeros(len(mesh.faces), [("count", "<u1"), ("index", "<i4", 3)])
    faces["count"], faces["index"] = 3, mesh.faces
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices)}"]
    header += [f"property {kind} {name}" for kind, name, _, _ in properties]
    header += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", ""]
    return "\n".join(header).encode() + vertices.tobytes() + faces.tobytes()
