"""A page of viser's that shows one mesh, without nerfstudio's viewer."""

import io
import time
from collections.abc import Callable
from contextlib import redirect_stdout

import numpy as np
import viser
from trimesh import Trimesh

from ...export.glb import encode_glb


def show_mesh(mesh: Trimesh, up: str, say: Callable[[object], None]) -> None:
    """Show a mesh, with its colours if it has some, in a page on this machine until the user stops it with Ctrl-C.

    Args:
        mesh: the mesh.
        up: the axis that points up, such as "y".
        say: function that prints a line.
    """
    server = start_page(mesh, up)
    say(f"http://127.0.0.1:{server.get_port()}: the fitted mesh; Ctrl-C ends it")
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        server.stop()


def start_page(mesh: Trimesh, up: str) -> viser.ViserServer:
    """Return the server of a page that shows a mesh, see `show_mesh`, from where all of it is in the frame."""
    with redirect_stdout(io.StringIO()):  # it would print its address in a box
        server = viser.ViserServer(host="127.0.0.1", verbose=False)
    server.scene.set_up_direction(f"+{up}")  # type: ignore[arg-type]
    # The page looks at the origin from a few units away.
    vertices = (mesh.vertices - mesh.bounds.mean(0)) * (5 / np.linalg.norm(mesh.extents))
    if getattr(mesh.visual, "kind", None) == "vertex":
        colored = Trimesh(vertices, mesh.faces, process=False, vertex_normals=mesh.vertex_normals, visual=mesh.visual)
        server.scene.add_glb("fit", encode_glb(colored))
    else:
        server.scene.add_mesh_simple("fit", vertices, mesh.faces)
    return server
