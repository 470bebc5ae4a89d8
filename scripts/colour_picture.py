"""Draw the picture of docs/colour.md: a textured torus, and its colours as single networks and cells fit them.

The torus, its texture and the fits are those of ``compare_colour.py``, everything by default but what the titles say.
The colours are shown without light, at the points of the torus itself. It takes some minutes.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import tyro
from compare_colour import write_shape
from jaxtyping import Float
from matplotlib.figure import Figure
from numpy import ndarray

from winner_nerfstudio import fit
from winner_nerfstudio.signals.cloud import load_surface
from winner_nerfstudio.signals.shape.painting import Painting

SIZE = 320
"""Pixels of an image's sides."""
EYE = np.array([0.5, -0.75, 0.7])
"""Where one looks from, towards the middle of the torus."""
WIDTH, MIDDLE = 0.2, np.array([0.05, -0.42])
"""Half of what an image shows, and its middle, to the right and up, in the lengths of the cube."""
FITS: dict[str, dict[str, object]] = {
    "one network, SIREN's initialisation": {"parts": (1,), "init": "siren"},
    "one network, WINNER's": {"parts": (1,)},
    "cells, the default": {},
}


@dataclass
class Arguments:
    """What to draw."""

    steps: int | None = None
    """Training steps of each fit, if not the default."""
    output: Path = Path("docs/colour.png")
    """The picture to write."""


def cast_rays() -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n 3"]]:
    """Return where the rays of the pixels begin, and their common direction."""
    ahead = -EYE / np.linalg.norm(EYE)
    right = np.cross(ahead, [0, 0, 1])
    right /= np.linalg.norm(right)
    up = np.cross(right, ahead)
    x, y = np.meshgrid(*(WIDTH * np.linspace(-1, 1, SIZE) for _ in range(2)))
    begins = (x.reshape(-1, 1) + MIDDLE[0]) * right + (MIDDLE[1] - y.reshape(-1, 1)) * up - 3 * ahead
    return begins, np.broadcast_to(ahead, begins.shape).copy()


def main() -> None:
    """Fit the colours in three ways and draw them beside the target's."""
    arguments = tyro.cli(Arguments, description=__doc__)
    with TemporaryDirectory() as folder:
        shape = load_surface(write_shape("torus", "leaves", 0, Path(folder)), colors=True)
    begins, directions = cast_rays()
    depth, hit, _ = shape.cast_rays(begins, directions)
    points = (begins + depth[:, None] * directions)[hit]
    shown = {"target": shape.color_at(points)}
    for name, options in FITS.items():
        field = fit(Painting(shape), seed=0, steps=arguments.steps, **options)  # type: ignore[arg-type]
        quality = field.provenance["figures"]["psnr_colour"]
        shown[f"{name}: {quality:.1f} dB"] = field(shape.normalization.to_world(points))
    figure = Figure(figsize=(4 * 3.2, 3.5), dpi=100, layout="constrained")
    for axes, (name, colors) in zip(figure.subplots(1, len(shown)), shown.items(), strict=True):
        image = np.ones((SIZE * SIZE, 3))
        image[hit] = np.clip(colors, 0, 1)
        axes.imshow(image.reshape(SIZE, SIZE, 3), interpolation="nearest")
        axes.set_title(name, fontsize=10)
        axes.axis("off")
    figure.savefig(arguments.output)
    print(arguments.output)


if __name__ == "__main__":
    main()
