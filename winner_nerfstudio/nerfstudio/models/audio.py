"""The nerfstudio model of a sound."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.viewer.viewer_elements import ViewerSlider
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ...metrics.grid import evaluate_grid
from ..viewer.audio_panel import HEIGHT, WIDTH, Window, draw_panel, select_frames
from ..viewer.export_button import ExportFit
from ..viewer.sound_player import SoundPlayer, Sounds
from .grid import GridModel, within

if TYPE_CHECKING:
    from ...signals.audio import Audio

LEAST_SAMPLES = 64
LEAST_SECONDS = 0.005
"""Least number of samples and least time that the panel shows; the longer of the two counts."""
MOST_APART = 4
"""Greatest distance between neighbouring rays, in pixels of the panel, up to which its pixels are averaged."""


class AudioModel(GridModel):
    """A model of a sound, which is shown as a panel with waveform and spectrogram in the plane z = 0."""

    signal: "Audio"

    def populate_modules(self) -> None:
        """Build the field, a thread for drawing, and the viewer's controls."""
        super().populate_modules()
        self._panel: tuple[tuple[int, Window], Tensor] | None = None
        # The viewer traces every line of its own thread, where drawing would be slow and could be interrupted.
        self._artist = ThreadPoolExecutor(max_workers=1, thread_name_prefix="panel")
        signal, start = self.signal, self._start
        seconds = len(signal.values) / signal.sample_rate
        least = min(max(LEAST_SAMPLES / signal.sample_rate, LEAST_SECONDS), seconds)
        step = 10.0 ** math.floor(math.log10(least / 50))
        low, high = _round_to_steps(start, step, math.floor), _round_to_steps(start + seconds, step, math.ceil)
        shortest, longest = _round_to_steps(least, step, math.ceil), _round_to_steps(seconds, step, math.ceil)
        # A slider's least value must be below its greatest, however short the sound is.
        self.from_second = ViewerSlider(
            "From, seconds", low, low, high, step, hint="Where in the recording the panel begins."
        )
        self.length = ViewerSlider(
            "Length, seconds", longest, min(shortest, longest - step), longest, step, hint="How much the panel shows."
        )
        self.listen = SoundPlayer(self._record, signal.sample_rate)
        self.write_now = ExportFit(self.field, signal.name, signal.suffix)

    def half_size(self) -> tuple[float, float]:
        """Return half the width and half the height of the panel."""
        return 1.0, HEIGHT / WIDTH

    def paint(self, layer: str, plane_coords: Float[Tensor, "n 2"]) -> Float[Tensor, "n 3"]:
        """Return colours of the panel, which shows the window of the sliders and the field as trained so far."""
        state = int(self.progress["points"]), self._select_window()
        if self._panel is None or self._panel[0] != state:
            self._panel = (state, self._artist.submit(self._draw, self.signal, state[1]).result())
        # Each ray gets the mean of the pixels between it and its neighbours, so that thin strokes stay visible.
        visible = (plane_coords.amax(0) - plane_coords.amin(0)) * WIDTH / 2
        apart = min(max(round(math.sqrt(float(visible.prod()) / len(plane_coords))), 1), MOST_APART)
        panel = avg_pool2d(
            self._panel[1].permute(2, 0, 1), apart, stride=1, padding=apart // 2, count_include_pad=False
        )
        column = ((plane_coords[:, 0] + 1) / 2 * WIDTH).long().clamp(0, WIDTH - 1).cpu()
        row = ((1 - plane_coords[:, 1] * WIDTH / HEIGHT) / 2 * HEIGHT).long().clamp(0, HEIGHT - 1).cpu()
        return panel[:, row, column].T

    def pictures(self, signal: "Audio", camera: Cameras) -> dict[str, Float[Tensor, "h w 3"]]:  # type: ignore[override]
        """Return the panel of the whole sound."""
        return {"fit-over-target": self._draw(signal, Window(0, len(signal.values)))}

    @property
    def _start(self) -> float:
        """Return the time in seconds of the first sample within the recording."""
        signal = self.signal
        return signal.normalization.center[0] - (len(signal.values) - 1) / 2 / signal.sample_rate

    def _select_window(self) -> Window:
        """Return the window that the sliders choose, limited to the sound."""
        rate, total = self.signal.sample_rate, len(self.signal.values)
        count = min(max(round(within(self.length) * rate), 1), total)
        return Window(min(max(round((within(self.from_second) - self._start) * rate), 0), total - count), count)

    def _record(self, most: int) -> Sounds:
        """Return what the panel shows, at most so many samples, of the fit, the target and their difference."""
        signal, window = self.signal, self._select_window()
        indices = np.arange(window.first, window.first + min(window.count, most))
        fitted = evaluate_grid(self.field.evaluate, signal.lattice, indices)
        fit, target = (signal.units.to_own(values) for values in (fitted, signal.values[indices]))
        # A recording of 16 bits, say, that was not divided by its range would be clipped.
        loudest = max(1.0, float(np.abs(target).max()))
        return {"fit": fit / loudest, "target": target / loudest, "difference": (fit - target) / loudest}

    def _draw(self, signal: "Audio", window: Window) -> Float[Tensor, "h w 3"]:
        """Draw the panel of a window."""
        indices = select_frames(window)
        unique, inverse = np.unique(indices, return_inverse=True)
        fitted = evaluate_grid(self.field.evaluate, signal.lattice, unique)[inverse.reshape(indices.shape)]
        return draw_panel(fitted, signal.truth[indices], window, signal.sample_rate, self._start)


def _round_to_steps(seconds: float, step: float, rounded: Callable[[float], int]) -> float:
    """Round a time to a whole number of steps, with no more digits than are needed."""
    # The quotient is rounded because 0.3 / 0.1 is not exactly 3, and the product because 3 * 0.1 is not exactly 0.3.
    return float(f"{rounded(round(seconds / step, 6)) * step:.12g}")
