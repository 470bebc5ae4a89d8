"""The button in the viewer that writes the current surface to a mesh file."""

import contextlib
import copy
import threading
import time
from pathlib import Path
from typing import Any

from nerfstudio.viewer.viewer_elements import ViewerControl, ViewerSlider

from ...fields import Field

RESOLUTIONS = (64, 512)
"""Smallest and largest number of samples per axis that can be set."""
SECONDS_PER_UPDATE = 0.3
"""Time between two updates of the progress bar."""


class ExportMesh(ViewerControl):
    """A folder in the viewer's control panel with a resolution, a button, a progress bar and a message.

    The button writes a mesh file to the run's folder: the surface of the field at the moment of the click, at the iso
    level that the viewer shows. Training continues meanwhile.

    Args:
        field: the fitted field.
        name: name of the target, from which the file gets its own.
        level: the control of the iso level, in the target's units.
        painting: the field of the colours, if there is one.
    """

    def __init__(self, field: Field, name: str, level: "ViewerSlider[float]", painting: Field | None = None) -> None:
        self.painting = painting
        self.field, self.stem, self.level = field, Path(name.removeprefix("sample:")).stem, level
        self.running = threading.Lock()

    def _setup(self, viewer: Any) -> None:
        """Add the folder when a viewer starts; nerfstudio calls this."""
        super()._setup(viewer)
        gui = self.viser_server.gui
        with gui.add_folder("Export"):
            hint = "Samples per axis; doubling it takes about four times as long"
            self.resolution = gui.add_slider("Mesh resolution", *RESOLUTIONS, step=32, initial_value=256, hint=hint)
            self.button = gui.add_button("Export mesh now")
            self.bar = gui.add_progress_bar(0.0, visible=False)
            self.note = gui.add_markdown("Writes a .ply file into the run's folder.")
        self.button.on_click(lambda _: self.start())

    def start(self) -> None:
        """Copy the field and start to write its surface in the background, unless an export is running already."""
        if not self.running.acquire(blocking=False):
            return
        lock = self.viewer.train_lock
        with lock if lock is not None else contextlib.nullcontext():
            fields = copy.deepcopy((self.field, self.painting))
            step, level = self.viewer.step, float(self.level.value)
        resolution = int(self.resolution.value)
        at_level = f"-level{level:+.3g}" if level else ""
        output = self.viewer.log_filename.parent / f"{self.stem}-step{step}-{resolution}{at_level}.ply"
        self.button.disabled = self.bar.visible = True
        threading.Thread(target=self._write, args=(*fields, output, resolution, level), daemon=True).start()

    def _write(self, field: Field, painting: Field | None, output: Path, resolution: int, level: float) -> None:
        """Write the surface of a field to a file, and report progress and result in the viewer."""
        from ...export.mesh import Finish, export_mesh

        started = last_update = time.monotonic()

        def show_progress(part: float) -> None:
            nonlocal last_update
            now = time.monotonic()
            if now - last_update > SECONDS_PER_UPDATE:
                last_update, self.bar.value = now, 100 * part
                self.note.content = f"{part:.0%} of a surface at {resolution}³, {now - started:.0f} s"

        try:
            finish = None if painting is None else Finish(colors="fitted", painting=painting)
            mesh = export_mesh(field, output, resolution, level, finish=finish, progress=show_progress).mesh
            self.note.content = f"Wrote `{output}`: {len(mesh.vertices):,} vertices, {len(mesh.faces):,} faces"
        except (ValueError, OSError, MemoryError) as error:
            self.note.content = f"Not written: {error or 'out of memory'}"
        finally:
            self.button.disabled = self.bar.visible = False
            self.bar.value = 0.0
            self.running.release()
