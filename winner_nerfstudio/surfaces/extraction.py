"""Extract the level surface of a field as a mesh: marching cubes over those cells that the surface can cross."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import igl
import numpy as np
import torch
import trimesh
from numpy import ndarray
from scipy.ndimage import maximum_filter
from scipy.spatial import cKDTree
from torch import Tensor

from ..fields.field import BLOCK
from ..signals.messages import write_apart
from ..signals.normalization import Normalization
from ..signals.records import MOST_RESOLUTION

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    Function = Callable[[Float[Tensor, "n 3"]], Float[Tensor, "n 1"]]
    Progress = Callable[[float], None]

COARSEST = 64
"""Cells per axis, about, of the coarsest grid, all of which is evaluated; finer cells only where the surface can be."""
SAFETY = 1.25
"""How much steeper than measured nearby a field may be without a part of its surface being lost."""
CLEARANCE = 1e-3
"""Least distance of a vertex from a grid sample, in cells; it keeps vertices apart, also in single precision."""
DOUBT = 2.0
"""How much more a field may differ from interpolation within a cell than it did in the cell of twice the size."""
DENSEST = 0.5
"""Part of the coarsest grid's cells that the surface of a shape crosses at most; that of noise crosses nearly all.

It halves with the size of cells, as the part that a surface crosses does.
"""
NEWTON_STEPS = 3
CLOSE_ENOUGH = 1e-6
"""Distance from the level at which a vertex stays, unit-cube lengths: about what single precision resolves."""
MOST_MOVED = 0.5
"""Farthest that a vertex is pulled, in cells: extraction cannot be farther off."""

SURFACE_BYTES = 2600
"""Memory that a surface takes, about, over the square of its resolution; docs/export.md has what was measured."""

# The corners of a cell in the order that marching cubes wants them.
_CORNERS = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)])
_EDGES = [[(0, 1), (3, 2), (4, 5), (7, 6)], [(0, 3), (1, 2), (4, 7), (5, 6)], [(0, 4), (1, 5), (2, 6), (3, 7)]]
"""Pairs of corners along x, y and z."""

# Trilinear weights of a cell's corners at the corners of each of its eight parts, [part, part's corner, corner].
_PART_CORNERS = (_CORNERS[:, None] + _CORNERS) / 2
_WEIGHTS = np.where(_CORNERS == 1, _PART_CORNERS[..., None, :], 1 - _PART_CORNERS[..., None, :])
_WEIGHTS = _WEIGHTS.prod(-1).astype(np.float32)


def _ignore(part: float) -> None:
    """Report progress to nobody."""


class Solid(Protocol):
    """Anything that has a surface: a field of signed distances, or something that can be used like one."""

    @property
    def normalization(self) -> Normalization:
        """The map from the world to the cube [-1, 1]^3 that its points lie in."""
        ...

    def evaluate(self, points: Float[Tensor, "n 3"], /) -> Float[Tensor, "n 1"]:
        """Return values at points of the cube, negative inside."""
        ...

    def to_own(self, value: float, /) -> float:
        """Return what such a value is for the user: a length of the world, or a value of the volume."""
        ...

    def value_and_gradient(self, points: Float[Tensor, "n 3"], /) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        """Return values at points of the cube, negative inside, and their gradients."""
        ...


class EmptySurfaceError(ValueError):
    """The field has no complete surface at the level; the message names the range of values that it does have."""


class DenseSurfaceError(ValueError):
    """The surface crosses more cells than that of any shape, because the field is noise."""


def extract_surface(
    function: Function,
    resolution: int = 256,
    level: float = 0.0,
    progress: Progress = _ignore,
    densest: float = math.inf,
    to_own: Callable[[float], float] = float,
) -> trimesh.Trimesh:
    """Return the surface ``function = level`` in [-1, 1]^3 as a mesh with outward faces; lower values are inside.

    The result is that of marching cubes over a regular grid (libigl; linear along edges, one vertex per crossed edge,
    so that nothing needs welding). But samples are evaluated from coarse to fine, and only in cells that the surface
    can cross. Two measured bounds decide which those are. The field may rise from a cell's corners `SAFETY` times as
    steeply as it was found to do in the cell, in the coarser cells that contain it, and around it on the coarsest grid.
    And it may differ from interpolation between the corners `DOUBT` times as much as it did in the cell of twice the
    size. The surface that is found is then followed: a cell that it leaves through a side has a neighbour there,
    whatever the bounds said. Time and memory grow with the surface's area, as resolution^2, apart from the coarsest
    grid of about `COARSEST`^3 cells.

    The outermost samples count as outside: a surface that leaves the cube is closed at its walls.

    Args:
        function: signed distances in unit-cube lengths, or anything with their sign, at points [n, 3].
        resolution: samples per axis, 3 to `MOST_RESOLUTION`.
        level: the value to extract, unit-cube lengths.
        progress: called with the part that is done, 0 to 1.
        densest: part of the coarsest grid's cells that the surface may cross, see `DENSEST`; any part if left out.
        to_own: map from values of the function to those that messages name, see `Solid.to_own`.

    Raises:
        EmptySurfaceError: no sample lies on the other side of the level, the surface of a level above 0 leaves the
            cube, or the values are not finite.
        DenseSurfaceError: the surface crosses more cells than `densest` allows.
        ValueError: a resolution below 3 or above `MOST_RESOLUTION`.
    """
    check_resolution(resolution)
    samples = _Samples(function, resolution, level, to_own)
    cells, values = _refine(samples, _cell_sizes(resolution), progress, densest)
    samples.check()
    cells, values = samples.follow(cells, values)
    return samples.mesh(cells[_is_crossed(values)])


def check_resolution(resolution: int) -> None:
    """Check a resolution before anything is evaluated.

    Raises:
        ValueError: it is below 3, or so high that the surface would take more memory than computers have.
    """
    if not 3 <= resolution <= MOST_RESOLUTION:
        raise ValueError(
            f"resolution={resolution} must be 3 to {MOST_RESOLUTION:,} samples per axis; memory grows with its square,"
            f" to about {SURFACE_BYTES * MOST_RESOLUTION**2 / 1e9:.0f} GB there"
        )


def _cell_sizes(resolution: int) -> list[int]:
    """Return the sizes of cells from the coarsest grid to the finest, in samples: powers of two that end with 1."""
    size = 1
    while (resolution - 1) / size > COARSEST * 1.5:
        size *= 2
    return [size >> step for step in range(size.bit_length())]


def _refine(
    samples: _Samples, sizes: list[int], progress: Progress, densest: float
) -> tuple[Int[ndarray, "m 3"], Float[ndarray, "m 8"]]:
    """Halve cells that the surface can cross until they are of size 1; return these and the values at their corners."""
    reports = _share_progress(progress, len(sizes))
    cells, parents = samples.all_cells(sizes[0]), None
    for size in sizes[:-1]:
        values = samples.at(cells, size, next(reports))
        if _is_crossed(values).sum() > densest * size / sizes[0] * (samples.last / size) ** 3:
            raise DenseSurfaceError(f"the surface crosses more than {densest:.0%} of all cells, so the field is noise")
        slope, reach = samples.bound(cells, size, values) if parents is None else parents.bound(values, samples, size)
        near = _is_crossed(values) | (np.abs(values).min(-1) <= reach)
        cells, parents = samples.halve(cells[near], values[near], slope[near], size)
    return cells, samples.at(cells, 1, next(reports))


def _share_progress(progress: Progress, count: int) -> Iterator[Progress]:
    """Yield a progress function for each of so many grids, each of which takes four times as long as the one before."""
    parts = np.cumsum([4.0**-power for power in range(count)][::-1])
    start = 0.0
    for end in parts / parts[-1]:
        yield lambda part, start=start, end=end: progress(start + part * (end - start))  # type: ignore[misc]
        start = end


def pull_onto_level(
    mesh: trimesh.Trimesh, solid: Solid, level: float, spacing: float, progress: Progress = _ignore
) -> trimesh.Trimesh:
    """Return the mesh with its vertices moved onto the level by Newton's method, and with the field's normals.

    A step that brings a vertex no closer, or takes it farther than `MOST_MOVED` cells from where it was, is not taken.
    Vertices that would fall together, as on both sides of a layer that is thinner than a cell, stay where they were.
    Vertices at the cube's walls stay there and keep the mesh's normals.

    Args:
        mesh: in the unit cube, as `extract_surface` makes it.
        solid: the solid whose surface it is.
        level: the value to end at.
        spacing: a cell's width.
        progress: called with the part that is done, 0 to 1.

    Returns:
        A mesh of the same faces, its vertex normals the field's unit gradients.
    """
    start = torch.from_numpy(np.asarray(mesh.vertices, np.float32))
    vertices, normals = start.clone(), torch.from_numpy(mesh.vertex_normals.astype(np.float32))
    within = (start.abs() < 1 - 1.5 * spacing).all(-1).nonzero()[:, 0]
    for active in within.split(8 * BLOCK) if len(within) else ():
        progress(int(active[0]) / len(start))
        for _ in range(NEWTON_STEPS):
            value, gradient = (found.cpu() for found in solid.value_and_gradient(vertices[active]))
            value -= level
            normals[active] = torch.nn.functional.normalize(gradient, dim=-1)
            tried = vertices[active] - (value / gradient.square().sum(-1).clamp(min=1e-12))[:, None] * gradient
            off = solid.evaluate(tried)[:, 0].cpu().sub_(level).abs()
            better = (off < value.abs()) & ((tried - start[active]).norm(dim=-1) <= MOST_MOVED * spacing)
            vertices[active[better]] = tried[better]
            active = active[better & (off > CLOSE_ENOUGH)]
    together = cKDTree(vertices.numpy()).query_pairs(CLEARANCE * spacing, output_type="ndarray").reshape(-1)
    vertices[together] = start[together]
    progress(1.0)
    return trimesh.Trimesh(
        vertices.double().numpy(), mesh.faces, vertex_normals=normals.double().numpy(), process=False
    )


@dataclass(frozen=True)
class _Parents:
    """The cells of twice the size from which cells come.

    Attributes:
        parent: index of each cell's parent, ascending, [k].
        part: which of the parent's eight parts each cell is, [k].
        values: at the parents' corners, [m, 8].
        slope: of the parents, [m].
    """

    parent: Int[ndarray, " k"]
    part: Int[ndarray, " k"]
    values: Float[ndarray, "m 8"]
    slope: Float[ndarray, " m"]

    def bound(
        self, values: Float[ndarray, "k 8"], samples: _Samples, size: int
    ) -> tuple[Float[ndarray, " k"], Float[ndarray, " k"]]:
        """Return how steep the field is in each cell, and how far it can stray from the corners' values, [k] each."""
        width = size * samples.spacing
        slope = np.maximum(_slope(values, width), self.slope[self.parent])
        return slope, np.minimum(_reach(slope, width), DOUBT * self._doubt(values))

    def _doubt(self, values: Float[ndarray, "k 8"]) -> Float[ndarray, " k"]:
        """Return the most by which values at the corners of any part of a cell's parent differ from interpolation."""
        expected = np.einsum("ko,kco->kc", self.values[self.parent], _WEIGHTS[self.part])
        off = np.abs(values - expected).max(-1)
        first = np.flatnonzero(np.diff(self.parent, prepend=-1))
        return np.repeat(np.maximum.reduceat(off, first), np.diff(first, append=len(off)))


class _Samples:
    """Values of a function at samples of a grid over the cube, evaluated when they are first asked for.

    Cells are named by their lowest corner, counted in samples, [m, 3]. Their size is a power of two; those at the upper
    walls are cut off there. A sample's key is its index in row-major order.

    Attributes:
        last: index of the last sample along each axis.
        spacing: between neighbouring samples.
        keys: of the samples whose values were asked for last, ascending.
        values: at these, less the level.
        low, high: range of all values evaluated so far.
        wall: the least of them at the cube's walls.
    """

    def __init__(self, function: Function, resolution: int, level: float, to_own: Callable[[float], float]) -> None:
        self.function, self.level, self.last, self.to_own = function, level, resolution - 1, to_own
        self.axis = np.linspace(-1, 1, resolution, dtype=np.float32)
        self.spacing = 2 / (resolution - 1)
        self.keys, self.values = np.empty(0, np.int64), np.empty(0, np.float32)
        self.low, self.high, self.wall = np.inf, -np.inf, np.inf

    def all_cells(self, size: int) -> Int[ndarray, "m 3"]:
        """Return every cell of that size."""
        lowest = np.arange(0, self.last, size)
        return np.stack(np.meshgrid(lowest, lowest, lowest, indexing="ij"), -1).reshape(-1, 3)

    def at(self, cells: Int[ndarray, "m 3"], size: int, progress: Progress = _ignore) -> Float[ndarray, "m 8"]:
        """Return values at the corners of cells less the level, [m, 8]."""
        needed, index = np.unique(self._corner_keys(cells, size), return_inverse=True)
        values = np.empty(len(needed), np.float32)
        known = np.zeros(len(needed), bool)
        if len(self.keys):
            old = np.searchsorted(self.keys, needed).clip(max=len(self.keys) - 1)
            known = self.keys[old] == needed
            values[known] = self.values[old[known]]
        values[~known] = self._evaluate(needed[~known], progress)
        self.keys, self.values = needed, values
        return values[index.reshape(-1, 8)]

    def bound(
        self, cells: Int[ndarray, "m 3"], size: int, values: Float[ndarray, "m 8"]
    ) -> tuple[Float[ndarray, " m"], Float[ndarray, " m"]]:
        """Return how steep the field is in and around each of all cells, and how far it can stray, [m] each."""
        width = size * self.spacing
        ends = np.minimum(cells + size, self.last)
        middle = self._at_points((self.axis[cells] + self.axis[ends]) / 2)
        to_middle = np.abs(values - middle[:, None]).max(-1) / (np.sqrt(3) / 2 * size * self.spacing)
        slope = np.maximum(_slope(values, width), to_middle)
        count = -(-self.last // size)
        slope = maximum_filter(slope.reshape((count,) * 3), 3, mode="nearest").reshape(-1)
        return slope, _reach(slope, width)

    def halve(
        self, cells: Int[ndarray, "m 3"], values: Float[ndarray, "m 8"], slope: Float[ndarray, " m"], size: int
    ) -> tuple[Int[ndarray, "k 3"], _Parents]:
        """Return the cells of half that size in those of this size, in the same order, and their parents."""
        parts = (cells[:, None] + size // 2 * _CORNERS).reshape(-1, 3)
        within = np.flatnonzero((parts < self.last).all(-1))
        return parts[within], _Parents(within // 8, within % 8, values, slope)

    def follow(
        self, cells: Int[ndarray, "m 3"], values: Float[ndarray, "m 8"]
    ) -> tuple[Int[ndarray, "k 3"], Float[ndarray, "k 8"]]:
        """Return cells of size 1 together with all others that the surface in them leads to, and their values."""
        frontier, frontier_values = cells, values
        known = np.sort(self._keys(cells))
        while True:
            keys = np.setdiff1d(self._keys(self._beyond(frontier, frontier_values)), known)
            if len(keys) == 0:
                return cells, values
            frontier = self._indices(keys)
            cells = np.concatenate([cells, frontier])
            values = self.at(cells, 1)
            frontier_values = values[-len(frontier) :]
            known = np.sort(np.concatenate([known, keys]))

    def _beyond(self, cells: Int[ndarray, "m 3"], values: Float[ndarray, "m 8"]) -> Int[ndarray, "k 3"]:
        """Return the neighbours of cells of size 1 on the other side of each face that the surface crosses."""
        beyond = []
        for axis in range(3):
            for side in (0, 1):
                crossed = _is_crossed(values[:, _CORNERS[:, axis] == side])
                neighbours = cells[crossed] + np.eye(3, dtype=int)[axis] * (2 * side - 1)
                beyond.append(neighbours[((neighbours >= 0) & (neighbours < self.last)).all(-1)])
        return np.concatenate(beyond)

    def check(self) -> None:
        """Check that there is a surface, and that at a level above 0 no part of it leaves the cube.

        Raises:
            EmptySurfaceError: there is none, or it does.
        """
        ends = sorted((self.to_own(self.low), self.to_own(self.high)))
        level, low, high, wall = write_apart(self.to_own(self.level), *ends, self.to_own(self.wall))
        if not self.low < self.level < self.high:
            raise EmptySurfaceError(f"there is no surface at level {level}: the field lies between {low} and {high}")
        if self.level > 0 and self.wall <= self.level:
            raise EmptySurfaceError(
                f"the surface at level {level} leaves the cube [-1, 1]^3 that the field is known in; at most {wall}"
                " stays inside"
            )
        if not (self.values < 0).any():
            raise EmptySurfaceError(f"there is no surface at level {level} away from the cube's walls")

    def mesh(self, cells: Int[ndarray, "m 3"]) -> trimesh.Trimesh:
        """Return the surface in some cells of size 1, whose corners are known, by marching cubes."""
        needed, corners = np.unique(self._corner_keys(cells, 1), return_inverse=True)
        values = self.values[np.searchsorted(self.keys, needed)]
        # Where the surface runs through a sample, the vertices around it would fall together.
        least = np.float32(CLEARANCE * self.spacing)
        values = np.where(np.abs(values) < least, np.where(values < 0, -least, least), values).astype(np.float64)
        samples = self._indices(needed).astype(np.float64)
        vertices, faces, _ = igl.marching_cubes(values, samples, np.ascontiguousarray(corners.reshape(-1, 8)), 0.0)
        return trimesh.Trimesh(vertices * self.spacing - 1, faces, process=False)

    def _keys(self, indices: Int[ndarray, "*m 3"]) -> Int[ndarray, "*m"]:
        """Return the keys of samples."""
        return np.ravel_multi_index(tuple(np.moveaxis(indices, -1, 0)), (self.last + 1,) * 3)

    def _indices(self, keys: Int[ndarray, " n"]) -> Int[ndarray, "n 3"]:
        """Return the samples of keys, as indices along each axis."""
        return np.stack(np.unravel_index(keys, (self.last + 1,) * 3), -1)

    def _corner_keys(self, cells: Int[ndarray, "m 3"], size: int) -> Int[ndarray, "m 8"]:
        """Return the keys of the corners of cells."""
        return self._keys(np.minimum(cells[:, None] + size * _CORNERS, self.last))

    def _evaluate(self, keys: Int[ndarray, " n"], progress: Progress) -> Float[ndarray, " n"]:
        """Return values at samples less the level, those at the cube's walls outside."""
        indices = self._indices(keys)
        values = self._at_points(self.axis[indices], progress)
        at_wall = ((indices == 0) | (indices == self.last)).any(-1)
        if len(values):
            self.low, self.high = min(self.low, values.min() + self.level), max(self.high, values.max() + self.level)
        if at_wall.any():
            self.wall = min(self.wall, values[at_wall].min() + self.level)
        values[at_wall] = np.maximum(values[at_wall], self.spacing)
        return values

    def _at_points(self, points: Float[ndarray, "n 3"], progress: Progress = _ignore) -> Float[ndarray, " n"]:
        """Return values at points less the level.

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


def _is_crossed(values: Float[ndarray, "m k"]) -> Bool[ndarray, " m"]:
    """Return whether the surface runs between the corners of each cell, or of each face of one."""
    return (values < 0).any(-1) & (values >= 0).any(-1)


def _slope(values: Float[ndarray, "m 8"], width: float) -> Float[ndarray, " m"]:
    """Return how steeply the field rises in each cell, from the steepest edge along each axis."""
    steepest = [np.max([np.abs(values[:, a] - values[:, b]) for a, b in pairs], axis=0) for pairs in _EDGES]
    return np.linalg.norm(steepest, axis=0) / width


def _reach(slope: Float[ndarray, " m"], width: float) -> Float[ndarray, " m"]:
    """Return the most by which a field of that slope can differ from its value at a cell's nearest corner."""
    return SAFETY * slope * np.sqrt(3) / 2 * width
