"""A coarse picture of a field, finer about its surface: tells rays which parts of space are empty."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate, max_pool3d

COARSEST, FINEST = 8, 64
"""Cells per axis of the first and of the last grid; each has twice as many as the one before."""
UNKNOWN = 4.0
"""Doubt about the first grid, of which nothing can be measured: more than the cube's diagonal."""
REACH = 0.25
"""Farthest that a ray goes in one step: what lies within it is what a step's slope is measured over."""


@dataclass(frozen=True)
class DistanceGrid:
    """A field's values at the nodes of a grid over [-1, 1]^3, and how far off they may be in between.

    Attributes:
        values: at the nodes, x first, [n, n, n]; where the surface is far they come from a coarser grid.
        doubt: how far interpolated values may be off about each node, [n, n, n].
    """

    values: Float[Tensor, "n n n"]
    doubt: Float[Tensor, "n n n"]

    @classmethod
    def of(
        cls,
        function: Callable[[Float[Tensor, "m 3"]], Float[Tensor, " m"]],
        device: torch.device | str = "cpu",
        finest: int = FINEST,
    ) -> "DistanceGrid":
        """Measure a field from coarse to fine, evaluating anew only where its sign is in doubt, and next to that.

        The doubt is measured, not assumed: how much values close by differ from what the coarser grid led to expect. A
        finer grid interpolates twice as well about a kink, and four times as well where the field is smooth, so that is
        on the safe side. Where a field is rough, or has thin parts, it is refined and stays in doubt.

        Args:
            function: the field's values at points of the cube, [m, 3].
            device: of those points.
            finest: cells per axis of the result, 8 times a power of 2.
        """
        cells = COARSEST
        values = function(_nodes(cells, device).reshape(-1, 3)).reshape((cells + 1,) * 3)
        doubt = torch.full_like(values, UNKNOWN)
        while cells < finest:
            cells *= 2
            expected, doubt = _between(values), _between(doubt)
            nearby = expected.abs() <= doubt + 4 / cells
            values = expected.clone()
            values[nearby] = function(_nodes(cells, device)[nearby])
            met = _greatest_within((values - expected).abs(), 1)
            doubt = torch.where(nearby, met, doubt)
        return cls(values, doubt)

    def value(self, points: Float[Tensor, "m 3"]) -> Float[Tensor, " m"]:
        """About what the field is at points of the cube, [m]."""
        return interpolate_grid(self.values, points)

    def clearance(self, points: Float[Tensor, "m 3"]) -> Float[Tensor, " m"]:
        """How far points of the cube are from the surface at least, as far as the grid can tell; up to `REACH`, [m]."""
        return interpolate_grid(self._clearance, points)

    def slope(self, points: Float[Tensor, "m 3"]) -> Float[Tensor, " m"]:
        """How steeply the field rises or falls at most close to points of the cube, at least 1, [m]."""
        return interpolate_grid(self._slope, points)

    @cached_property
    def spacing(self) -> float:
        """Between neighbouring nodes."""
        return 2 / (len(self.values) - 1)

    @cached_property
    def _slope(self) -> Float[Tensor, "n n n"]:
        """Return how steep the distance is at most around each node."""
        slope = torch.stack(torch.gradient(self.values, spacing=self.spacing)).norm(dim=0)
        return _greatest_within(slope.clamp(min=1), 1)

    @cached_property
    def _clearance(self) -> Float[Tensor, "n n n"]:
        """Return how far from each node there is no surface for sure."""
        slope = _greatest_within(self._slope, round(REACH / self.spacing))
        return ((self.values - self.doubt) / slope).clamp(max=REACH)

    @cached_property
    def redistanced(self) -> "DistanceGrid":
        """The same surface with the true distance from it, for a field that is about one only close by; for light."""
        from scipy.ndimage import distance_transform_edt

        # Beyond the cube all is outside.
        outside = np.pad((self.values > 0).cpu().numpy(), 1, constant_values=True)
        if outside.all():
            return self
        # From node to node of the other side, half a cell of which lies there.
        cells = (distance_transform_edt(outside) - distance_transform_edt(~outside))[1:-1, 1:-1, 1:-1]
        cells = torch.from_numpy(cells).to(self.values)
        far = (cells - 0.5 * cells.sign()) * self.spacing
        return DistanceGrid(torch.where(cells.abs() > 1, far, self.values), self.doubt)

    @cached_property
    def box(self) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
        """Lower and upper corner of the box outside which the field is positive; empty if it is so everywhere."""
        inside = (_greatest_within(-self._clearance, 1) >= 0).nonzero()
        if len(inside) == 0:
            return self.values.new_ones(3), -self.values.new_ones(3)
        return inside.amin(0) * self.spacing - 1, inside.amax(0) * self.spacing - 1


def _nodes(cells: int, device: torch.device | str) -> Float[Tensor, "n n n 3"]:
    """Return the corners of cells, points of the cube."""
    axis = torch.linspace(-1, 1, cells + 1, device=device)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1)


def _between(values: Tensor) -> Tensor:
    """Values at the nodes of a grid with twice as many cells."""
    size = (2 * len(values) - 1,) * 3
    return interpolate(values[None, None], size=size, mode="trilinear", align_corners=True)[0, 0]


def interpolate_grid(values: Float[Tensor, "a b c"], points: Float[Tensor, "m 3"]) -> Float[Tensor, " m"]:
    """Values at points by trilinear interpolation; the nodes span [-1, 1]^3, beyond which the nearest wall's hold."""
    # grid_sample counts axes from the last.
    grid = points.flip(-1).to(values)[None, None, None]
    return grid_sample(values[None, None], grid, padding_mode="border", align_corners=True)[0, 0, 0, 0]


def _greatest_within(values: Float[Tensor, "n n n"], cells: int) -> Float[Tensor, "n n n"]:
    """Return at each node the greatest value that many cells around."""
    for axis in range(3):
        window, padding = [1, 1, 1], [0, 0, 0]
        window[axis], padding[axis] = 2 * cells + 1, cells
        values = max_pool3d(values[None], window, 1, padding)[0]
    return values
