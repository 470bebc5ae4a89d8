"""What is fitted in the cells of a `CellBank`: the signed distance of a shape, or the colours of its surface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from ..networks import CellBank
from ..signals.errors import SignalError
from ..signals.sdf import build_grid
from ..winner import Axis
from ..winner.matched import axes_of_each

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy import ndarray

    from ..signals.shape import Shape
    from ..signals.shape.painting import Painting
    from ..signals.signal import Signal

SAMPLES = 8
"""Samples along each axis of a cell from which the noise of the network of its distance is computed."""


class CellTarget(ABC):
    """A target that is fitted in cells."""

    shape: Shape
    """The surface in whose cells it is fitted."""
    network: ClassVar[Mapping[str, object]]
    """The arguments of a `CellBank` that do not depend on the user's options."""
    wider: ClassVar[float]
    """How much wider the members of a companion, see `Kind.companion`, are than those that it is fitted beside."""
    points: ClassVar[int]
    """The points of each cell per training step."""
    pool: ClassVar[int]
    """The points that are drawn for each cell, about, in all rounds; the batches are taken from them."""
    fill: ClassVar[float]
    """The fraction of these that fill the cells uniformly."""

    @abstractmethod
    def describe_cube(self) -> dict[str, Any]:
        """Return what `winner_init_` must know to initialise the network for the whole cube."""

    @abstractmethod
    def describe_cells(self, bank: CellBank) -> list[dict[str, Any]]:
        """Return what `winner_init_` must know to initialise each member."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, count: int, spread: float) -> dict[str, Float[ndarray, "n k"]]:
        """Return points of the cube, ``coords``, and the target's ``values`` there.

        Args:
            rng: the source of the randomness.
            count: the number of points.
            spread: the width of a cell, half of it, in the lengths of the cube.
        """

    @abstractmethod
    def at(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, "n k"]:
        """Return the target's values at points of the cube."""


class CellDistance(CellTarget):
    """The signed distance of a shape.

    Args:
        shape: the shape.
    """

    network: ClassVar[Mapping[str, object]] = {"out_dim": 1}
    wider, points, pool, fill = 1.0, 128, 2048, 0.2

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def describe_cube(self) -> dict[str, Any]:
        """Return the distance near the surface, clamped elsewhere, on a grid over the cube."""
        return {"target": torch.from_numpy(self.shape.near_grid[..., None])}

    def describe_cells(self, bank: CellBank) -> list[dict[str, Any]]:
        """Return the distance at `SAMPLES`^3 samples of each cell, in the cell's own unit, and their axes."""
        local = build_grid(SAMPLES).reshape(1, -1, 3)
        points = bank.centers.cpu().numpy()[:, None] + bank.half_width * local
        values = self.shape.signed_distance(points.reshape(-1, 3)) / bank.half_width
        samples = torch.from_numpy(values.astype(np.float32)).reshape(bank.count, SAMPLES, SAMPLES, SAMPLES, 1)
        axes = axes_of_each(samples)
        return [{"target": target, "axes": each} for target, each in zip(samples, axes, strict=True)]

    def draw(self, rng: np.random.Generator, count: int, spread: float) -> dict[str, Float[ndarray, "n k"]]:
        """Return points as the shape's mix says, some of those near the surface as far from it as a cell is wide."""
        from ..signals.shape.sampling import draw_samples

        shape, mix = self.shape, self.shape.mix
        mix = replace(mix, near_sigmas=(*mix.near_sigmas, spread))
        return draw_samples(rng, count, mix, shape.sample_surface, shape.signed_distance)

    def at(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, "n 1"]:
        """Return the signed distance."""
        return self.shape.signed_distance(points)[:, None].astype(np.float32)


class CellColors(CellTarget):
    """The colours of a shape's surface.

    Args:
        painting: the colours.
        shape: the shape.
    """

    network: ClassVar[Mapping[str, object]] = {"out_dim": 3, "is_distance": False, "far_dim": 32, "far_layers": 3}
    wider, points, pool, fill = 4 / 3, 128, 4096, 1 / 64

    def __init__(self, painting: Painting, shape: Shape) -> None:
        self.painting, self.shape = painting, shape

    def describe_cube(self) -> dict[str, Any]:
        """Return how fine the colours are along the cube."""
        return {"centroid": self.painting.centroid, "dim": 3, "channels": 3, "axes": self.painting.axes}

    def describe_cells(self, bank: CellBank) -> list[dict[str, Any]]:
        """Return how fine the colours are along a cell, the same for all."""
        axis = Axis(self.painting.centroid, max(2, round(2 * bank.half_width / self.shape.texel) + 1))
        return [{"centroid": axis.centroid, "dim": 3, "channels": 3, "axes": (axis,) * 3}] * bank.count

    def draw(self, rng: np.random.Generator, count: int, spread: float) -> dict[str, Float[ndarray, "n k"]]:
        """Return points on the surface or close to it, see `Painting.draw`."""
        return self.painting.draw(rng, count)

    def at(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, "n 3"]:
        """Return the colours of the nearest points of the surface."""
        return (2 * self.shape.color_at(points) - 1).astype(np.float32)


def find_cell_target(signal: Signal) -> CellTarget:
    """Return what is fitted of a signal in cells.

    Raises:
        SignalError: it is no mesh, nor the colours of one, and so is not divided into cells.
    """
    from ..signals.shape import Shape
    from ..signals.shape.painting import Painting

    if isinstance(signal, Shape):
        return CellDistance(signal)
    if isinstance(signal, Painting) and isinstance(signal.surface, Shape):
        return CellColors(signal, signal.surface)
    raise SignalError(f"{signal.name}: of shapes only meshes are divided into parts; leave parts out")
