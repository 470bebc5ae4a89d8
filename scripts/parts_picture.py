"""Draw the picture of docs/results.md: a photograph, one network's fit of it, and that of small networks for its parts.

Both fits get the same time on the same processor. The photograph is scikit-image's astronaut, 512 by 512 pixels, which
is in the public domain; the picture shows a piece of it. It takes some minutes on two cores, and needs neither
nerfstudio nor a GPU.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage
import tyro
from matplotlib.figure import Figure
from numpy import ndarray

from winner_nerfstudio import FittedField, fit

PIECE = slice(70, 130), slice(175, 235)
"""The rows and columns that are shown."""
PROBE = 20
"""Training steps from which the single network's speed is known."""


@dataclass
class Arguments:
    """What to draw."""

    steps: int | None = None
    """Training steps of the small networks, if not the default."""
    output: Path = Path("docs/parts.png")
    """The picture to write."""


def fit_timed(picture: ndarray, **options: object) -> tuple[FittedField, float]:
    """Return a fit and the processor seconds that it took, with its initialisation."""
    began = time.process_time()
    return fit(picture, "image", measure=False, **options), time.process_time() - began  # type: ignore[arg-type]


def psnr(target: ndarray, fitted: ndarray) -> float:
    """Return the peak signal-to-noise ratio of pictures of 8 bits, dB."""
    return 20 * float(np.log10(255 / np.sqrt(np.mean((fitted.astype(float) - target) ** 2))))


def main() -> None:
    """Fit the photograph twice and draw both."""
    arguments = tyro.cli(Arguments, description=__doc__)
    picture = skimage.io.imread(Path(skimage.__file__).parent / "data/astronaut.png")
    parts, seconds = fit_timed(picture, steps=arguments.steps)
    _, start = fit_timed(picture, parts=(1,), steps=1)
    _, some = fit_timed(picture, parts=(1,), steps=1 + PROBE)
    steps = max(1, round((seconds - start) / (some - start) * PROBE))
    single, taken = fit_timed(picture, parts=(1,), steps=steps)
    print(f"small networks: {seconds:.0f} s; one network, {steps} steps: {taken:.0f} s")
    figure = Figure(figsize=(10.5, 3.8), dpi=100, layout="constrained")
    shown = {"target": picture, "one network": single.image(), "small networks for parts": parts.image()}
    for axes, (name, each) in zip(figure.subplots(1, 3), shown.items(), strict=True):
        axes.imshow(each[PIECE], interpolation="nearest")
        axes.set_title(name if each is picture else f"{name}: {psnr(picture, each):.1f} dB")
        axes.axis("off")
    figure.savefig(arguments.output)
    print(arguments.output)


if __name__ == "__main__":
    main()
