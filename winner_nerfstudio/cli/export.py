"""Take a fitted result away as a file of an ordinary kind."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro


@dataclass
class Mesh:
    """Write the surface of a fitted shape as a mesh, in the input's units, position and orientation.

    The original mesh is not needed. Evaluates resolution^3 points, slab by slab.
    """

    load_config: Path
    """The run's config.yml. Only the checkpoint beside it is read."""
    output: Path
    """File to write: .ply, .obj, .stl or .glb."""
    resolution: int = 256
    """Samples per axis of the cube around the shape; what is thinner than a cell may be lost."""
    level: float = 0.0
    """Signed distance of the surface, in the units of the output; above 0 it lies outside the shape."""
    normalized: bool = False
    """Stay in the network's cube [-1, 1]^3."""

    def run(self) -> str:
        """Export; returns what to tell the user.

        Raises:
            ValueError: options, run or surface that won't do, said in one line.
            OSError: the output cannot be written.
        """
        import torch
        from rich.console import Console
        from rich.progress import Progress

        from ..export.mesh import export_mesh, loses_detail
        from ..fields.checkpoint import load_run

        field = load_run(self.load_config).to("cuda" if torch.cuda.is_available() else "cpu")
        with Progress(transient=True, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
            task = progress.add_task("evaluating the field", total=1.0)

            def update(part: float) -> None:
                progress.update(task, completed=part)

            mesh = export_mesh(field, self.output, self.resolution, self.level, self.normalized, update)
        if loses_detail(mesh, self.output):
            print(
                f"warning: {self.output}: this format's single precision is coarse so far from the origin; .obj keeps"
                " every digit",
                file=sys.stderr,
            )
        closed, pieces = "closed" if mesh.is_watertight else "not closed", mesh.body_count
        return (
            f"{self.output}: {len(mesh.vertices):,} vertices, {len(mesh.faces):,} faces, {closed}, in {pieces}"
            f" piece{'s' * (pieces != 1)}"
        )


COMMANDS: dict[str, Callable[..., Any]] = {"mesh": Mesh}
"""What can be exported, by the name of the subcommand."""


def main() -> None:
    """Entry point of ``winner-export``; status 1 and one line where the user's request cannot be met."""
    command = tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="winner-export", description=__doc__)
    try:
        print(command.run())
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
