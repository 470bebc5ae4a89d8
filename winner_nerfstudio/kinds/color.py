"""The kind of surfaces' colours, which are fitted beside the distance of a shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..registry import Kind, Metrics, Monitor, PartRecipe, PartSize, Recipe
from ..signals.options import SignalOptions
from ..signals.records import ColorRecord

if TYPE_CHECKING:
    from ..fields import Field
    from ..signals.shape.painting import Painting
    from ..training.loss import Loss
    from ..training.options import DrawnOptions, NetworkOptions

MEASURED, MONITORED = 100_000, 8_192
"""Points of the surface at which colours are compared at the end, and during a run."""


class ColorKind(Kind):
    """The colours of a surface, sRGB, as a function of points on it or close to it."""

    name = "color"
    title = "colours"
    axes = 3
    channels = 3
    formats = ".obj .glb .ply"
    frequency_unit = "cycles per unit of the mesh"
    options = SignalOptions
    record = ColorRecord
    recipe = Recipe(
        2500,
        parts=PartRecipe(
            {
                "small": PartSize(0, 21, 1250, {"adam": 2e-3}),
                "medium": PartSize(0, 32, 1250, {"adam": 2e-3}),
                "large": PartSize(0, 43, 1250, {"adam": 2e-3}),
            },
            num_layers=3,
        ),
    )
    metric_names = Metrics(("psnr_colour",), ("psnr_colour",), headline="psnr_colour", curve="psnr_colour")
    views = "winner_nerfstudio.nerfstudio.models.sdf:SDFModel"

    @property
    def network(self) -> type[NetworkOptions]:
        """The options of the network and its initialisation."""
        from ..training.options import NetworkOptions

        return NetworkOptions

    @property
    def batches(self) -> type[DrawnOptions]:
        """The options of batches of points that are drawn all the time."""
        from ..training.options import DrawnOptions

        return DrawnOptions

    def load(self, source: Any, options: SignalOptions) -> Painting:
        """Refuse to load colours alone: they belong to a shape, see `ShapeKind.companion`."""
        raise ValueError("colours are fitted beside a shape's distance; load the shape, kind='sdf'")

    def count_parts(self, signal: Painting, options: NetworkOptions) -> tuple[int]:
        """Return the cells along each axis of the mesh that has the colours; of points there are too few."""
        from ..signals.shape import Shape
        from ..training.cells import choose_cells

        return (choose_cells(signal.surface) if isinstance(signal.surface, Shape) else 1,)

    def loss(self, signal: Painting, options: NetworkOptions) -> Loss:
        """Return the mean square error."""
        from ..training.cells import ColorCellLoss
        from ..training.loss import SquareLoss

        return ColorCellLoss() if options.has_parts else SquareLoss()

    def metrics(self, field: Field, signal: Painting, options: Any) -> dict[str, float]:
        """Compute ``psnr_colour``, dB, of sRGB values with peak 1, at points of the surface that were never fitted."""
        return _measure(field, signal, MEASURED, 0)

    def monitor(self, signal: Painting, most: int = 1 << 16) -> Monitor:
        """Return ``psnr_colour`` at a few such points."""
        count = min(most, MONITORED)
        return Monitor(count, lambda field: _measure(field, signal, count, 1))


def _measure(field: Field, signal: Painting, count: int, stream: int) -> dict[str, float]:
    import torch

    from ..fields.field import evaluate_colors
    from ..metrics.grid import psnr, root_mean_square

    points, colors = signal.draw_unseen(count, stream)
    fitted = evaluate_colors(field, torch.from_numpy(points).float()).cpu().numpy()
    return {"psnr_colour": psnr(root_mean_square(fitted, colors), peak=1.0)}
