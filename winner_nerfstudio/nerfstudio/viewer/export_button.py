"""The buttons in the viewer that write the current fit to a file."""

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...fields import Field
from ...fields.fitted import FittedField
from ...files import stem_of
from ...registry import export_for, kind_named
from .background_button import BackgroundButton, as_text
from .hold import hold_training

RESOLUTIONS = (64, 512)
"""Smallest and largest number of samples per axis that can be set."""
TEXTURES = ("none", "512", "1024", "2048", "4096")
"""The textures that can be chosen, by their width in texels."""
SECONDS_PER_UPDATE = 0.3
"""Time between two updates of the progress bar."""

Write = Callable[[Callable[[float], None]], str]
"""A function that writes a file, calls its argument with the part that is done, and returns what it has written."""


class ExportButton(BackgroundButton):
    """A button that writes a file to the run's folder: the field as it is when the button is clicked.

    Training continues meanwhile. A subclass overrides `prepare`, and `add_controls` if it has options.

    Args:
        field: the fitted field.
        name: name of the target, from which the file gets its own.
        result: what is written, such as "mesh".
        suffix: the suffix of the file.
        companion: the field beside the field, if there is one, see `FittedField`.
    """

    def __init__(self, field: Field, name: str, result: str, suffix: str, companion: Field | None = None) -> None:
        self.stem, self.suffix = stem_of(name), suffix
        self.field, self.companion = field, companion
        text = f"Writes a {suffix} file into the run's folder."
        super().__init__(f"Export {result}", f"Export {result} now", text, "Not written")

    def prepare(self, fitted: FittedField, stem: Path) -> tuple[Path, Write]:
        """Return the file and the function that writes it.

        Args:
            fitted: a copy of the field.
            stem: the file's path without suffix; more may be added to it.
        """
        raise NotImplementedError

    def work(self) -> str:
        """Copy the field, write the file, and return what was written."""
        with hold_training(self.viewer):
            (field, companion), step = copy.deepcopy((self.field, self.companion)), self.viewer.step
        fitted = FittedField(field, companion=companion)
        output, write = self.prepare(fitted, self.viewer.log_filename.parent / f"{self.stem}-step{step}")
        self.bar.visible = True
        started = last_update = time.monotonic()

        def show_progress(part: float) -> None:
            nonlocal last_update
            now = time.monotonic()
            if now - last_update > SECONDS_PER_UPDATE:
                last_update, self.bar.value = now, 100 * part
                self.note.content = f"{part:.0%} of {as_text(output.name)}, {now - started:.0f} s"

        return f"Wrote {as_text(output)}: {as_text(write(show_progress))}"


class ExportMesh(ExportButton):
    """A button that writes the surface of the field at the iso level that the viewer shows.

    Args:
        field: the fitted field.
        name: name of the target.
        level: returns the iso level that the viewer shows, in the target's units.
        painting: the field of the colours, if there is one.
    """

    def __init__(self, field: Field, name: str, level: Callable[[], float], painting: Field | None = None) -> None:
        super().__init__(field, name, "mesh", ".ply", painting)
        self.level = level

    def add_controls(self, gui: Any) -> None:
        """Add the resolution and, if there are colours, the width of a texture."""
        hint = "Samples per axis; doubling it takes about four times as long"
        self.resolution = gui.add_slider("Mesh resolution", *RESOLUTIONS, step=32, initial_value=256, hint=hint)
        if self.companion is not None:
            hint = "Width in texels of a texture in a .glb file; without one the vertices have the colours"
            self.texture = gui.add_dropdown("Texture", TEXTURES, hint=hint)

    def prepare(self, fitted: FittedField, stem: Path) -> tuple[Path, Write]:
        """Return the file, whose name has resolution and level, and the function that writes the surface."""
        from ...export.mesh import Finish, export_mesh

        finish, suffix = None, ".ply"
        if fitted.companion is not None:
            texture = None if self.texture.value == TEXTURES[0] else int(self.texture.value)
            finish = Finish(colors="fitted", painting=fitted.companion, texture=texture)
            suffix = ".ply" if texture is None else ".glb"
        resolution, level = int(self.resolution.value), self.level()
        at_level = f"-level{level:+.3g}" if level else ""
        output = stem.with_name(f"{stem.name}-{resolution}{at_level}{suffix}")

        def write(progress: Callable[[float], None]) -> str:
            mesh = export_mesh(fitted.field, output, resolution, level, finish=finish, progress=progress).mesh
            return f"{len(mesh.vertices):,} vertices, {len(mesh.faces):,} faces"

        return output, write


class ExportFit(ExportButton):
    """A button that writes the fit in the format of its target, as ``winner-export`` does with its defaults.

    Args:
        field: the fitted field.
        name: name of the target.
        suffix: the suffix of the file.
    """

    def __init__(self, field: Field, name: str, suffix: str) -> None:
        self.export = export_for(kind_named(field.kind), Path(f"fit{suffix}"))
        super().__init__(field, name, self.export.result, suffix)

    def prepare(self, fitted: FittedField, stem: Path) -> tuple[Path, Write]:
        """Return the file, and the function that writes the fit."""
        output = stem.with_name(stem.name + self.suffix)

        def write(progress: Callable[[float], None]) -> str:
            export = self.export(load_config="", output=output)
            export.check(fitted)
            return export.write(fitted, progress)

        return output, write
