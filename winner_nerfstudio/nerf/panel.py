"""A picture of a sound and its fit: waveforms over each other, spectrograms one above the other."""

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

WIDTH, HEIGHT = 1200, 900
"""Of the picture, pixels."""
COLUMNS = 500
"""Moments at which a sound is looked at."""
FRAME = 1024
"""Samples of each look, fewer where the sound is shorter."""
MOST_POINTS = 1 << 14
"""Samples that are drawn one by one; the waveform of a longer sound is drawn as its envelope."""
DYNAMICS = 100.0
"""Decibels between the spectrogram's brightest and darkest colour."""


def frames_of(count: int) -> Int[ndarray, "columns frame"]:
    """Numbers of the samples in each frame of a sound of `count` samples; frames overlap or leave gaps as need be."""
    frame = min(FRAME, count)
    starts = np.linspace(0, count - frame, min(COLUMNS, count - frame + 1)).astype(np.int64)
    return starts[:, None] + np.arange(frame)


def draw_panel(
    fitted: Float[ndarray, "columns frame c"],
    truth: Float[ndarray, "columns frame c"],
    numbers: Int[ndarray, "columns frame"],
    sample_rate: float,
    start: float,
) -> Float[Tensor, "h w 3"]:
    """The panel, in [0, 1], `HEIGHT` x `WIDTH`.

    Args:
        fitted: the fit's samples, those of the target lying in [-1, 1].
        truth: the target's.
        numbers: which samples these are, see `frames_of`.
        sample_rate: samples per second.
        start: time of the first sample, seconds.
    """
    # Without pyplot, which keeps figures and wants the main thread.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    channels, end = truth.shape[-1], start + (int(numbers.max()) + 1) / sample_rate
    figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100, layout="constrained")
    axes = figure.subplots(channels + 2, 1, sharex=True, height_ratios=[2 / channels] * channels + [1.4, 1.4])
    for channel, plot in enumerate(axes[:channels]):
        for name, frames, style in (
            ("target", truth, {"color": "0.7"}),
            ("fit", fitted, {"color": "C0", "alpha": 0.6}),
        ):
            samples, low, high = _waveform(frames[..., channel], numbers)
            if high is low:
                plot.plot(start + samples / sample_rate, low, label=name, lw=3 if name == "target" else 1, **style)
            else:
                plot.fill_between(start + samples / sample_rate, low, high, label=name, lw=0, **style)
        plot.set(ylim=(-1.1, 1.1), xlim=(start, end), ylabel="amplitude" if channels == 1 else f"channel {channel + 1}")
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
            extent=(start, end, 0, sample_rate / 2000),
        )
        plot.set(ylabel=f"{name}, kHz")
    axes[-1].set(xlabel="seconds")
    figure.colorbar(shades, ax=list(axes[-2:]), label="dB", pad=0.01)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    return torch.from_numpy(pixels.astype(np.float32) / 255)


def _waveform(
    frames: Float[ndarray, "columns frame"], numbers: Int[ndarray, "columns frame"]
) -> tuple[ndarray, ndarray, ndarray]:
    """Sample numbers with the least and the greatest value about each; one and the same array where all are there."""
    count, (columns, frame) = int(numbers.max()) + 1, frames.shape
    if count <= MOST_POINTS:
        shown, place = np.unique(numbers, return_index=True)
        values = frames.reshape(-1)[place]
        return shown, values, values
    size = min(frame, max(2, count // columns))
    middle = slice((frame - size) // 2, (frame + size) // 2)
    return numbers[:, frame // 2], frames[:, middle].min(-1), frames[:, middle].max(-1)


def _spectrogram(frames: Float[ndarray, "columns frame c"]) -> Float[ndarray, "columns bins"]:
    """Power of each frame under a Hann window, the mean over channels."""
    window = np.hanning(frames.shape[1] + 2)[1:-1, None]
    return (np.abs(np.fft.rfft(frames * window, axis=1)) ** 2).mean(-1)
