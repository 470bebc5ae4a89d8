"""The nerfstudio model of a picture."""

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.viewer.viewer_elements import ViewerCheckbox, ViewerSlider
from torch import Tensor

from ...signals.records import PREMULTIPLIED, STRAIGHT_ALPHA
from ..viewer.color_legend import error_colors, with_error_legend
from ..viewer.export_button import ExportFit
from ..viewer.pixel_reader import PixelReader, Values
from .grid import GridModel, within

if TYPE_CHECKING:
    from ...signals.image import Image

LARGEST_PICTURE = 1024
SMALLEST_PICTURE = 256
"""Greatest and least number of pixels of the longer side of the pictures of a fit."""
CLOSEST = 8
"""Greatest number of pixels of the longer side that are visible at the greatest zoom."""


class ImageModel(GridModel):
    """A model of a picture, which is shown in the plane z = 0, upright and facing the viewer's first view."""

    signal: "Image"
    layers = ("rgb", "target", "error")

    def populate_modules(self) -> None:
        """Build the field and the viewer's controls."""
        super().populate_modules()
        rows, columns = self.signal.lattice.shape
        closest = max(1, math.ceil(math.log2(max(rows, columns) / CLOSEST)))
        # The viewer shows the controls in the order of these attributes' names.
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
            "Between pixels", False, hint="The fit everywhere, not only at the pixels that it was fitted to."
        )
        self.pixel = PixelReader(self._find_pixel, self._read_pixel)
        self.write_now = ExportFit(self.field, self.signal.name, self.signal.suffix)

    def half_size(self) -> tuple[float, float]:
        """Return half the picture's width and half its height, up to the outer borders of its pixels."""
        height, width = self.signal.lattice.shape
        return width / 2 * self.signal.lattice.spacing, height / 2 * self.signal.lattice.spacing

    def paint(self, layer: str, plane_coords: Float[Tensor, "n 2"]) -> Float[Tensor, "n 3"]:
        """Return the colours of a layer, with each pixel as a square.

        The layers are ``rgb``, the fit; ``target``; and ``error``, that of the fit against the ground truth.
        """
        coords = self.signal.lattice.at(self._locate(plane_coords))
        nearest = self.signal.lattice.nearest(coords).cpu()
        if layer == "rgb" and self.smooth.value:
            colors = _convert_to_colors(self.field.evaluate(coords).cpu(), self.signal.draft.mode)
            return self.hide_missing(colors, nearest)
        unique, inverse = nearest.unique(return_inverse=True)
        return self._color_pixels(layer, unique)[inverse]

    def annotate(self, name: str, picture: Float[Tensor, "h w c"]) -> Float[Tensor, "h w c"]:
        """Add a legend to the error."""
        return with_error_legend(picture, "error, relative to the range of values") if name == "error" else picture

    def pictures(self, signal: "Image", camera: Cameras) -> dict[str, Float[Tensor, "h w 3"]]:  # type: ignore[override]
        """Return target, fit and error; pixels of a large picture are skipped, and those of a small one repeated."""
        shape = signal.lattice.shape
        factor = min(LARGEST_PICTURE / max(shape), 1.0)
        sizes = [max(1, round(n * factor)) for n in shape]
        rows, columns = (
            np.floor((np.arange(size) + 0.5) * n / size).astype(np.int64) for size, n in zip(sizes, shape, strict=True)
        )
        indices = torch.from_numpy(rows[:, None] * shape[1] + columns)
        repeats = max(1, SMALLEST_PICTURE // max(sizes))
        pictures = {}
        for name, output in {"target": "target", "fit": "rgb", "error": "error"}.items():
            picture = self._color_pixels(output, indices.flatten()).reshape(*sizes, 3)
            pictures[name] = picture.repeat_interleave(repeats, 0).repeat_interleave(repeats, 1)
        return pictures

    def _locate(self, plane_coords: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
        """Return the rows and columns that are shown at coordinates of the plane; zooming never leaves the picture."""
        shape = np.array(self.signal.lattice.shape)
        zoom = 2 ** within(self.magnification)
        middle = np.clip(
            [within(self.middle_row), within(self.middle_column)],
            shape / zoom / 2 - 0.5,
            shape - shape / zoom / 2 - 0.5,
        )
        offset = torch.stack([-plane_coords[:, 1], plane_coords[:, 0]], -1) / (self.signal.lattice.spacing * zoom)
        return torch.from_numpy(middle).to(plane_coords.device) + offset

    def _find_pixel(self, x: float, y: float) -> tuple[int, int] | None:
        """Return the row and the column of the pixel at a point of the plane, None beside the picture."""
        width, height = self.half_size()
        if abs(x) > width or abs(y) > height:
            return None
        located = self._locate(torch.tensor([[x, y]], dtype=torch.float64))[0]
        row, column = (
            min(max(round(float(at)), 0), n - 1) for at, n in zip(located, self.signal.lattice.shape, strict=True)
        )
        return row, column

    def _read_pixel(self, row: int, column: int) -> Values:
        """Return the values of target and fit at a pixel, and their difference, in the units of the file."""
        signal, index = self.signal, torch.tensor([row * self.signal.lattice.shape[1] + column])
        with torch.no_grad():
            fitted = self.field.evaluate(signal.lattice.coords(index)).cpu().numpy()[0]
        target = signal.units.to_own(signal.values[row, column])
        if signal.missing is not None and signal.missing[row, column]:
            target = np.full_like(target, np.nan, np.float64)
        values = {"target": target, "fit": signal.units.to_own(fitted)}
        return values | {"difference": values["fit"] - values["target"]}

    def _color_pixels(self, layer: str, index: Int[Tensor, " n"]) -> Float[Tensor, "n 3"]:
        """Return the colours of a layer at pixels, whose indices are in row-major order."""
        signal, mode = self.signal, self.signal.draft.mode

        def select(values: Float[np.ndarray, "h w c"]) -> Float[Tensor, "n c"]:
            return torch.from_numpy(values.reshape(-1, signal.channels)[index.numpy()])

        if layer == "target":
            colors = _convert_to_colors(select(signal.values), mode)
        else:
            fitted = self.field.evaluate(signal.lattice.coords(index)).cpu()
            is_fit = layer == "rgb"
            colors = _convert_to_colors(fitted, mode) if is_fit else error_colors(fitted, select(signal.truth))
        return self.hide_missing(colors, index)


def _convert_to_colors(values: Float[Tensor, "n c"], mode: str) -> Float[Tensor, "n 3"]:
    """Convert values in [-1, 1] to colours in [0, 1].

    Transparent pixels are shown over white, CMYK is converted without a profile, and of five channels or more the first
    three are shown.
    """
    shown = ((values + 1) / 2).clamp(0, 1)
    channels = shown.shape[-1]
    if mode in ("CMYK", "CMYK+"):
        return (1 - shown[:, :3]) * (1 - shown[:, 3:4])
    alpha = shown[:, -1:] if channels in (2, 4) and mode in (*STRAIGHT_ALPHA, *PREMULTIPLIED) else 1.0
    color = shown[:, :3] if channels >= 3 else shown[:, :1].expand(-1, 3)
    return (color if mode in PREMULTIPLIED else color * alpha) + (1 - alpha)
