"""The model of a sound."""

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
from ..viewer.panel import HEIGHT, WIDTH, Window, draw_panel, frames_of
from .grid import GridModel, within

if TYPE_CHECKING:
    from ...signals.audio import Audio

LEAST_SAMPLES = 64
LEAST_SECONDS = 0.005
"""What the panel shows at least, whichever is longer."""
MOST_APART = 4
"""Pixels of the panel from ray to ray beyond which letters are lost anyway."""


class AudioModel(GridModel):
    """Fits a sound, which is looked at as a panel of its waveform and spectrogram in the plane z = 0."""

    signal: "Audio"

    def populate_modules(self) -> None:
        """Besides the field, a thread to draw in, and what the viewer lets its user choose."""
        super().populate_modules()
        self._panel: tuple[tuple[int, Window], Tensor] | None = None
        # The viewer traces each line of its own thread, and interrupts it on any; drawing suffers neither.
        self._artist = ThreadPoolExecutor(max_workers=1, thread_name_prefix="panel")
        signal, start = self.signal, self._start
        seconds = len(signal.values) / signal.sample_rate
        least = min(max(LEAST_SAMPLES / signal.sample_rate, LEAST_SECONDS), seconds)
        step = 10.0 ** math.floor(math.log10(least / 50))
        low, high = _whole(start, step, math.floor), _whole(start + seconds, step, math.ceil)
        shortest, longest = _whole(least, step, math.ceil), _whole(seconds, step, math.ceil)
        # A slider needs somewhere to go, however short the sound.
        self.from_second = ViewerSlider(
            "From, seconds", low, low, high, step, hint="Where in the recording the panel begins."
        )
        self.length = ViewerSlider(
            "Length, seconds", longest, min(shortest, longest - step), longest, step, hint="How much the panel shows."
        )

    def half_size(self) -> tuple[float, float]:
        """Half the panel's width and height."""
        return 1.0, HEIGHT / WIDTH

    def paint(self, layer: str, place: Float[Tensor, "n 2"]) -> Float[Tensor, "n 3"]:
        """``rgb``: the panel of the chosen window as it stands after the steps trained so far."""
        shown = int(self.progress["points"]), self._window()
        if self._panel is None or self._panel[0] != shown:
            self._panel = (shown, self._artist.submit(self._draw, self.signal, shown[1]).result())
        # Each ray sees the mean of what lies between it and its neighbours, lest letters lose their strokes.
        seen = (place.amax(0) - place.amin(0)) * WIDTH / 2
        apart = min(max(round(math.sqrt(float(seen.prod()) / len(place))), 1), MOST_APART)
        panel = avg_pool2d(
            self._panel[1].permute(2, 0, 1), apart, stride=1, padding=apart // 2, count_include_pad=False
        )
        column = ((place[:, 0] + 1) / 2 * WIDTH).long().clamp(0, WIDTH - 1).cpu()
        row = ((1 - place[:, 1] * WIDTH / HEIGHT) / 2 * HEIGHT).long().clamp(0, HEIGHT - 1).cpu()
        return panel[:, row, column].T

    def pictures(self, signal: "Audio", camera: Cameras) -> dict[str, Float[Tensor, "h w 3"]]:  # type: ignore[override]
        """The panel of the whole sound."""
        return {"fit-over-target": self._draw(signal, Window(0, len(signal.values)))}

    @property
    def _start(self) -> float:
        """Time of the first sample in the recording, seconds."""
        signal = self.signal
        return signal.normalization.center[0] - (len(signal.values) - 1) / 2 / signal.sample_rate

    def _window(self) -> Window:
        """What the sliders choose, kept within the sound."""
        rate, total = self.signal.sample_rate, len(self.signal.values)
        count = min(max(round(within(self.length) * rate), 1), total)
        return Window(min(max(round((within(self.from_second) - self._start) * rate), 0), total - count), count)

    def _draw(self, signal: "Audio", window: Window) -> Float[Tensor, "h w 3"]:
        numbers = frames_of(window)
        shown, place = np.unique(numbers, return_inverse=True)
        fitted = evaluate_grid(self.field.evaluate, signal.lattice, shown)[place.reshape(numbers.shape)]
        return draw_panel(fitted, signal.truth[numbers], window, signal.sample_rate, self._start)


def _whole(seconds: float, step: float, rounded: Callable[[float], int]) -> float:
    """A whole number of steps, with no more digits than that needs."""
    # Rounded to begin with, for 0.3 / 0.1 is not quite 3, and to end with, for 3 * 0.1 is not quite 0.3.
    return float(f"{rounded(round(seconds / step, 6)) * step:.12g}")
