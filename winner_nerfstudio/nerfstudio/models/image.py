"""The model of a picture."""

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.viewer.viewer_elements import ViewerCheckbox, ViewerSlider
from torch import Tensor

from .grid import GridModel, error_colors, within

if TYPE_CHECKING:
    from ...signals.image import Image

LARGEST_PICTURE = 1024
SMALLEST_PICTURE = 256
"""Pixels of the longer side between which pictures of the fit are kept."""
CLOSEST = 8
"""Pixels of the longer side that are in frame at the greatest zoom, at most."""


class ImageModel(GridModel):
    """Fits a picture, which hangs in the plane z = 0, upright and in front of the first view."""

    signal: "Image"
    layers = ("rgb", "target", "error")

    def populate_modules(self) -> None:
        """Besides the field, what the viewer lets its user choose."""
        super().populate_modules()
        rows, columns = self.signal.lattice.shape
        closest = max(1, math.ceil(math.log2(max(rows, columns) / CLOSEST)))
        # They are shown in the order of their names here.
        self.magnification = ViewerSlider(
            "Zoom, doublings", 0.0, 0.0, float(closest), 0.1, hint="0 shows all of the picture, 3 magnifies 8 times."
        )
        self.middle_column = ViewerSlider(
            "Centre, column", columns // 2, 0, max(1, columns - 1), 1, hint="The pixel in the middle, from the left."
        )
        self.middle_row = ViewerSlider(
            "Centre, row", rows // 2, 0, max(1, rows - 1), 1, hint="The pixel in the middle, from the top."
        )
        self.smooth = ViewerCheckbox(
            "Between pixels", False, hint="The fit at every place, not only at the pixels that it was fitted to."
        )

    def half_size(self) -> tuple[float, float]:
        """Half the picture's width and height, borders of pixels included."""
        height, width = self.signal.lattice.shape
        return width / 2 * self.signal.lattice.spacing, height / 2 * self.signal.lattice.spacing

    def paint(self, layer: str, place: Float[Tensor, "n 2"]) -> Float[Tensor, "n 3"]:
        """``rgb`` of the fit, ``target``, or the ``error`` of the fit against the truth, pixels being squares."""
        coords = self.signal.lattice.at(self._position(place))
        if layer == "rgb" and self.smooth.value:
            return _display(self.field.evaluate(coords).cpu(), self.signal.draft.mode)
        number, where = self.signal.lattice.nearest(coords).cpu().unique(return_inverse=True)
        return self._pixels(layer, number)[where]

    def pictures(self, signal: "Image", camera: Cameras) -> dict[str, Float[Tensor, "h w 3"]]:  # type: ignore[override]
        """Target, fit and error, pixel by pixel; a large picture every so many pixels, a small one enlarged."""
        shape = signal.lattice.shape
        factor = min(LARGEST_PICTURE / max(shape), 1.0)
        sizes = [max(1, round(n * factor)) for n in shape]
        rows, columns = (
            np.floor((np.arange(size) + 0.5) * n / size).astype(np.int64) for size, n in zip(sizes, shape, strict=True)
        )
        numbers = torch.from_numpy(rows[:, None] * shape[1] + columns)
        enlarged = max(1, SMALLEST_PICTURE // max(sizes))
        pictures = {}
        for name, output in {"target": "target", "fit": "rgb", "error": "error"}.items():
            picture = self._pixels(output, numbers.flatten()).reshape(*sizes, 3)
            pictures[name] = picture.repeat_interleave(enlarged, 0).repeat_interleave(enlarged, 1)
        return pictures

    def _position(self, place: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
        """Rows and columns that places of the plane show; what is in frame never leaves the picture."""
        shape = np.array(self.signal.lattice.shape)
        zoom = 2 ** within(self.magnification)
        middle = np.clip(
            [within(self.middle_row), within(self.middle_column)],
            shape / zoom / 2 - 0.5,
            shape - shape / zoom / 2 - 0.5,
        )
        offset = torch.stack([-place[:, 1], place[:, 0]], -1) / (self.signal.lattice.spacing * zoom)
        return torch.from_numpy(middle).to(place.device) + offset

    def _pixels(self, layer: str, number: Int[Tensor, " n"]) -> Float[Tensor, "n 3"]:
        """Colours of one of the `layers` at pixels, counted row by row."""
        signal, mode = self.signal, self.signal.draft.mode

        def at_pixels(values: Float[np.ndarray, "h w c"]) -> Float[Tensor, "n c"]:
            return torch.from_numpy(values.reshape(-1, signal.channels)[number.numpy()])

        if layer == "target":
            return _display(at_pixels(signal.values), mode)
        fitted = self.field.evaluate(signal.lattice.coords(number)).cpu()
        return _display(fitted, mode) if layer == "rgb" else error_colors(fitted, at_pixels(signal.truth))


def _display(values: Float[Tensor, "n c"], mode: str) -> Float[Tensor, "n 3"]:
    """Colours in [0, 1] of values in [-1, 1]: alpha over white, CMYK without a profile, of many channels the first."""
    shown = ((values + 1) / 2).clamp(0, 1)
    channels = shown.shape[-1]
    if mode == "CMYK":
        return (1 - shown[:, :3]) * (1 - shown[:, 3:])
    alpha = shown[:, -1:] if channels in (2, 4) and mode != "array" else 1.0
    color = shown[:, :3] if channels >= 3 else shown[:, :1].expand(-1, 3)
    return color * alpha + (1 - alpha)
