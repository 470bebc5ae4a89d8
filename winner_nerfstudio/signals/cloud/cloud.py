"""The target made of points on a watertight or nearly watertight surface."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import igl
import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.spatial import cKDTree

from ..errors import SignalError
from ..grid import name_of
from ..normalization import Normalization
from ..options import NoData
from ..records import ShapeRecord
from ..sdf import MARGIN, SignedDistance, annotate, in_blocks
from ..shape import Mix, Shape, Sign, load_shape
from ..shape.colors import CornerColors
from ..strays import check_points, drop_missing_points
from .distance import NEIGHBOURS, WINDING_POINTS, distance_to_nearest, estimate_areas, estimate_signed_volume
from .normals import PLANE_NEIGHBOURS, estimate_normals
from .reading import Columns, holds_points, read_point_array, read_points
from .repair import clean_points
from .sampling import draw_samples, select_points

HELD_OUT = 16
"""Of so many points, the colour of one is held out for metrics."""
SPLATS = 200_000
"""Of a larger cloud, rays see a random selection of so many points."""


@dataclass(frozen=True, eq=False)
class PointCloud(SignedDistance):
    """Oriented points in the cube [-1, 1]^3 with a signed distance (negative inside) and the way back to the world.

    Build one with `load_surface` or `PointCloud.from_points`. The distance is that to the nearest point, as exact as
    points lie densely. Near them its sign is that of their normals, and elsewhere that of the winding number.

    Attributes:
        name: of the file.
        points: unit-cube coordinates, [n, 3].
        normals: of unit length, outwards, [n, 3].
        normalization: the map from the input's coordinates to the cube's.
        source: where the normals come from, for the user to read.
        repairs: what was changed on the way in, likewise.
        reference: the true surface in this cube, if it is known; metrics are computed against it.
        colors: of the points, if there are any.
    """

    level: ClassVar[float] = 0.0

    name: str
    points: Float[ndarray, "n 3"]
    normals: Float[ndarray, "n 3"]
    normalization: Normalization
    source: str = "with normals"
    repairs: tuple[str, ...] = ()
    reference: Shape | None = None
    colors: CornerColors | None = None

    @classmethod
    def from_points(
        cls,
        points: Float[ndarray, "n 3"],
        normals: Float[ndarray, "n 3"] | None = None,
        name: str = "cloud",
        colors: CornerColors | None = None,
    ) -> "PointCloud":
        """Check, normalise and orient points.

        Args:
            points: in their own units; not changed.
            normals: of any length; estimated if they are missing or all zero.
            name: what messages call them.
            colors: of the points, [n].

        Raises:
            SignalError: too few points, some that are not finite, all at one position, unusable normals, or nothing
                enclosed.
        """
        points, normals, kept, repairs = clean_points(name, points, normals)
        normalization = Normalization.to_cube(points.min(0), points.max(0), MARGIN)
        points, source = normalization.to_unit(points), "with normals"
        if normals is None:
            normals, turned = estimate_normals(points)
            repairs += turned
            source = f"normals estimated from {PLANE_NEIGHBOURS} neighbours each and oriented alike"
        if estimate_signed_volume(points, normals) < 0:
            normals = -normals
            repairs.append("repaired: the normals pointed inwards; turned them outwards")
        colors = None if colors is None else colors.take(kept)
        cloud = cls(name, points, normals, normalization, source, tuple(repairs), colors=colors)
        if not cloud._has_inside():
            raise SignalError(
                f"{name}: the points enclose no volume, so there is no inside; points all around a body are needed,"
                " with normals that agree, or with none"
            )
        return cloud

    @property
    def record(self) -> ShapeRecord:
        """Return the record of a shape whose surface lies at 0."""
        return ShapeRecord()

    @property
    def bounds(self) -> Float[ndarray, "2 3"]:
        """Return the least and the greatest corner of the bounding box, unit cube."""
        return np.stack([self.points.min(0), self.points.max(0)])

    def describe(self) -> list[str]:
        """Return what the user should know of the input, a line each: size, normals, repairs, reference."""
        against = [] if self.reference is None else [f"metrics are against {self.reference.name}"]
        colors = [] if self.colors is None else [f"colours: one a point, sRGB of {self.colors.bits} bits"]
        return [f"{self.name}: {len(self.points):,} points, {self.source}", *colors, *self.repairs, *against]

    def facts(self) -> dict[str, str]:
        """Return what else there is to know of the points, by name, for `winner-inspect`."""
        spacing = f"{self.spacing / self.normalization.scale:.3g}"
        return {**self._box_facts(), "distance between neighbours": spacing}

    def winding_number(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, " n"]:
        """Return the winding number of oriented points (Barill et al. 2018): about 1 inside and 0 outside, [n]."""
        sources, normals, areas = self._dipoles
        # Twice as fast as with beta = 2, and as sure wherever `signed_distance` asks.
        return np.concatenate(
            [igl.fast_winding_number(sources, normals, areas, block, 2, 1.0) for block in in_blocks(points, 1 << 16)]
        )

    def inside(self, points: Float[ndarray, "n 3"]) -> Bool[ndarray, " n"]:
        """Return whether points (unit cube, [n, 3]) lie inside."""
        return self.signed_distance(points) < 0

    def closest(
        self, points: Float[ndarray, "n 3"]
    ) -> tuple[Float[ndarray, " n"], Int[ndarray, " n"], Float[ndarray, "n 3"]]:
        """Return the squared distance to the nearest point of the cloud, its index and its coordinates, for [n, 3]."""
        distance, index = self._tree.query(points)
        return distance**2, index, self.points[index]

    def signed_distance(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, " n"]:
        """Return the distance to the surface, negative inside, in unit-cube lengths, [n].

        It is about exact where points lie densely. Far from the surface a part of the points is enough, so time grows
        little with their number.
        """
        points = np.asarray(points, np.float64)
        tree, normals, gap = self._dipole_tree, self._dipoles[1], self._dipole_spacing
        reach, outside, distance = distance_to_nearest(tree, normals, gap, points)
        far = reach > 2 * gap
        if len(normals) < len(self.points):
            _, outside[~far], distance[~far] = distance_to_nearest(self._tree, self.normals, self.spacing, points[~far])
        if far.any():
            outside[far] = self.winding_number(points[far]) < 0.5
        return np.where(outside, distance, -distance)

    def sample_surface(
        self, rng: np.random.Generator, count: int
    ) -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n 3"]]:
        """Return points of the cloud at random, [n, 3], and their normals, [n, 3]."""
        index = rng.integers(len(self.points), size=count)
        return self.points[index], self.normals[index]

    @property
    def texel(self) -> float:
        """Return the typical distance between neighbouring points, unit-cube lengths: the root of the area of one."""
        return float(np.sqrt(np.median(estimate_areas(self.points))))

    @property
    def color_bits(self) -> int:
        """Return the bits of a channel of the colours."""
        return self._point_colors.bits

    def sample_colors(
        self, rng: np.random.Generator, count: int, unseen: bool = False
    ) -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n 3"], Float[ndarray, "n 3"]]:
        """Return points of the cloud at random, their normals and their sRGB colours, [n, 3] each.

        One point in `HELD_OUT` is `unseen`: its colour is never fitted, and metrics are computed there.
        """
        order = np.random.default_rng(0).permutation(len(self.points))
        split = max(1, len(order) // HELD_OUT)
        some = order[:split] if unseen else order[split:]
        index = some[rng.integers(len(some), size=count)]
        return self.points[index], self.normals[index], self._point_colors.values[index].astype(np.float64)

    def color_at(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, "n 3"]:
        """Return the sRGB colours in [0, 1] of the nearest points of the cloud, for [n, 3]."""
        return self._point_colors.values[self.closest(points)[1]].astype(np.float64)

    def walk(
        self, points: Float[ndarray, "n 3"], moves: Float[ndarray, "n 3"], normals: Float[ndarray, "n 3"]
    ) -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n 3"], Float[ndarray, "n 3"]]:
        """Return where small moves lead on the plane of the nearest point, its unit normal and its colour."""
        moved = points + moves
        _, index, nearest = self.closest(moved)
        normals = self.normals[index]
        moved = moved - ((moved - nearest) * normals).sum(-1, keepdims=True) * normals
        return moved, normals, self._point_colors.values[index].astype(np.float64)

    @property
    def _point_colors(self) -> CornerColors:
        assert self.colors is not None, "only points with colours are asked for them"
        return self.colors

    def cast_rays(
        self, origins: Float[ndarray, "n 3"], directions: Float[ndarray, "n 3"]
    ) -> tuple[Float[ndarray, " n"], Bool[ndarray, " n"], Float[ndarray, "n 3"]]:
        """Return where rays first meet the points, each a small square across its normal: see `Shape.cast_rays`."""
        return self._splats.cast_rays(origins, directions)

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, Float[ndarray, "n k"]]:
        """Return fresh training samples in random order: half points of the cloud, half uniform in [-1, 1]^3; float32.

        Returns:
            ``coords`` [n, 3]; ``values`` [n, 1], the signed distance, 0 at the cloud's points; ``on_surface`` [n, 1],
            1 for those and 0 for others; ``normals`` [n, 3], theirs, 0 for others.
        """
        return draw_samples(rng, count, self.sample_surface, self.signed_distance)

    @cached_property
    def spacing(self) -> float:
        """Return the median distance to a point's neighbour `NEIGHBOURS`: gaps between points are rarely larger."""
        some, _ = select_points(self.points, self.normals, 10_000)
        return float(np.median(self._tree.query(some, k=[min(NEIGHBOURS, len(self.points) - 1) + 1])[0]))

    def _has_inside(self) -> bool:
        """Return whether, by the winding number, points a little below the surface are inside."""
        # Beneath the points: there an open sheet's winding number is one half, give or take.
        points, normals = select_points(self.points, self.normals, 2048)
        depths = (self._dipole_spacing * factor for factor in (1, 2, 4))
        return any((self.winding_number(points - depth * normals) > 0.75).mean() > 0.05 for depth in depths)

    @cached_property
    def _dipoles(self) -> tuple[Float[ndarray, "m 3"], Float[ndarray, "m 3"], Float[ndarray, " m"]]:
        """Return the points, normals and areas that the winding number is computed from."""
        points, normals = select_points(self.points, self.normals, WINDING_POINTS)
        return np.ascontiguousarray(points), np.ascontiguousarray(normals), estimate_areas(points)

    @cached_property
    def _dipole_tree(self) -> cKDTree:
        return cKDTree(self._dipoles[0])

    @cached_property
    def _dipole_spacing(self) -> float:
        """Return how far apart dipoles are, about."""
        return float(np.sqrt(np.median(self._dipoles[2]) * NEIGHBOURS / np.pi))

    @cached_property
    def _splats(self) -> Shape:
        """Return small squares around the points, which rays can hit."""
        points, normals = select_points(self.points, self.normals, SPLATS)
        return Shape("splats", _make_squares(points, normals), self.normalization, holes=len(points))

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.points)


def load_surface(
    source: "str | Path | ndarray | trimesh.Trimesh | trimesh.Scene",
    mix: Mix | None = None,
    sign: Sign = "auto",
    reference: "str | Path | trimesh.Trimesh | None" = None,
    nodata: NoData = "auto",
    colors: bool = False,
) -> Shape | PointCloud:
    """Load a mesh as a `Shape`, or points, with normals or without, as a `PointCloud`: what the file holds decides.

    Args:
        source: a mesh, or a file or sample of one, see `load_shape`; or points: .ply without faces, a text such as
            .xyz or .csv (see `read_point_text`), .pcd, an array [n, 3] or [n, 6], also in .npy.
        mix: how training samples of a mesh are distributed.
        sign: how a mesh's inside and outside are told apart.
        reference: a mesh file of what the points were taken from, in their coordinates; metrics are against it.
        nodata: the coordinate of points that hold no data, see `ShapeOptions.nodata`.
        colors: whether to read colours as well.

    Raises:
        SignalError: a missing or unreadable file, or one that is no usable surface.
    """
    if isinstance(source, ndarray):
        return _make_cloud(read_point_array(source), name_of(source), reference, nodata)
    if not isinstance(source, (trimesh.Trimesh, trimesh.Scene)) and holds_points(Path(source)):
        found = read_points(Path(source))
        if not colors or (found.colors is not None and found.colors.is_plain):
            found = replace(found, colors=None)
        return _make_cloud(found, str(source), reference, nodata)
    if reference is not None:
        name = source if isinstance(source, (str, Path)) else "mesh"
        raise SignalError(f"{name}: --reference is for point clouds; the metrics of a mesh are against itself")
    return load_shape(source, mix, sign, colors)


def _make_cloud(
    columns: Columns, name: str, reference: "str | Path | trimesh.Trimesh | None", nodata: NoData
) -> PointCloud:
    kept, notes = drop_missing_points(columns.points, nodata)
    points, normals = columns.points[kept], None if columns.normals is None else columns.normals[kept]
    # `PointCloud.from_points` refuses all else.
    strays = check_points(name, points, nodata) if len(points) and np.isfinite(points).all() else ()
    try:
        found = None if columns.colors is None else columns.colors.take(np.flatnonzero(kept))
        cloud = PointCloud.from_points(points, normals, name, found)
    except SignalError as error:
        raise SignalError("; ".join([str(error), *(line.removeprefix("warning: ") for line in strays)])) from None
    cloud = annotate(cloud, repairs=(*columns.notes, *notes, *strays, *cloud.repairs))
    return cloud if reference is None else annotate(cloud, reference=_move_to_cube(load_shape(reference), cloud))


def _move_to_cube(reference: Shape, cloud: PointCloud) -> Shape:
    """Return the reference with the cloud's normalisation instead of its own.

    Raises:
        SignalError: it is of another size or elsewhere.
    """
    moved = reference.move_to(cloud.normalization)
    if np.abs(moved.bounds).max() > 1 or moved.diagonal < cloud.diagonal / 2:
        boxes = [_box_in_words(signal) for signal in (reference, cloud)]
        raise SignalError(
            f"{reference.name}: spans {boxes[0]}, the points {boxes[1]}; a reference in their coordinates is needed"
        )
    return moved


def _box_in_words(signal: SignedDistance) -> str:
    """Return the corners of the bounding box in the input's units."""
    corners = signal.normalization.to_world(signal.bounds)
    return " to ".join(str([float(f"{x:.4g}") for x in corner]) for corner in corners)


def _make_squares(points: Float[ndarray, "n 3"], normals: Float[ndarray, "n 3"]) -> trimesh.Trimesh:
    """Return a square about each point across its normal, so wide that few gaps are left where points lie at random."""
    reach = 1.5 * np.sqrt(estimate_areas(points))[:, None]
    axis = np.eye(3)[np.abs(normals).argmin(-1)]
    first = np.cross(normals, axis)
    first /= np.linalg.norm(first, axis=-1, keepdims=True)
    second = np.cross(normals, first)
    corners = np.stack([points + reach * corner for corner in (first, second, -first, -second)], axis=1)
    faces = 4 * np.arange(len(points))[:, None, None] + np.array([[0, 1, 2], [0, 2, 3]])
    return trimesh.Trimesh(corners.reshape(-1, 3), faces.reshape(-1, 3), process=False)
