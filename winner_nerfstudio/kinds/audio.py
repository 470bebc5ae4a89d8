"""The kind of sounds and other series."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..export.command import Export, Progress
from ..registry import SMALL, FewParts, Metrics, PartRecipe, PartSize, Recipe
from ..signals.options import AudioOptions
from ..signals.records import AudioRecord
from .grid import GRID_METRICS, GridKind, like_input

if TYPE_CHECKING:
    from jaxtyping import Float
    from matplotlib.axes import Axes
    from numpy import ndarray

    from ..fields.fitted import FittedField
    from ..signals.audio import Audio


class AudioKind(GridKind):
    """A sound; its coordinate is the time in seconds."""

    name = "audio"
    title = "a sound"
    axes = 1
    suffixes = (
        ".wav",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".mp3",
        ".aiff",
        ".aif",
        ".aifc",
        ".au",
        ".snd",
        ".caf",
        ".w64",
        ".rf64",
    )
    formats = ".wav .flac .ogg .mp3 .npy"
    frequency_unit = "Hz"
    options = AudioOptions
    record = AudioRecord
    # The published noise for sounds is large; with a higher learning rate, sounds of high frequency are not learnt.
    recipe = Recipe(
        3000,
        {"adam": 2e-4},
        parts=PartRecipe(
            {
                "small": PartSize(1024, 16, 1600, {"muon": 1e-3, "adam": 1.5e-3}),
                "medium": PartSize(1024, 32, 800, {"muon": 1e-3, "adam": 1.5e-3}),
                "large": PartSize(1024, 48, 800, {"muon": 1e-3}),
            },
            most=1 << 13,
            few=(FewParts(1 << 16, "medium", 1600),),
            counts_channels=True,
        ),
        small=SMALL,
    )
    metric_names = Metrics(
        (*GRID_METRICS, "snr", "si_snr", "log_spectral_distance"),
        ("psnr_paper", "best_psnr_paper", "psnr_peak_to_peak", "psnr_between", "log_spectral_distance"),
        "psnr_paper",
    )
    views = "winner_nerfstudio.nerfstudio.models.audio:AudioModel"

    @property
    def samples(self) -> Mapping[str, Callable[[], Any]]:
        """The built-in sounds."""
        from ..signals.samples import SOUNDS

        return SOUNDS

    def claims(self, data: Any) -> bool:
        """Return whether it is an array [n], [n, 1] or [n, 2]."""
        shape: tuple[int, ...] = getattr(data, "shape", ())
        return len(shape) == 1 or (len(shape) == 2 and shape[1] <= 2)

    def load(self, source: Any, options: Any) -> Audio:
        """Load a sound, see `load_audio`."""
        from ..signals.audio import load_audio

        return load_audio(source, options)

    def special_metrics(self, signal: Any, fitted: Float[ndarray, "n c"]) -> dict[str, float]:
        """Compute signal-to-noise ratios and the log-spectral distance, see `audio_metrics`."""
        from ..metrics.audio import audio_metrics

        return audio_metrics(fitted, signal.truth, signal.missing)

    def draw(self, axes: Axes, signal: Any, values: Float[ndarray, "n c"]) -> None:
        """Draw the spectrogram of the first channel, with silence behind it if it is too short for one."""
        from numpy import errstate, pad

        window = min(512, 1 << max(2, len(values).bit_length() - 3))
        sound = pad(values[:, 0], (0, max(0, window + 1 - len(values))))
        options: dict[str, Any] = {"noverlap": window * 3 // 4, "cmap": "magma", "vmin": -120, "vmax": 0}
        axes.set_facecolor("black")  # shows where there is no power, of which there is no logarithm
        with errstate(divide="ignore"):
            axes.specgram(sound, NFFT=window, Fs=signal.sample_rate / 1000, **options)
        axes.set(xlabel="ms", ylabel="kHz")
        axes.label_outer()

    @property
    def results(self) -> Mapping[str, Callable[..., Any]]:
        """The function `audio`."""
        return {"audio": audio}

    @property
    def exports(self) -> Mapping[str, type[Export]]:
        """The command `AudioExport`."""
        return {"audio": AudioExport}


def audio(fitted: FittedField, rate: float | None = None) -> ndarray:
    """Return the sound, [n] or [n, c], in the input's own units, an array's in its data type; the same seconds of it.

    Args:
        fitted: a field of kind "audio".
        rate: samples per second; the input's if left out.

    Raises:
        ValueError: a rate that leaves no sample or too many.
    """
    from ..fields.resample import resample, sound_positions
    from ..signals.grid import to_dtype

    record = fitted.record_as(AudioRecord)
    values = resample(fitted.field, [sound_positions(record, rate, "rate")])
    return like_input(to_dtype(values, record.dtype) if record.dtype is not None else values, record.ndim)


@dataclass
class AudioExport(Export):
    """Write a fitted sound at the input's sample rate and amplitude, or at any other rate.

    The original sound is not needed. Writes .wav, .flac, .ogg (Vorbis), .opus, .mp3, .aiff and what else libsndfile
    does, or .npy.
    """

    result = "audio"
    suffixes = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".npy")
    sample_rate: float | None = None
    """Samples per second; the input's if left out."""

    @classmethod
    def accepts(cls, output: Path) -> bool:
        """Return whether libsndfile writes files of this name's suffix."""
        from ..signals.audio import is_sound_format

        return super().accepts(output) or is_sound_format(output)

    def check(self, fitted: FittedField) -> None:
        """Check the kind, and that the output's format holds sounds of the input's channels and rate."""
        from ..export.grid import check_audio_format

        super().check(fitted)
        check_audio_format(fitted.field, self.output, self.sample_rate)

    def write(self, fitted: FittedField, progress: Progress) -> str:
        """Write the sound; return its length, rate and encoding."""
        from ..export.grid import export_audio

        return export_audio(fitted.field, self.output, self.sample_rate, progress)
