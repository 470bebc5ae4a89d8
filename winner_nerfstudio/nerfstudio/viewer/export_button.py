"""The viewer's button that writes the surface as it stands to a mesh file."""

import contextlib
import copy
import threading
import time
from pathlib import Path
from typing import Any

from nerfstudio.viewer.viewer_elements import ViewerControl, ViewerSlider

from ...fields import Field

RESOLUTIONS = (64, 512)
"""Samples per axis between which one chooses."""
SECONDS_PER_UPDATE = 0.3


class ExportMesh(ViewerControl):
    """A folder of the panel with resolution, button, progress and a note; the file goes to the run's folder.

    The surface is that of the moment of the click, at the iso level that is looked at; training goes on meanwhile.

    Args:
        field: what is fitted.
        name: of the target.
        level: the iso level, in the input's units.
    """

    def __init__(self, field: Field, name: str, level: ViewerSlider) -> None:
        self.field, self.stem, self.level = field, Path(name.removeprefix("sample:")).stem, level
        self.running = threading.Lock()

    def _setup(self, viewer: Any) -> None:
        super()._setup(viewer)
        gui = self.viser_server.gui
        with gui.add_folder("Export"):
            hint = "Samples per axis; twice as many take four times as long"
            self.resolution = gui.add_slider("Mesh resolution", *RESOLUTIONS, step=32, initial_value=256, hint=hint)
            self.button = gui.add_button("Export mesh now")
            self.bar = gui.add_progress_bar(0.0, visible=False)
            self.note = gui.add_markdown("Writes a .ply into the run's folder.")
        self.button.on_click(lambda _: self.start())

    def start(self) -> None:
        """Take the field as it is and begin to write in the background; nothing if that goes on already."""
        if not self.running.acquire(blocking=False):
            return
        lock = self.viewer.train_lock
        with lock if lock is not None else contextlib.nullcontext():
            field, step, level = copy.deepcopy(self.field), self.viewer.step, float(self.level.value)
        resolution = int(self.resolution.value)
        at_level = f"-level{level:+.3g}" if level else ""
        output = self.viewer.log_filename.parent / f"{self.stem}-step{step}-{resolution}{at_level}.ply"
        self.button.disabled = self.bar.visible = True
        threading.Thread(target=self._write, args=(field, output, resolution, level), daemon=True).start()

    def _write(self, field: Field, output: Path, resolution: int, level: float) -> None:
        from ...export.mesh import export_mesh

        started = told = time.monotonic()

        def progress(part: float) -> None:
            nonlocal told
            now = time.monotonic()
            if now - told > SECONDS_PER_UPDATE:
                told, self.bar.value = now, 100 * part
                self.note.content = f"{part:.0%} of a surface at {resolution}³, {now - started:.0f} s"

        try:
            mesh = export_mesh(field, output, resolution, level, progress=progress).mesh
            self.note.content = f"Wrote `{output}`: {len(mesh.vertices):,} vertices, {len(mesh.faces):,} faces"
        except (ValueError, OSError, MemoryError) as error:
            self.note.content = f"Not written: {error or 'out of memory'}"
        finally:
            self.button.disabled = self.bar.visible = False
            self.bar.value = 0.0
            self.running.release()
