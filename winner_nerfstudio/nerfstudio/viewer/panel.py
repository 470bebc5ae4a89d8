"""A picture of a sound and its fit: waveforms over each other, spectrograms one above the other."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

WIDTH, HEIGHT = 1200, 900
"""Of the picture, pixels."""
DPI = 150
"""So many that the labels can be read where the viewer shows the picture at half its size."""
COLUMNS = 500
"""Moments at which a sound is looked at."""
FRAME = 1024
"""Samples of each look, fewer in a short window."""
SHORTEST_FRAME = 64
MOST_POINTS = 1 << 14
"""Samples that are drawn one by one; the waveform of a longer window is drawn as its envelope."""
MOST_DOTS = 1 << 8
"""Samples that are marked besides."""
DYNAMICS = 100.0
"""Decibels between the spectrogram's brightest and darkest colour."""


@dataclass(frozen=True)
class Window:
    """A part of a sound: the number of its first sample, and how many there are."""

    first: int
    count: int


def moments_of(window: Window) -> Int[ndarray, " columns"]:
    """Numbers of the samples at which a window is looked at, at equal distances."""
    columns = min(COLUMNS, window.count)
    return window.first + ((np.arange(columns) + 0.5) * window.count / columns).astype(np.int64)


def frames_of(window: Window) -> Int[ndarray, "columns frame"]:
    """Numbers of the samples about each moment; at the ends what is nearest, for a frame never leaves the window."""
    # Several frames fit into a short window, for its spectrogram would show little otherwise.
    frame = min(window.count, max(SHORTEST_FRAME, min(FRAME, window.count // 8)))
    starts = (moments_of(window) - frame // 2).clip(window.first, window.first + window.count - frame)
    return starts[:, None] + np.arange(frame)


def draw_panel(
    fitted: Float[ndarray, "columns frame c"],
    truth: Float[ndarray, "columns frame c"],
    window: Window,
    sample_rate: float,
    start: float,
) -> Float[Tensor, "h w 3"]:
    """The panel, in [0, 1], `HEIGHT` x `WIDTH`.

    Args:
        fitted: the fit's samples in the window's frames, see `frames_of`; those of the target lie in [-1, 1].
        truth: the target's.
        window: the part that is shown.
        sample_rate: samples per second.
        start: time of the sound's first sample, seconds.
    """
    # Without pyplot, which keeps figures and wants the main thread.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    channels, dots = truth.shape[-1], window.count <= MOST_DOTS
    begin, end = start + window.first / sample_rate, start + (window.first + window.count) / sample_rate
    figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI, layout="constrained")
    axes = figure.subplots(channels + 2, 1, sharex=True, height_ratios=[2 / channels] * channels + [1.4, 1.4])
    for channel, plot in enumerate(axes[:channels]):
        for name, frames, style in (
            ("target", truth, {"color": "0.7"}),
            ("fit", fitted, {"color": "C0", "alpha": 0.6}),
        ):
            numbers, low, high = _waveform(frames[..., channel], window)
            seconds = start + numbers / sample_rate
            if high is low:
                width = 2.0 if name == "target" else 0.7
                plot.plot(seconds, low, label=name, lw=width, marker="o" if dots else None, ms=width + 2, **style)
            else:
                plot.fill_between(seconds, low, high, label=name, lw=0, **style)
        plot.set(ylim=(-1.1, 1.1), xlim=(begin, end), ylabel="amplitude" if channels == 1 else f"channel {channel + 1}")
    axes[0].legend(loc="upper right", ncols=2)
    wanted, got = _spectrogram(truth), _spectrogram(fitted)
    top = wanted.max() or 1.0
    for name, power, plot in (("fit", got, axes[-2]), ("target", wanted, axes[-1])):
        decibels = 10 * np.log10(np.maximum(power / top, 10 ** (-DYNAMICS / 10)))
        shades = plot.imshow(
            decibels.T,
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmin=-DYNAMICS,
            vmax=0,
            interpolation="nearest",
            extent=(begin, end, 0, sample_rate / 2000),
        )
        plot.set(ylabel=f"{name}, kHz")
    axes[-1].set(xlabel="seconds")
    axes[-1].ticklabel_format(axis="x", useOffset=False)
    figure.colorbar(shades, ax=list(axes[-2:]), label="dB", pad=0.01)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    return torch.from_numpy(pixels.astype(np.float32) / 255)


def _waveform(frames: Float[ndarray, "columns frame"], window: Window) -> tuple[ndarray, ndarray, ndarray]:
    """Sample numbers with the least and the greatest value about each; one and the same array where all are there."""
    numbers, moments = frames_of(window), moments_of(window)
    if window.count <= MOST_POINTS:
        shown, place = np.unique(numbers, return_index=True)
        values = frames.reshape(-1)[place]
        return shown, values, values
    size = min(frames.shape[1], max(2, window.count // len(moments)))
    about = (moments - size // 2 - numbers[:, 0]).clip(0, frames.shape[1] - size)
    near = np.take_along_axis(frames, about[:, None] + np.arange(size), 1)
    return moments, near.min(-1), near.max(-1)


def _spectrogram(frames: Float[ndarray, "columns frame c"]) -> Float[ndarray, "columns bins"]:
    """Power of each frame under a Hann window, the mean over channels."""
    window = np.hanning(frames.shape[1] + 2)[1:-1, None]
    return (np.abs(np.fft.rfft(frames * window, axis=1)) ** 2).mean(-1)
