"""Draw the README's picture: a target, SIREN's fit and WINNER's after equally many steps of the same network.

Both targets are made by code, so that anyone can draw the picture again; it takes about a minute on two cores. Needs
neither nerfstudio nor a GPU.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from matplotlib.figure import Figure
from numpy import ndarray

from winner_nerfstudio import FittedField, fit
from winner_nerfstudio.signals.samples import bells, mandala


@dataclass
class Arguments:
    """What to draw."""

    steps: int = 100
    """Training steps of each of the four fits."""
    output: Path = Path("docs/siren-winner.png")
    """The picture to write."""


def psnr(target: ndarray, fitted: ndarray, data_range: float) -> float:
    """Return the peak signal-to-noise ratio in dB of a fit whose values could span `data_range`."""
    error = np.sqrt(np.mean((fitted.astype(float) - target) ** 2))
    return 20 * float(np.log10(data_range / error))


def fit_both(sample: str, steps: int) -> dict[str, FittedField]:
    """Fit a built-in sample twice, from SIREN's initialisation and from WINNER's, and say how long each took."""
    fields = {}
    for name in ("SIREN", "WINNER"):
        start = time.perf_counter()
        fields[name] = fit(f"sample:{sample}", init=name.lower(), steps=steps, parts=(1,), measure=False)
        print(f"{sample}, {name}: {steps} steps, {time.perf_counter() - start:.0f} s")
    return fields


def draw(target: ndarray, sound: ndarray, rate: int, fits: list[dict[str, FittedField]]) -> Figure:
    """Draw the picture's three columns: both targets, SIREN's fits, WINNER's fits."""
    figure = Figure(figsize=(10.5, 6.4), dpi=100, layout="constrained")
    upper, lower = figure.subplots(2, 3, sharey="row", height_ratios=[2.2, 1])
    shown = slice(round(0.1 * rate), round(0.11 * rate))
    milliseconds = np.arange(len(sound))[shown] / rate * 1000
    pictures = {"target": target} | {name: field.image() for name, field in fits[0].items()}
    waves = {"target": sound} | {name: field.audio() for name, field in fits[1].items()}
    for above, below, name in zip(upper, lower, pictures, strict=True):
        above.imshow(pictures[name], interpolation="nearest")
        above.axis("off")
        below.plot(milliseconds, sound[shown], color="0.75", lw=5)
        below.plot(milliseconds, waves[name][shown], color="0.2" if name == "target" else "C0", lw=1.4)
        below.set(xlabel="milliseconds", ylim=(-0.5, 0.5), yticks=[])
        titles = ["target: a picture", "target: a sound"]
        if name != "target":
            values = psnr(target, pictures[name], 255), psnr(sound, waves[name], 2 * np.abs(sound).max())
            titles = [f"{name}: {value:.1f} dB" for value in values]
        for axis, title in zip((above, below), titles, strict=True):
            axis.set_title(title, fontsize=14)
            print(title)
    return figure


def main() -> None:
    """Fit, compare, draw."""
    arguments = tyro.cli(Arguments, description=__doc__)
    sound, rate = bells()
    fits = [fit_both(sample, arguments.steps) for sample in ("mandala", "bells")]
    draw(mandala(), sound[:, 0], rate, fits).savefig(arguments.output, bbox_inches="tight")


if __name__ == "__main__":
    main()
