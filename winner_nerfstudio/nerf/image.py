"""The model of a picture."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor

from ..metrics.image import ssim
from .datamanager import ResidentDataManagerConfig, subcommand
from .dataparsers import ImageDataParserConfig
from .grid import GridModel, GridModelConfig, error_colors

if TYPE_CHECKING:
    from ..signals.image import Image

LARGEST_PICTURE = 1024
SMALLEST_PICTURE = 256
"""Pixels of the longer side between which pictures of the fit are kept."""

ImageData = subcommand("image-data", ImageDataParserConfig)


@dataclass
class ImageDataManagerConfig(ResidentDataManagerConfig):
    """Pixels of a picture."""

    dataparser: ImageDataParserConfig = field(default_factory=ImageDataParserConfig)
    short: ImageData = field(default_factory=ImageDataParserConfig)  # type: ignore[valid-type]


@dataclass
class ImageModelConfig(GridModelConfig):
    """A picture."""

    _target: type = field(default_factory=lambda: ImageModel)


class ImageModel(GridModel):
    """Fits a picture, which hangs in the plane z = 0, upright and in front of the first view."""

    config: ImageModelConfig
    signal: "Image"
    exports = "image"

    def own_figures(self, signal: "Image", fitted: Float[np.ndarray, "h w c"]) -> dict[str, float]:  # type: ignore[override]
        """``ssim``."""
        similarity = ssim(fitted, signal.truth)
        return {} if similarity is None else {"ssim": similarity}

    def half_size(self) -> tuple[float, float]:
        """Half the picture's width and height, borders of pixels included."""
        height, width = self.signal.lattice.shape
        return width / 2 * self.signal.lattice.spacing, height / 2 * self.signal.lattice.spacing

    def paint(self, place: Float[Tensor, "n 2"]) -> dict[str, Float[Tensor, "n 3"]]:
        """``rgb`` of the fit, ``target``, and the ``error`` of the fit against the nearest pixel's truth."""
        coords = torch.stack([-place[:, 1], place[:, 0]], -1)
        return {name: color.to(place) for name, color in self._colors(coords).items()}

    def pictures(self, signal: "Image", camera: Cameras) -> dict[str, Float[Tensor, "h w 3"]]:  # type: ignore[override]
        """Target, fit and error, pixel by pixel; a large picture every so many pixels, a small one enlarged."""
        shape = signal.lattice.shape
        factor = min(LARGEST_PICTURE / max(shape), 1.0)
        sizes = [max(1, round(n * factor)) for n in shape]
        rows, columns = (np.floor((np.arange(size) + 0.5) * n / size) for size, n in zip(sizes, shape, strict=True))
        places = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1)
        colors = self._colors(signal.lattice.at(torch.from_numpy(places.reshape(-1, 2))))
        enlarged = max(1, SMALLEST_PICTURE // max(places.shape[:2]))
        pictures = {}
        for name, output in {"target": "target", "fit": "rgb", "error": "error"}.items():
            picture = colors[output].reshape(*places.shape[:2], 3)
            pictures[name] = picture.repeat_interleave(enlarged, 0).repeat_interleave(enlarged, 1)
        return pictures

    def _colors(self, coords: Float[Tensor, "n 2"]) -> dict[str, Float[Tensor, "n 3"]]:
        signal = self.signal
        number = signal.lattice.nearest(coords).cpu().numpy()
        target, truth = (
            torch.from_numpy(each.reshape(-1, signal.channels)[number]) for each in (signal.values, signal.truth)
        )
        fit = self.field.evaluate(coords).cpu()
        mode = signal.record["mode"]
        return {"rgb": _display(fit, mode), "target": _display(target, mode), "error": error_colors(fit, truth)}


def _display(values: Float[Tensor, "n c"], mode: str) -> Float[Tensor, "n 3"]:
    """Colours in [0, 1] of values in [-1, 1]: alpha over white, CMYK without a profile, of many channels the first."""
    shown = ((values + 1) / 2).clamp(0, 1)
    channels = shown.shape[-1]
    if mode == "CMYK":
        return (1 - shown[:, :3]) * (1 - shown[:, 3:])
    alpha = shown[:, -1:] if channels in (2, 4) and mode != "array" else 1.0
    color = shown[:, :3] if channels >= 3 else shown[:, :1].expand(-1, 3)
    return color * alpha + (1 - alpha)
