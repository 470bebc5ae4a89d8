"""A picture of a sound and its fit: waveforms drawn over each other, and a spectrogram of each below."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

WIDTH, HEIGHT = 1200, 900
"""Size of the picture, pixels."""
DPI = 150
"""Resolution of the picture; high enough for labels to be read where the viewer shows it at half its size."""
COLUMNS = 500
"""Largest number of frames, which are the columns of the spectrogram."""
FRAME = 1024
"""Samples per frame; fewer in a short window."""
SHORTEST_FRAME = 64
"""Samples per frame, at least, in a window that has as many."""
MOST_POINTS = 1 << 14
"""Largest number of samples that are drawn one by one; the waveform of a longer window is drawn as its envelope."""
MOST_DOTS = 1 << 8
"""Largest number of samples that are marked by dots as well."""
DYNAMICS = 100.0
"""Decibels between the darkest and the brightest colour of a spectrogram."""


@dataclass(frozen=True)
class Window:
    """The part of a sound that is shown.

    Attributes:
        first: index of its first sample.
        count: number of its samples.
    """

    first: int
    count: int


class TimeAxis(NamedTuple):
    """The times of a sound's samples.

    Attributes:
        sample_rate: samples per second.
        start: time of the sound's first sample, seconds.
    """

    sample_rate: float
    start: float

    def seconds(self, indices: Any) -> Any:
        """Return the times of samples, seconds."""
        return self.start + indices / self.sample_rate

    def limits(self, window: Window) -> tuple[float, float]:
        """Return the times of a window's first sample and of the first one after it, seconds."""
        return self.seconds(window.first), self.seconds(window.first + window.count)


def select_frame_centers(window: Window) -> Int[ndarray, " columns"]:
    """Return the indices of the samples at the centres of a window's frames, evenly spaced."""
    columns = min(COLUMNS, window.count)
    centers: ndarray = window.first + ((np.arange(columns) + 0.5) * window.count / columns).astype(np.int64)
    return centers


def select_frames(window: Window) -> Int[ndarray, "columns frame"]:
    """Return the indices of the samples of each of a window's frames.

    A frame lies around its centre; near the ends of the window it is moved so as to stay inside.
    """
    # In a short window frames are short, so that its spectrogram has several that differ.
    frame = min(window.count, max(SHORTEST_FRAME, min(FRAME, window.count // 8)))
    starts = (select_frame_centers(window) - frame // 2).clip(window.first, window.first + window.count - frame)
    indices: ndarray = starts[:, None] + np.arange(frame)
    return indices


def draw_panel(
    fitted: Float[ndarray, "columns frame c"],
    truth: Float[ndarray, "columns frame c"],
    window: Window,
    sample_rate: float,
    start: float,
) -> Float[Tensor, "h w 3"]:
    """Draw the panel of a window of a sound.

    Args:
        fitted: samples of the fit in the frames of `select_frames`.
        truth: samples of the target in the same frames, in [-1, 1].
        window: the part of the sound that is shown.
        sample_rate: samples per second.
        start: time of the sound's first sample, seconds.

    Returns:
        A picture of `HEIGHT` x `WIDTH` pixels with values in [0, 1].
    """
    # Not by pyplot, which keeps every figure and must run in the main thread.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    time, channels = TimeAxis(sample_rate, start), truth.shape[-1]
    figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI, layout="constrained")
    axes = figure.subplots(channels + 2, 1, sharex=True, height_ratios=[2 / channels] * channels + [1.4, 1.4])
    _draw_waveforms(axes[:channels], fitted, truth, window, time)
    _draw_spectrograms(axes[channels:], fitted, truth, window, time)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    return torch.from_numpy(pixels.astype(np.float32) / 255)


def _draw_waveforms(
    axes: Any,
    fitted: Float[ndarray, "columns frame c"],
    truth: Float[ndarray, "columns frame c"],
    window: Window,
    time: TimeAxis,
) -> None:
    """Draw the waveforms of target and fit over each other, one channel to each of the axes."""
    for channel, plot in enumerate(axes):
        _draw_waveform(plot, truth[..., channel], window, time, label="target", color="0.7", width=2.0)
        _draw_waveform(plot, fitted[..., channel], window, time, label="fit", color="C0", width=0.7, alpha=0.6)
        label = "amplitude" if len(axes) == 1 else f"channel {channel + 1}"
        plot.set(ylim=(-1.1, 1.1), xlim=time.limits(window), ylabel=label)
    axes[0].legend(loc="upper right", ncols=2)


def _draw_waveform(
    plot: Any, frames: Float[ndarray, "columns frame"], window: Window, time: TimeAxis, width: float, **style: Any
) -> None:
    """Draw one waveform: sample by sample as a line of some `width`, or that of a long window as its envelope."""
    if window.count > MOST_POINTS:
        indices, low, high = _measure_envelope(frames, window)
        plot.fill_between(time.seconds(indices), low, high, lw=0, **style)
    else:
        indices, positions = np.unique(select_frames(window), return_index=True)
        marker = "o" if window.count <= MOST_DOTS else None
        values = frames.reshape(-1)[positions]
        plot.plot(time.seconds(indices), values, lw=width, marker=marker, ms=width + 2, **style)


def _measure_envelope(
    frames: Float[ndarray, "columns frame"], window: Window
) -> tuple[Int[ndarray, " columns"], Float[ndarray, " columns"], Float[ndarray, " columns"]]:
    """Return the centres of the frames, and the least and the greatest value between neighbouring centres."""
    centers = select_frame_centers(window)
    size = min(frames.shape[1], max(2, window.count // len(centers)))
    begins = (centers - size // 2 - select_frames(window)[:, 0]).clip(0, frames.shape[1] - size)
    near = np.take_along_axis(frames, begins[:, None] + np.arange(size), 1)
    return centers, near.min(-1), near.max(-1)


def _draw_spectrograms(
    axes: Any,
    fitted: Float[ndarray, "columns frame c"],
    truth: Float[ndarray, "columns frame c"],
    window: Window,
    time: TimeAxis,
) -> None:
    """Draw the spectrograms of the fit and of the target, in decibels below the target's greatest power."""
    powers = {"fit": _compute_powers(fitted), "target": _compute_powers(truth)}
    top = powers["target"].max() or 1.0
    for (name, power), plot in zip(powers.items(), axes, strict=True):
        decibels = 10 * np.log10(np.maximum(power / top, 10 ** (-DYNAMICS / 10)))
        shades = plot.imshow(
            decibels.T,
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmin=-DYNAMICS,
            vmax=0,
            interpolation="nearest",
            extent=(*time.limits(window), 0, time.sample_rate / 2000),
        )
        plot.set(ylabel=f"{name}, kHz")
    axes[-1].set(xlabel="seconds")
    axes[-1].ticklabel_format(axis="x", useOffset=False)
    axes[-1].figure.colorbar(shades, ax=list(axes), label="dB", pad=0.01)


def _compute_powers(frames: Float[ndarray, "columns frame c"]) -> Float[ndarray, "columns bins"]:
    """Compute the power spectrum of each frame under a Hann window, averaged over the channels."""
    hann = np.hanning(frames.shape[1] + 2)[1:-1, None]
    powers: ndarray = (np.abs(np.fft.rfft(frames * hann, axis=1)) ** 2).mean(-1)
    return powers
