"""Take a fitted result away as a file of an ordinary kind."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import tyro

if TYPE_CHECKING:
    from ..fields import Field


@dataclass
class Export:
    """What all exports ask for."""

    load_config: Path
    """The run's config.yml. Only the checkpoint beside it is read."""
    output: Path
    """File to write; its suffix says the format."""

    def field(self) -> "Field":
        """The run's field, on the GPU if there is one.

        Raises:
            ValueError: no such run, in one line.
        """
        import torch

        from ..fields.checkpoint import load_run

        return load_run(self.load_config).to("cuda" if torch.cuda.is_available() else "cpu")

    @contextmanager
    def progress(self) -> Iterator[Callable[[float], None]]:
        """A bar on the terminal; takes the part done."""
        from rich.console import Console
        from rich.progress import Progress

        with Progress(transient=True, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
            task = bar.add_task("evaluating the field", total=1.0)
            yield lambda part: bar.update(task, completed=part)


@dataclass
class Mesh(Export):
    """Write the surface of a fitted shape, or of a fitted volume, as a mesh, in the input's units and pose.

    The original file is not needed. Evaluates the field only where its surface can be. Writes .ply, .obj, .stl or .glb.
    """

    resolution: int = 256
    """Samples per axis of the cube around the shape; what is thinner than a cell may be lost."""
    level: float | None = None
    """Of a shape: signed distance of the surface, in the units of the output, above 0 outside; if left out 0, or half a
    shell's thickness where a distance without sign was fitted. Of a volume: the value at the surface; that of the run
    if left out."""
    normalized: bool = False
    """Stay in the network's cube [-1, 1]^3."""
    components: Literal["keep", "largest", "min-volume"] = "keep"
    """Which pieces of the surface to keep: all, the largest, or those of some size beside the largest."""
    min_volume: float = 1e-3
    """With --components min-volume: the least that is kept, as a part of the largest piece's volume."""
    simplify: int | None = None
    """Faces, at most, to be left by quadric decimation."""
    colors: Literal["none", "curvature", "error"] = "none"
    """Colour the vertices by mean curvature, or by signed distance from --target."""
    color_range: float | None = None
    """What the strongest colour stands for, in the output's units (curvature: one over them); chosen if left out."""
    target: Path | None = None
    """With --colors error: the mesh to compare with, in the coordinates in which it was fitted."""

    def run(self) -> str:
        """Export; returns what to tell the user.

        Raises:
            ValueError: options, run or surface that won't do, said in one line.
            OSError: the output cannot be written.
        """
        from ..export.mesh import Finish, export_mesh, loses_detail
        from ..signals.shape import load_shape

        if (self.colors == "error") != (self.target is not None):
            raise ValueError("--colors error and --target go together: give both or neither")
        finish = Finish(
            self.components,
            self.min_volume,
            self.simplify,
            self.colors,
            self.color_range,
            None if self.target is None else load_shape(self.target),
        )
        with self.progress() as progress:
            done = export_mesh(
                self.field(), self.output, self.resolution, self.level, self.normalized, finish, progress
            )
        mesh = done.mesh
        if loses_detail(mesh, self.output):
            print(
                f"warning: {self.output}: this format's single precision is coarse so far from the origin; .obj keeps"
                " every digit",
                file=sys.stderr,
            )
        closed = "closed" if mesh.is_watertight else "not closed"
        dropped = f" of {done.found}" if done.found > done.pieces else ""
        told = (
            f"{self.output}: {len(mesh.vertices):,} vertices, {len(mesh.faces):,} faces, {closed}, in"
            f" {done.pieces}{dropped} piece{'s' * (done.found != 1)}"
        )
        if done.color_range is not None:
            told += f"; blue to red is {self.colors} from {-done.color_range:.3g} to {done.color_range:.3g}"
        return told


@dataclass
class Image(Export):
    """Write a fitted picture in the input's size, mode and bit depth, or at any other size.

    The original picture is not needed. Writes .png, .jpg, .tif, .webp, .npy or .npz.
    """

    scale: float = 1.0
    """Pixels of the output per pixel of the input, along each side."""

    def run(self) -> str:
        """Export; returns what to tell the user.

        Raises:
            ValueError: options or run that won't do, said in one line.
            OSError: the output cannot be written.
        """
        from ..export.grid import export_image

        with self.progress() as progress:
            return f"{self.output}: {export_image(self.field(), self.output, self.scale, progress)}"


@dataclass
class Audio(Export):
    """Write a fitted sound at the input's sample rate and amplitude, or at any other rate.

    The original sound is not needed. Writes .wav, .flac, .ogg, .mp3, .aiff and what else libsndfile does, or .npy.
    """

    sample_rate: float | None = None
    """Samples per second; the input's if left out."""

    def run(self) -> str:
        """Export; returns what to tell the user.

        Raises:
            ValueError: options or run that won't do, said in one line.
            OSError: the output cannot be written.
        """
        from ..export.grid import export_audio

        with self.progress() as progress:
            return f"{self.output}: {export_audio(self.field(), self.output, self.sample_rate, progress)}"


@dataclass
class Volume(Export):
    """Write a fitted volume as an array of the input's size and data type, or of any other size.

    The original array is not needed. Writes .npy or .npz; for the level set as a mesh see `mesh`.
    """

    scale: float = 1.0
    """Samples of the output per sample of the input, along each axis."""

    def run(self) -> str:
        """Export; returns what to tell the user.

        Raises:
            ValueError: options or run that won't do, said in one line.
            OSError: the output cannot be written.
        """
        from ..export.grid import export_volume

        with self.progress() as progress:
            return f"{self.output}: {export_volume(self.field(), self.output, self.scale, progress)}"


@dataclass
class FieldFile(Export):
    """Write the fitted field itself, with its units and where it comes from: a function to call elsewhere.

    Safetensors for winner_nerfstudio.load_field, without pickle; or an ONNX graph from world coordinates to values.
    """

    format: Literal["safetensors", "onnx"] | None = None
    """Format; told by the output's suffix if left out."""

    def run(self) -> str:
        """Export; returns what to tell the user.

        Raises:
            ValueError: options or run that won't do, said in one line.
            OSError: the output cannot be written.
        """
        from ..fields.checkpoint import load_fitted

        form = self.format or self.output.suffix.lower().removeprefix(".")
        if form not in ("safetensors", "onnx") or self.output.suffix.lower() != f".{form}":
            raise ValueError(
                f"{self.output}: a field is written as .safetensors, or with --format onnx as .onnx; name it so"
            )
        fitted, note = load_fitted(self.load_config), ""
        if form == "onnx":
            from ..export.onnx import export_onnx

            note = export_onnx(fitted, self.output)
        else:
            fitted.save(self.output)
        parameters = sum(parameter.numel() for parameter in fitted.parameters())
        return f"{self.output}: {fitted.kind}, {parameters:,} parameters, {self.output.stat().st_size:,} bytes{note}"


COMMANDS: dict[str, Callable[..., Any]] = {
    "mesh": Mesh,
    "image": Image,
    "audio": Audio,
    "volume": Volume,
    "field": FieldFile,
}
"""What can be exported, by the name of the subcommand."""


def interrupt(signal_number: int, frame: object) -> NoReturn:
    """Treat a request to end as Ctrl-C, so that what is being written is cleared away."""
    raise KeyboardInterrupt


def main() -> None:
    """Entry point of ``winner-export``; status 1 and one line where the user's request cannot be met."""
    signal.signal(signal.SIGTERM, interrupt)
    command = tyro.extras.subcommand_cli_from_dict(COMMANDS, prog="winner-export", description=__doc__)
    try:
        print(command.run())
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"error: {error}")
    except MemoryError:
        sys.exit(f"error: {command.output}: the result does not fit into memory; export fewer points")
    except KeyboardInterrupt:
        print(f"interrupted: {command.output} was not written", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
