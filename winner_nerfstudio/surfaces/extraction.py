"""The zero surface of a fitted field as a mesh: marching cubes over those cells that the surface can cross."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import igl
import numpy as np
import torch
import trimesh
from numpy import ndarray
from scipy.ndimage import maximum_filter
from torch import Tensor

from ..fields.field import BLOCK
from ..signals.normalization import Normalization

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    Function = Callable[[Float[Tensor, "n 3"]], Float[Tensor, "n 1"]]

COARSEST = 64
"""Cells per axis, about, that are all looked at; finer ones only where the surface can be."""
SAFETY = 1.25
"""How much steeper than it was ever measured close by a field may be without a part of its surface being lost."""
CLEARANCE = 1e-3
"""Least distance of a vertex from a grid sample, in cells: what keeps vertices apart, also in single precision."""
DOUBT = 2.0
"""How much farther from what its corners lead to expect a field may be within a cell than in that of twice the size."""
NEWTON_STEPS = 3
CLOSE_ENOUGH = 1e-6
"""To the level, unit-cube lengths: about what single precision resolves."""
MOST_MOVED = 0.5
"""Farthest that a vertex is pulled, in cells: no farther than it could have been put wrong."""

# The corners of a cell in the order that marching cubes wants them.
_CORNERS = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)])
_EDGES = [[(0, 1), (3, 2), (4, 5), (7, 6)], [(0, 3), (1, 2), (4, 7), (5, 6)], [(0, 4), (1, 5), (2, 6), (3, 7)]]
"""Pairs of corners along x, y and z."""

# Weights of a cell's corners, for the corners of each of its parts: trilinear.
_PLACES = (_CORNERS[:, None] + _CORNERS) / 2
_BETWEEN = np.where(_CORNERS == 1, _PLACES[..., None, :], 1 - _PLACES[..., None, :]).prod(-1).astype(np.float32)


class Solid(Protocol):
    """What has a surface: a field of signed distances, or what stands in for one."""

    @property
    def normalization(self) -> Normalization:
        """The way from the world to the cube that its points lie in."""
        ...

    def evaluate(self, points: Float[Tensor, "n 3"], /) -> Float[Tensor, "n 1"]:
        """Values at points of the cube, negative inside."""
        ...

    def value_and_gradient(self, points: Float[Tensor, "n 3"], /) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        """The same, and their gradient."""
        ...


class EmptySurfaceError(ValueError):
    """The field has no whole surface at the level; the message names the range that it does have."""


def extract_surface(
    function: Function,
    resolution: int = 256,
    level: float = 0.0,
    progress: Callable[[float], None] = lambda part: None,
) -> trimesh.Trimesh:
    """The surface ``function = level`` in [-1, 1]^3 as a mesh with outward faces, negative values being inside.

    The samples lie on a regular grid, and the surface is that of marching cubes over all of it (libigl; linear along
    edges, one vertex per crossed edge, so that nothing need be welded). But they are evaluated from coarse to fine, and
    only in cells that the surface can cross. Two bounds say which those are, both measured. The field may rise between
    corners `SAFETY` times as steeply as it was found to do in the cell, in the coarser cells that hold it, and around
    it on the coarsest grid. And it may be `DOUBT` times as far from what corners lead to expect as it was in the cell
    of twice the size. What is found is followed: a cell that the surface leaves through one of its sides has a
    neighbour there, whatever was thought of it. Time and memory grow with the area, as resolution^2, but for the
    coarsest grid of about `COARSEST`^3 cells.

    The outermost samples count as outside: a surface that leaves the cube is closed at its walls.

    Args:
        function: signed distances, unit cube, or whatever else has that sign, at points [n, 3].
        resolution: samples per axis, at least 3.
        level: the value to extract, unit-cube lengths.
        progress: called with the part done, 0 to 1.

    Raises:
        EmptySurfaceError: no sample lies on the other side of the level, one above 0 is met at the cube's walls, or
            the values are not finite.
        ValueError: a resolution below 3.
    """
    if resolution < 3:
        raise ValueError(f"resolution={resolution} must be at least 3 samples per axis")
    samples = _Samples(function, resolution, level)
    size = 1
    while (resolution - 1) / size > COARSEST * 1.5:
        size *= 2
    # A level has about four times as many cells as the coarser one.
    parts = np.cumsum([4.0**-power for power in range(size.bit_length())][::-1])
    ends = iter(parts / parts[-1])
    cells, done = samples.all_cells(size), 0.0
    family: _Family | None = None
    while True:
        end = next(ends)
        values = samples.at(cells, size, lambda part, a=done, b=end: progress(a + part * (b - a)))  # type: ignore[misc]
        done = end
        if size == 1:
            break
        # Within a cell the field stays that close to its corners' values.
        slope = _slope(values, size * samples.spacing)
        if family is None:
            slope = samples.slope_around(cells, size, values, slope)
            reach = _reach(slope, size * samples.spacing)
        else:
            slope = np.maximum(slope, family.slope[family.parent])
            reach = np.minimum(_reach(slope, size * samples.spacing), DOUBT * family.doubt(values))
        near = _is_crossed(values) | (np.abs(values).min(-1) <= reach)
        cells, family = samples.halved(cells[near], values[near], slope[near], size)
        size //= 2
    samples.check()
    cells, values = samples.followed(cells, values)
    return samples.mesh(cells[_is_crossed(values)])


def pull_onto_level(
    mesh: trimesh.Trimesh,
    solid: Solid,
    level: float,
    spacing: float,
    progress: Callable[[float], None] = lambda part: None,
) -> trimesh.Trimesh:
    """The mesh with its vertices on the level by Newton's method along the gradient, and with the field's normals.

    A step that brings a vertex no closer, or takes it farther than `MOST_MOVED` cells from where it was, is not taken.
    What lies at the cube's walls stays there, and keeps normals of its own.

    Args:
        mesh: in the unit cube, as `extract_surface` makes it.
        solid: what it is the surface of.
        level: the value to end at.
        spacing: a cell's width.
        progress: called with the part done, 0 to 1.

    Returns:
        A mesh of the same faces, its vertex normals the field's unit gradients.
    """
    start = torch.from_numpy(np.asarray(mesh.vertices, np.float32))
    places, normals = start.clone(), torch.from_numpy(mesh.vertex_normals.astype(np.float32))
    within = (start.abs() < 1 - 1.5 * spacing).all(-1).nonzero()[:, 0]
    for active in within.split(8 * BLOCK):
        progress(int(active[0]) / len(start))
        for _ in range(NEWTON_STEPS):
            value, gradient = (found.cpu() for found in solid.value_and_gradient(places[active]))
            value -= level
            normals[active] = torch.nn.functional.normalize(gradient, dim=-1)
            tried = places[active] - (value / gradient.square().sum(-1).clamp(min=1e-12))[:, None] * gradient
            off = solid.evaluate(tried)[:, 0].cpu().sub_(level).abs()
            better = (off < value.abs()) & ((tried - start[active]).norm(dim=-1) <= MOST_MOVED * spacing)
            places[active[better]] = tried[better]
            active = active[better & (off > CLOSE_ENOUGH)]
    progress(1.0)
    return trimesh.Trimesh(places.double().numpy(), mesh.faces, vertex_normals=normals.double().numpy(), process=False)


@dataclass(frozen=True)
class _Family:
    """Where cells come from.

    Attributes:
        parent: number of the cell that holds each, ascending, [k].
        part: which of its eight parts it is, [k].
        values: at the parents' corners, [m, 8].
        slope: of the parents, [m].
    """

    parent: Int[ndarray, " k"]
    part: Int[ndarray, " k"]
    values: Float[ndarray, "m 8"]
    slope: Float[ndarray, " m"]

    def doubt(self, values: Float[ndarray, "k 8"]) -> Float[ndarray, " k"]:
        """How far values at the cells' corners are from what their parent's lead to expect at most, [k]."""
        expected = np.einsum("ko,kco->kc", self.values[self.parent], _BETWEEN[self.part])
        off = np.abs(values - expected).max(-1)
        first = np.flatnonzero(np.diff(self.parent, prepend=-1))
        return np.repeat(np.maximum.reduceat(off, first), np.diff(first, append=len(off)))


class _Samples:
    """Values of a function at samples of a grid over the cube, evaluated when they are first asked for.

    Cells are named by their lowest corner, counted in samples, [m, 3]; their size is a power of two, and those at the
    upper walls are cut off there.
    """

    def __init__(self, function: Function, resolution: int, level: float) -> None:
        self.function, self.level, self.last = function, level, resolution - 1
        self.axis = np.linspace(-1, 1, resolution, dtype=np.float32)
        self.spacing = 2 / (resolution - 1)
        self.keys, self.values = np.empty(0, np.int64), np.empty(0, np.float32)
        self.low, self.high, self.wall = np.inf, -np.inf, np.inf

    def all_cells(self, size: int) -> Int[ndarray, "m 3"]:
        """Every cell of that size."""
        lowest = np.arange(0, self.last, size)
        return np.stack(np.meshgrid(lowest, lowest, lowest, indexing="ij"), -1).reshape(-1, 3)

    def at(
        self, cells: Int[ndarray, "m 3"], size: int, progress: Callable[[float], None] = lambda part: None
    ) -> Float[ndarray, "m 8"]:
        """Values at the corners of cells less the level, [m, 8]."""
        wanted, place = np.unique(self._corner_keys(cells, size), return_inverse=True)
        values = np.empty(len(wanted), np.float32)
        known = np.zeros(len(wanted), bool)
        if len(self.keys):
            old = np.searchsorted(self.keys, wanted).clip(max=len(self.keys) - 1)
            known = self.keys[old] == wanted
            values[known] = self.values[old[known]]
        values[~known] = self._evaluate(wanted[~known], progress)
        self.keys, self.values = wanted, values
        return values[place.reshape(-1, 8)]

    def slope_around(
        self, cells: Int[ndarray, "m 3"], size: int, values: Float[ndarray, "m 8"], slope: Float[ndarray, " m"]
    ) -> Float[ndarray, " m"]:
        """The greatest slope in each of all cells and those around it, between corners and centre too, [m]."""
        ends = np.minimum(cells + size, self.last)
        centres = (self.axis[cells] + self.axis[ends]) / 2
        middle = self._at_points(centres)
        half = np.sqrt(3) / 2 * size * self.spacing
        slope = np.maximum(slope, np.abs(values - middle[:, None]).max(-1) / half)
        count = -(-self.last // size)
        return maximum_filter(slope.reshape((count,) * 3), 3, mode="nearest").reshape(-1)

    def halved(
        self, cells: Int[ndarray, "m 3"], values: Float[ndarray, "m 8"], slope: Float[ndarray, " m"], size: int
    ) -> tuple[Int[ndarray, "k 3"], _Family]:
        """The cells of half that size in those of this size, those of one together, and where they come from."""
        parts = (cells[:, None] + size // 2 * _CORNERS).reshape(-1, 3)
        there = np.flatnonzero((parts < self.last).all(-1))
        return parts[there], _Family(there // 8, there % 8, values, slope)

    def followed(
        self, cells: Int[ndarray, "m 3"], values: Float[ndarray, "m 8"]
    ) -> tuple[Int[ndarray, "k 3"], Float[ndarray, "k 8"]]:
        """The smallest cells, and all others that the surface in them leads to."""
        frontier, frontier_values = cells, values
        known = np.sort(self._keys(cells))
        while True:
            beyond = []
            for axis in range(3):
                for side in (0, 1):
                    face = frontier_values[:, _CORNERS[:, axis] == side]
                    leaving = frontier[(face < 0).any(-1) & (face >= 0).any(-1)] + np.eye(3, dtype=int)[axis] * (
                        2 * side - 1
                    )
                    beyond.append(leaving[((leaving >= 0) & (leaving < self.last)).all(-1)])
            keys = np.setdiff1d(self._keys(np.concatenate(beyond)), known)
            if len(keys) == 0:
                return cells, values
            frontier = np.stack(np.unravel_index(keys, (self.last + 1,) * 3), -1)
            everything = np.concatenate([cells, frontier])
            values = self.at(everything, 1)
            cells, frontier_values = everything, values[-len(frontier) :]
            known = np.sort(np.concatenate([known, keys]))

    def check(self) -> None:
        """See that there is a surface, of which at a level above 0 nothing leaves the cube.

        Raises:
            EmptySurfaceError: there is not.
        """
        level = self.level
        if not self.low < level < self.high:
            raise EmptySurfaceError(
                f"there is no surface at level {level:.4g}: the field lies between {self.low:.4g} and {self.high:.4g}"
                " (unit cube)"
            )
        if level > 0 and self.wall <= level:
            raise EmptySurfaceError(
                f"the surface at level {level:.4g} leaves the cube [-1, 1]^3 that the field is known in; at most"
                f" {self.wall:.4g} stays inside (unit cube)"
            )
        if not (self.values < 0).any():
            raise EmptySurfaceError(f"there is no surface at level {level:.4g} away from the cube's walls")

    def mesh(self, cells: Int[ndarray, "m 3"]) -> trimesh.Trimesh:
        """Marching cubes over some of the smallest cells, whose corners are known."""
        wanted, corners = np.unique(self._corner_keys(cells, 1), return_inverse=True)
        values = self.values[np.searchsorted(self.keys, wanted)]
        # Vertices would fall together on samples that the surface runs through: it keeps off them.
        least = np.float32(CLEARANCE * self.spacing)
        values = np.where(np.abs(values) < least, np.where(values < 0, -least, least), values).astype(np.float64)
        places = np.stack(np.unravel_index(wanted, (self.last + 1,) * 3), -1).astype(np.float64)
        vertices, faces, _ = igl.marching_cubes(values, places, np.ascontiguousarray(corners.reshape(-1, 8)), 0.0)
        return trimesh.Trimesh(vertices * self.spacing - 1, faces, process=False)

    def _keys(self, places: Int[ndarray, "*m 3"]) -> Int[ndarray, "*m"]:
        return np.ravel_multi_index(tuple(np.moveaxis(places, -1, 0)), (self.last + 1,) * 3)

    def _corner_keys(self, cells: Int[ndarray, "m 3"], size: int) -> Int[ndarray, "m 8"]:
        return self._keys(np.minimum(cells[:, None] + size * _CORNERS, self.last))

    def _evaluate(self, keys: Int[ndarray, " n"], progress: Callable[[float], None]) -> Float[ndarray, " n"]:
        place = np.stack(np.unravel_index(keys, (self.last + 1,) * 3), -1)
        values = self._at_points(self.axis[place], progress)
        at_wall = ((place == 0) | (place == self.last)).any(-1)
        if len(values):
            self.low, self.high = min(self.low, values.min() + self.level), max(self.high, values.max() + self.level)
        if at_wall.any():
            self.wall = min(self.wall, values[at_wall].min() + self.level)
        values[at_wall] = np.maximum(values[at_wall], self.spacing)
        return values

    def _at_points(
        self, points: Float[ndarray, "n 3"], progress: Callable[[float], None] = lambda part: None
    ) -> Float[ndarray, " n"]:
        """Values at points less the level.

        Raises:
            EmptySurfaceError: they are not finite.
        """
        values = np.empty(len(points), np.float32)
        for start in range(0, len(points), 4 * BLOCK):
            block = slice(start, start + 4 * BLOCK)
            values[block] = self.function(torch.from_numpy(points[block]))[:, 0].cpu().numpy()
            progress(min(start + 4 * BLOCK, len(points)) / len(points))
        if not np.isfinite(values).all():
            raise EmptySurfaceError("the field has values that are not finite: the fit has diverged")
        return values - np.float32(self.level)


def _is_crossed(values: Float[ndarray, "m 8"]) -> Bool[ndarray, " m"]:
    return (values < 0).any(-1) & (values >= 0).any(-1)


def _slope(values: Float[ndarray, "m 8"], width: float) -> Float[ndarray, " m"]:
    """How steeply cells rise at most between corners along the axes."""
    steepest = [np.max([np.abs(values[:, a] - values[:, b]) for a, b in pairs], axis=0) for pairs in _EDGES]
    return np.linalg.norm(steepest, axis=0) / width


def _reach(slope: Float[ndarray, " m"], width: float) -> Float[ndarray, " m"]:
    """The most that a field of that slope can rise from a cell's nearest corner."""
    return SAFETY * slope * np.sqrt(3) / 2 * width
