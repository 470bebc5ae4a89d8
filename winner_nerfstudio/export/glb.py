"""Coloured and textured meshes as .glb files, glTF 2.0.

Colours of vertices are linear light there, and textures are sRGB values (glTF 2.0, sections 3.7.2.1 and 3.9.2).
"""

import json
import struct
from typing import Any

import numpy as np
import trimesh
from numpy import ndarray

from ..signals.shape.colors import to_linear
from .texture import Texture

FLOAT, UINT = 5126, 5125
VERTICES, INDICES = 34962, 34963
"""What the parts of the buffer are for."""
LINEAR, LINEAR_MIPMAP_LINEAR, CLAMP = 9729, 9987, 33071
"""How textures are looked up."""


def encode_glb(mesh: trimesh.Trimesh) -> bytes:
    """Return a mesh with normals and sRGB colours of vertices as a .glb file.

    There is no material, for trimesh reads the colours of vertices as such only without one.
    """
    visual: Any = mesh.visual
    colors = to_linear(np.asarray(visual.vertex_colors)[:, :3] / 255)
    return _encode(
        {"POSITION": mesh.vertices, "NORMAL": mesh.vertex_normals, "COLOR_0": colors}, np.asarray(mesh.faces)
    )


def encode_textured_glb(mesh: trimesh.Trimesh, texture: Texture) -> bytes:
    """Return a mesh with normals and a texture, the base colour of a material that is not shiny, as a .glb file."""
    atlas = texture.atlas
    attributes = {
        "POSITION": mesh.vertices[atlas.vertex],
        "NORMAL": mesh.vertex_normals[atlas.vertex],
        "TEXCOORD_0": atlas.uv,
    }
    return _encode(attributes, atlas.faces, texture.encode_png())


def _encode(attributes: dict[str, ndarray], faces: ndarray, picture: bytes | None = None) -> bytes:
    """Return a .glb file of a mesh, whose texture is a .png file if there is one.

    Args:
        attributes: the vertices' values, [v, 2 or 3], by glTF's names.
        faces: the triangles, [f, 3].
        picture: the texture.
    """
    arrays = [*(np.asarray(values, "<f4") for values in attributes.values()), np.asarray(faces, "<u4").reshape(-1, 1)]
    shapes = {1: (UINT, "SCALAR"), 2: (FLOAT, "VEC2"), 3: (FLOAT, "VEC3")}
    targets = [*[VERTICES] * len(attributes), INDICES]
    accessors: list[dict[str, Any]] = [
        {"bufferView": index, "componentType": component, "count": len(array), "type": shape}
        for index, array in enumerate(arrays)
        for component, shape in [shapes[array.shape[1]]]
    ]
    accessors[0] |= {"min": arrays[0].min(0).tolist(), "max": arrays[0].max(0).tolist()}
    parts = [array.tobytes() for array in arrays]
    views: list[dict[str, Any]] = [{"target": target} for target in targets]
    primitive: dict[str, Any] = {
        "attributes": {name: i for i, name in enumerate(attributes)},
        "indices": len(attributes),
    }
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "winner-nerfstudio"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "accessors": accessors,
        "bufferViews": views,
    }
    if picture is not None:
        primitive["material"] = 0
        base = {"baseColorTexture": {"index": 0}, "metallicFactor": 0.0, "roughnessFactor": 1.0}
        document |= {
            "materials": [{"pbrMetallicRoughness": base}],
            "textures": [{"source": 0, "sampler": 0}],
            "samplers": [{"magFilter": LINEAR, "minFilter": LINEAR_MIPMAP_LINEAR, "wrapS": CLAMP, "wrapT": CLAMP}],
            "images": [{"bufferView": len(parts), "mimeType": "image/png"}],
        }
        views.append({})
        parts.append(picture)
    start = 0
    for view, data in zip(views, parts, strict=True):
        view |= {"buffer": 0, "byteOffset": start, "byteLength": len(data)}
        start += len(data)
    body = b"".join(parts)
    body += b"\0" * (-len(body) % 4)
    return _pack(document | {"buffers": [{"byteLength": len(body)}]}, body)


def _pack(document: dict[str, Any], body: bytes) -> bytes:
    """Return a document of glTF and its buffer as a .glb file."""
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(body), b"BIN\0") + body
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
