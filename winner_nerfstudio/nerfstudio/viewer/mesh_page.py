"""A page of viser's that shows one mesh, without nerfstudio's viewer."""

import time
from collections.abc import Callable

import viser
from trimesh import Trimesh


def show_mesh(mesh: Trimesh, say: Callable[[object], None]) -> None:
    """Show a mesh in a page on this machine until the user stops it with Ctrl-C.

    Args:
        mesh: the mesh.
        say: function that prints a line.
    """
    server = viser.ViserServer(host="127.0.0.1", verbose=False)
    server.scene.add_mesh_simple("fit", mesh.vertices, mesh.faces)
    say(f"http://127.0.0.1:{server.get_port()}: the fitted mesh; Ctrl-C ends it")
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        server.stop()
