"""The model of a sound."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor

from ..metrics.audio import audio_figures
from ..metrics.grid import evaluate_grid
from .datamanager import ResidentDataManagerConfig, subcommand
from .dataparsers import AudioDataParserConfig
from .grid import GridModel, GridModelConfig
from .panel import HEIGHT, WIDTH, draw_panel, frames_of

if TYPE_CHECKING:
    from ..signals.audio import Audio

AudioData = subcommand("audio-data", AudioDataParserConfig)


@dataclass
class AudioDataManagerConfig(ResidentDataManagerConfig):
    """Samples of a sound."""

    dataparser: AudioDataParserConfig = field(default_factory=AudioDataParserConfig)
    short: AudioData = field(default_factory=AudioDataParserConfig)  # type: ignore[valid-type]


@dataclass
class AudioModelConfig(GridModelConfig):
    """A sound."""

    _target: type = field(default_factory=lambda: AudioModel)


class AudioModel(GridModel):
    """Fits a sound, which is looked at as a panel of its waveform and spectrogram in the plane z = 0."""

    config: AudioModelConfig
    signal: "Audio"
    exports = "audio"

    def populate_modules(self) -> None:
        """Besides the field, a thread to draw in."""
        super().populate_modules()
        self._panel: tuple[int, Tensor] | None = None
        # The viewer traces each line of its own thread, and interrupts it on any; drawing suffers neither.
        self._artist = ThreadPoolExecutor(max_workers=1, thread_name_prefix="panel")

    def own_figures(self, signal: "Audio", fitted: Float[np.ndarray, "n c"]) -> dict[str, float]:  # type: ignore[override]
        """``snr``, ``si_snr`` and ``log_spectral_distance``."""
        return audio_figures(fitted, signal.truth)

    def half_size(self) -> tuple[float, float]:
        """Half the panel's width and height."""
        return 1.0, HEIGHT / WIDTH

    def paint(self, place: Float[Tensor, "n 2"]) -> dict[str, Float[Tensor, "n 3"]]:
        """``rgb``: the panel as it stands after the steps trained so far."""
        points = int(self.progress["points"])
        if self._panel is None or self._panel[0] != points:
            self._panel = (points, self._artist.submit(self._draw, self.signal).result())
        panel = self._panel[1]
        column = ((place[:, 0] + 1) / 2 * WIDTH).long().clamp(0, WIDTH - 1).cpu()
        row = ((1 - place[:, 1] * WIDTH / HEIGHT) / 2 * HEIGHT).long().clamp(0, HEIGHT - 1).cpu()
        return {"rgb": panel[row, column].to(place)}

    def pictures(self, signal: "Audio", camera: Cameras) -> dict[str, Float[Tensor, "h w 3"]]:  # type: ignore[override]
        """The panel."""
        return {"fit-over-target": self._draw(signal)}

    def _draw(self, signal: "Audio") -> Float[Tensor, "h w 3"]:
        numbers = frames_of(len(signal.values))
        shown, place = np.unique(numbers, return_inverse=True)
        fitted = evaluate_grid(self.field.evaluate, signal.lattice, shown)[place.reshape(numbers.shape)]
        start = signal.normalization.center[0] - (len(signal.values) - 1) / 2 / signal.sample_rate
        return draw_panel(fitted, signal.truth[numbers], numbers, signal.sample_rate, start)
