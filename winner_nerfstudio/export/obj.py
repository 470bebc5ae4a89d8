"""Textured meshes as .obj files, with an .mtl file and a picture beside them."""

import os
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import trimesh
from jaxtyping import Float
from numpy import ndarray

from ..files import replacing
from .suffixes import texture_path
from .texture import Texture


def write_textured_obj(mesh: trimesh.Trimesh, texture: Texture, output: Path, digits: int) -> None:
    """Write a mesh with normals as NAME.obj, NAME.mtl and NAME-texture.png; vertices are not repeated at seams.

    A failure leaves existing files unchanged.

    Args:
        mesh: the mesh.
        texture: its texture.
        output: the .obj file.
        digits: digits of the coordinates after the point.

    Raises:
        OSError: a file cannot be written.
    """
    picture, material = texture_path(output), output.with_suffix(".mtl")
    upwards = texture.atlas.uv * (1, -1) + (0, 1)
    corners = np.stack([mesh.faces, texture.atlas.faces, mesh.faces], -1).reshape(-1, 9) + 1
    lines = [
        f"mtllib {material.name}",
        *_list("v", mesh.vertices, digits),
        *_list("vt", upwards, 8),
        *_list("vn", mesh.vertex_normals, 8),
        "usemtl texture",
        *("f {}/{}/{} {}/{}/{} {}/{}/{}".format(*row) for row in corners.tolist()),
    ]
    shading = f"newmtl texture\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {picture.name}"
    with ExitStack() as stack:  # either all are replaced or none
        for path, content in [
            (picture, texture.encode_png()),
            (material, os.fsencode(f"{shading}\n")),
            (output, os.fsencode("\n".join([*lines, ""]))),
        ]:
            stack.enter_context(replacing(path)).write_bytes(content)


def _list(word: str, rows: Float[ndarray, "n k"], digits: int) -> list[str]:
    """Return a line for each row of numbers."""
    form = " ".join([word, *[f"{{:.{digits}f}}"] * rows.shape[1]])
    return [form.format(*row) for row in rows.tolist()]
