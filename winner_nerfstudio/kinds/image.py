"""The kind of pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..export.command import Export, Progress
from ..registry import SMALL, FewParts, Metrics, PartRecipe, PartSize, Recipe
from ..signals.options import ImageOptions
from ..signals.picture_suffixes import READ_ONLY, WRITTEN
from ..signals.records import ImageRecord
from .grid import DERIVATIVE_METRICS, GRID_METRICS, GridKind, grid_size, like_input

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy import ndarray

    from ..fields.fitted import FittedField
    from ..signals.image import Image


class ImageKind(GridKind):
    """A picture; its coordinates are row and column, a pixel's centre is its index."""

    name = "image"
    title = "a picture"
    axes = 2
    suffixes = (*WRITTEN, *READ_ONLY)
    formats = ".png .jpg .tif .webp .npy"
    frequency_unit = "cycles per pixel"
    options = ImageOptions
    record = ImageRecord
    recipe = Recipe(
        3000,
        parts=PartRecipe(
            {
                "small": PartSize(64, 32, 3000, {"muon": 2e-3, "adam": 1.5e-3}),
                "medium": PartSize(32, 32, 600, {"muon": 1.5e-3}),
                "large": PartSize(32, 48, 1200, {"muon": 1e-3}),
            },
            most=1 << 13,
            few=(FewParts(40_000, "large", 2400), FewParts(1 << 16, "large", 1200)),
            exactness=0.05,
            lowers=False,
        ),
        small=SMALL,
    )
    metric_names = Metrics(
        (*GRID_METRICS, *DERIVATIVE_METRICS, "ssim"),
        ("psnr_paper", "best_psnr_paper", "psnr_peak_to_peak", "psnr_between", "ssim"),
        "psnr_paper",
    )
    views = "winner_nerfstudio.nerfstudio.models.image:ImageModel"

    @property
    def samples(self) -> Mapping[str, Callable[[], Any]]:
        """The built-in pictures."""
        from ..signals.samples import IMAGES

        return IMAGES

    def claims(self, data: Any) -> bool:
        """Return whether it is an array [h, w, 1 to 4], or [h, w] of other sizes than points and series have."""
        shape: tuple[int, ...] = getattr(data, "shape", ())
        if len(shape) == 2:  # of few rows it may also be a series or points with channels first
            return shape[1] not in (1, 2, 3, 6) and not (shape[0] in (1, 2, 3, 6) and shape[1] > 4 * shape[0])
        return len(shape) == 3 and shape[2] <= 4

    def load(self, source: Any, options: Any) -> Image:
        """Load a picture, see `load_image`."""
        from ..signals.image import load_image

        return load_image(source, options)

    def special_metrics(self, signal: Any, fitted: Float[ndarray, "h w c"]) -> dict[str, float]:
        """Compute ``ssim``, unless the picture is too small for it."""
        from ..metrics.image import ssim

        similarity = ssim(fitted, signal.truth, signal.missing)
        return {} if similarity is None else {"ssim": similarity}

    @property
    def results(self) -> Mapping[str, Callable[..., Any]]:
        """The function `image`."""
        return {"image": image}

    @property
    def exports(self) -> Mapping[str, type[Export]]:
        """The command `ImageExport`."""
        return {"image": ImageExport}


def image(fitted: FittedField, size: int | tuple[int, int] | None = None) -> ndarray:
    """Return the picture, [h, w] or [h, w, c], in the input's data type.

    Args:
        fitted: a field of kind "image".
        size: height and width in pixels, or those of the longer side; the input's if left out.

    Raises:
        ValueError: a size of no pixels or too many.
    """
    from ..fields.resample import resized
    from ..signals.grid import to_dtype

    record = fitted.record_as(ImageRecord)
    values = resized(fitted.field, grid_size(record.shape, size))
    return like_input(to_dtype(values, record.pixel_dtype), record.ndim)


@dataclass
class ImageExport(Export):
    """Write a fitted picture in the input's size, mode and bit depth, or at any other size.

    The original picture is not needed. Writes .png, .jpg, .tif, .webp, .npy or .npz.
    """

    result = "image"
    suffixes = (*WRITTEN, ".npy", ".npz")
    scale: float = 1.0
    """Pixels of the output per pixel of the input, along each side."""

    def check(self, fitted: FittedField) -> None:
        """Check the kind, and that the output's format holds pictures of the input's mode and depth."""
        from ..export.grid import check_image_format

        super().check(fitted)
        check_image_format(fitted.field, self.output, self.scale)

    def write(self, fitted: FittedField, progress: Progress) -> str:
        """Write the picture; return its size and mode."""
        from ..export.grid import export_image

        return export_image(fitted.field, self.output, self.scale, progress)
