"""Points on a closed or nearly closed surface as a target: known where they lie, guessed from them elsewhere."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import igl
import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from .errors import SignalError
from .grid import name_of, read_array
from .normalization import Normalization
from .records import ShapeRecord
from .shape import MARGIN, QUERY_BLOCK, DistanceSpectrum, Mix, Shape, Sign, load_shape

FEWEST_POINTS = 10
NEIGHBOURS = 8
"""Neighbours of a point whose distance tells how densely points lie about it."""
PLANE_NEIGHBOURS = 30
"""Neighbours that a missing normal is estimated from: open3d's own default."""
GRAPH_NEIGHBOURS = 15
"""Neighbours that estimated normals are made to agree with."""
WINDING_POINTS = 30_000
"""Of a larger cloud so many, at random, tell how things stand far from it: what bounds the time of a query."""
SPLATS = 200_000
"""Of a larger cloud so many are seen by rays."""
_SEED = 0


@dataclass(frozen=True, eq=False)
class PointCloud(DistanceSpectrum):
    """Oriented points in the cube [-1, 1]^3 with a signed distance (negative inside) and a way back to the world.

    Build one with `load_surface` or `PointCloud.from_points`. The distance is that to the nearest point, as exact as
    points lie densely. Near them its sign is that of their normals, and elsewhere that of the winding number.

    Attributes:
        name: of the file.
        points: unit-cube coordinates, [n, 3].
        normals: of unit length, outwards, [n, 3].
        normalization: the way from the input's coordinates to the cube's.
        source: where the normals come from, for the user to read.
        repairs: what was changed on the way in, likewise.
        reference: the true surface in this cube, if there is one; figures are against it.
    """

    kind: ClassVar[str] = "sdf"
    dim: ClassVar[int] = 3
    channels: ClassVar[int] = 1
    suffix: ClassVar[str] = ".ply"
    level: ClassVar[float] = 0.0

    name: str
    points: Float[ndarray, "n 3"]
    normals: Float[ndarray, "n 3"]
    normalization: Normalization
    source: str = "with normals"
    repairs: tuple[str, ...] = ()
    reference: Shape | None = None

    @classmethod
    def from_points(
        cls, points: Float[ndarray, "n 3"], normals: Float[ndarray, "n 3"] | None = None, name: str = "cloud"
    ) -> "PointCloud":
        """Check, normalise and orient points.

        Args:
            points: in their own units; not changed.
            normals: of any length; estimated by open3d if there are none, or none that is not zero.
            name: what messages call them.

        Raises:
            SignalError: too few points, some that are not finite, all in one place, normals that are none, or nothing
                enclosed.
        """
        points = np.asarray(points, np.float64)
        broken = int((~np.isfinite(points)).any(-1).sum())
        if broken:
            raise SignalError(
                f"{name}: {broken} of {len(points)} points are NaN or infinite; every coordinate must be finite"
            )
        points, normals, repairs = _clean(name, points, normals)
        if len(points) < FEWEST_POINTS:
            raise SignalError(f"{name}: {len(points)} points that differ; at least {FEWEST_POINTS} are needed")
        normalization = Normalization.to_cube(points.min(0), points.max(0), MARGIN)
        points, source = normalization.to_unit(points), "with normals"
        if normals is None:
            normals, turned = _estimate_normals(name, points)
            repairs += turned
            source = f"normals estimated from {PLANE_NEIGHBOURS} neighbours each and oriented alike (open3d)"
        if _signed_volume(points, normals) < 0:
            normals = -normals
            repairs.append("repaired: the normals pointed inwards; turned them outwards")
        cloud = cls(name, points, normals, normalization, source, tuple(repairs))
        if not cloud._has_inside():
            raise SignalError(
                f"{name}: the points enclose no volume, so there is no inside; points all around a body are needed,"
                " with normals that agree, or with none"
            )
        return cloud

    @property
    def record(self) -> ShapeRecord:
        """Nothing but that it is a shape: a mesh is written from the field and its normalisation."""
        return ShapeRecord()

    @property
    def bounds(self) -> Float[ndarray, "2 3"]:
        """Least and greatest corner of the bounding box, unit cube."""
        return np.stack([self.points.min(0), self.points.max(0)])

    @property
    def diagonal(self) -> float:
        """Length of the bounding box's diagonal in unit-cube lengths: what relative errors are relative to."""
        return float(np.linalg.norm(np.ptp(self.points, axis=0)))

    def describe(self) -> list[str]:
        """What the user should know of the input, a line each: size, normals, repairs, reference."""
        against = [] if self.reference is None else [f"figures are against {self.reference.name}"]
        return [f"{self.name}: {len(self.points):,} points, {self.source}", *self.repairs, *against]

    def facts(self) -> dict[str, str]:
        """What there is to know of the points besides, for `winner-inspect`."""
        lower, upper = (self.normalization.to_world(corner) for corner in self.bounds)
        return {
            "size": " x ".join(f"{extent:.6g}" for extent in upper - lower),
            "from, to": " ".join(str(tuple(float(f"{c:.6g}") for c in corner)) for corner in (lower, upper)),
            "distance between neighbours": f"{self.spacing / self.normalization.scale:.3g}",
        }

    def winding_number(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, " n"]:
        """Winding number of oriented points (Barill et al. 2018, libigl): about 1 inside and 0 outside, [n]."""
        sources, normals, areas = self._dipoles
        # Twice as fast as with beta = 2, and as sure wherever `signed_distance` asks.
        number = [igl.fast_winding_number(sources, normals, areas, block, 2, 1.0) for block in _blocks(points)]
        return np.concatenate(number)

    def inside(self, points: Float[ndarray, "n 3"]) -> Bool[ndarray, " n"]:
        """Whether points (unit cube, [n, 3]) lie inside."""
        return self.signed_distance(points) < 0

    def closest(
        self, points: Float[ndarray, "n 3"]
    ) -> tuple[Float[ndarray, " n"], Int[ndarray, " n"], Float[ndarray, "n 3"]]:
        """Squared distance to the nearest point of the cloud, its index and its place, for points [n, 3]."""
        distance, index = self._tree.query(points)
        return distance**2, index, self.points[index]

    def signed_distance(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, " n"]:
        """Distance to the surface, negative inside, in unit-cube lengths, [n]; about exact where points lie densely.

        Far from the surface a part of the points will do: time grows little with their number.
        """
        points = np.asarray(points, np.float64)
        tree, normals, gap = self._dipole_tree, self._dipoles[1], self._dipole_spacing
        reach, outside, distance = _by_nearest(tree, normals, gap, points)
        far = reach > 2 * gap
        if len(normals) < len(self.points):
            _, outside[~far], distance[~far] = _by_nearest(self._tree, self.normals, self.spacing, points[~far])
        if far.any():
            outside[far] = self.winding_number(points[far]) < 0.5
        return np.where(outside, distance, -distance)

    def sample_surface(
        self, rng: np.random.Generator, count: int
    ) -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n 3"]]:
        """Points of the cloud at random, [n, 3], and their normals, [n, 3]."""
        index = rng.integers(len(self.points), size=count)
        return self.points[index], self.normals[index]

    def cast_rays(
        self, origins: Float[ndarray, "n 3"], directions: Float[ndarray, "n 3"]
    ) -> tuple[Float[ndarray, " n"], Bool[ndarray, " n"], Float[ndarray, "n 3"]]:
        """Where rays first meet the points, each a small square across its normal: see `Shape.cast_rays`."""
        return self._splats.cast_rays(origins, directions)

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, Float[ndarray, "n k"]]:
        """Fresh training samples in random order, half of the cloud's points and half uniform in [-1, 1]^3. Float32.

        ``coords`` [n, 3]; ``values`` [n, 1], the signed distance, 0 at the cloud's points; ``on_surface`` [n, 1], 1 for
        those and 0 for others; ``normals`` [n, 3], theirs, 0 for others.
        """
        on = count // 2
        surface, normals = self.sample_surface(rng, on)
        volume = rng.uniform(-1, 1, (count - on, 3))
        samples = {
            "coords": np.concatenate([surface, volume]),
            "values": np.concatenate([np.zeros(on), self.signed_distance(volume)])[:, None],
            "on_surface": (np.arange(count) < on)[:, None],
            "normals": np.concatenate([normals, np.zeros_like(volume)]),
        }
        order = rng.permutation(count)
        return {name: values[order].astype(np.float32) for name, values in samples.items()}

    @cached_property
    def spacing(self) -> float:
        """Median distance to a point's neighbour number `NEIGHBOURS`: a gap between points is no larger, as a rule."""
        some, _ = _some(self.points, self.normals, 10_000)
        return float(np.median(self._tree.query(some, k=[min(NEIGHBOURS, len(self.points) - 1) + 1])[0]))

    def _has_inside(self) -> bool:
        # Beneath the points: there an open sheet's winding number is one half, give or take.
        points, normals = _some(self.points, self.normals, 2048)
        depths = (self._dipole_spacing * factor for factor in (1, 2, 4))
        return any((self.winding_number(points - depth * normals) > 0.75).mean() > 0.05 for depth in depths)

    @cached_property
    def _dipoles(self) -> tuple[Float[ndarray, "m 3"], Float[ndarray, "m 3"], Float[ndarray, " m"]]:
        """Points, normals and the area that each stands for, of which the winding number is made."""
        points, normals = _some(self.points, self.normals, WINDING_POINTS)
        return np.ascontiguousarray(points), np.ascontiguousarray(normals), _areas(points)

    @cached_property
    def _dipole_tree(self) -> cKDTree:
        return cKDTree(self._dipoles[0])

    @cached_property
    def _dipole_spacing(self) -> float:
        return float(np.sqrt(np.median(self._dipoles[2]) * NEIGHBOURS / np.pi))

    @cached_property
    def _splats(self) -> Shape:
        points, normals = _some(self.points, self.normals, SPLATS)
        return Shape("splats", _squares(points, normals), self.normalization, holes=len(points))

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.points)


def load_surface(
    source: "str | Path | ndarray | trimesh.Trimesh",
    mix: Mix | None = None,
    sign: Sign = "auto",
    reference: "str | Path | trimesh.Trimesh | None" = None,
) -> Shape | PointCloud:
    """A mesh as a `Shape`, or points, with normals or without, as a `PointCloud`: what the file holds decides.

    Args:
        source: a mesh, or a file or sample of one, see `load_shape`; or points: .ply without faces, .xyz (columns x y z
            and nx ny nz or not, parted by spaces or commas), .pcd, an array [n, 3] or [n, 6], also in .npy.
        mix: where training samples of a mesh are drawn.
        sign: how a mesh's inside and outside are told apart.
        reference: a mesh file of what the points were taken from, in their coordinates; figures are against it.

    Raises:
        SignalError: a missing or unreadable file, or one that is no usable surface.
    """
    if isinstance(source, ndarray):
        points, normals, notes = _read_npy(source)
        return _with_reference(PointCloud.from_points(points, normals, name_of(source)), notes, reference)
    path = Path("mesh" if isinstance(source, trimesh.Trimesh) else source)
    read = READERS.get(path.suffix.lower())
    if (
        isinstance(source, trimesh.Trimesh)
        or read is None
        or (read is _read_ply and not (path.is_file() and _only_points(path)))
    ):
        if reference is not None:
            raise SignalError(f"{path}: --reference is for point clouds; the figures of a mesh are against itself")
        return load_shape(source, mix, sign)
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "no such file"
        raise SignalError(f"{path}: {what}; give a mesh, or points in one of {', '.join(READERS)}")
    try:
        points, normals, notes = read(path)
    except SignalError:
        raise
    except Exception as error:  # readers fail in their own many ways
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise SignalError(f"{path}: cannot be read as {path.suffix} points ({reason}); is the file whole?") from error
    return _with_reference(PointCloud.from_points(points, normals, str(source)), notes, reference)


def _with_reference(
    cloud: PointCloud, notes: list[str], reference: "str | Path | trimesh.Trimesh | None"
) -> PointCloud:
    cloud = replace(cloud, repairs=(*notes, *cloud.repairs))
    return cloud if reference is None else replace(cloud, reference=_in_cube_of(cloud, load_shape(reference)))


Columns = tuple[ndarray, ndarray | None, list[str]]
"""Points [n, 3], their normals [n, 3] if there are any, and what the user should know of the reading."""


def _only_points(path: Path) -> bool:
    """Whether a .ply file's header names vertices, and no faces or strips of them."""
    with path.open("rb") as file:
        header = file.read(1 << 16).partition(b"end_header")[0]
    return bool(re.search(rb"element\s+vertex", header)) and not re.search(
        rb"element\s+(face|tristrips)\s+0*[1-9]", header
    )


def _read_ply(path: Path) -> Columns:
    from trimesh.exchange.ply import load_ply

    with path.open("rb") as file:
        found = load_ply(file)
    return np.asarray(found["vertices"]), found.get("vertex_normals"), []


def _read_xyz(path: Path) -> Columns:
    with path.open(encoding="utf8") as file:
        table = np.loadtxt((line.replace(",", " ").replace(";", " ") for line in file), np.float64, ndmin=2)
    return _split(path, table)


def _read_npy(source: Path | ndarray) -> Columns:
    name = name_of(source)

    def check(shape: tuple[int, ...]) -> None:
        if len(shape) != 2 or shape[1] not in (3, 6):
            raise SignalError(f"{name}: an array of shape {list(shape)} is no point cloud; [n, 3] or [n, 6] is needed")

    table = read_array(source, check)
    if table.dtype.kind not in "iuf":
        raise SignalError(f"{name}: values of type {table.dtype} are no coordinates; real numbers are needed")
    return _split(name, table.astype(np.float64))


def _read_pcd(path: Path) -> Columns:
    open3d = _open3d(f"{path}: .pcd files are read by open3d")
    with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
        cloud = open3d.io.read_point_cloud(str(path), remove_nan_points=False, remove_infinite_points=False)
    points, normals = np.asarray(cloud.points), np.asarray(cloud.normals) if cloud.has_normals() else None
    if len(points) == 0:
        raise SignalError(f"{path}: holds no points that open3d can read; is the file whole?")
    # The format's way to say that a ray of the scanner met nothing.
    met = ~np.isnan(points).all(-1)
    notes = [] if met.all() else [f"repaired: dropped {(~met).sum():,} points without coordinates"]
    return points[met], None if normals is None else normals[met], notes


READERS: dict[str, Callable[[Path], Columns]] = {
    ".ply": _read_ply,
    ".xyz": _read_xyz,
    ".pcd": _read_pcd,
    ".npy": _read_npy,
}
"""What reads points, by suffix."""


def _split(path: str | Path, table: Float[ndarray, "n c"]) -> Columns:
    if table.shape[1] not in (3, 6) or len(table) == 0:
        raise SignalError(f"{path}: {table.shape[1]} columns; x y z, or x y z nx ny nz, are needed")
    return table[:, :3], table[:, 3:] if table.shape[1] == 6 else None, []


def _clean(name: str, points: ndarray, normals: ndarray | None) -> tuple[ndarray, ndarray | None, list[str]]:
    """Points that differ, unit normals or None, and what was dropped for that."""
    repairs = []
    if normals is not None:
        normals = np.asarray(normals, np.float64)
        if normals.shape != points.shape:
            raise SignalError(f"{name}: {len(normals)} normals of {len(points)} points; one each is needed")
        largest = np.abs(np.where(np.isfinite(normals), normals, 0)).max(initial=0)
        normals = normals / (largest or 1)
        lengths = np.linalg.norm(normals, axis=-1)
        good = np.isfinite(lengths) & (lengths > 1e-6)
        if not good.any():
            normals, repairs = None, ["repaired: all normals are zero or not finite; left them out"]
        elif (normals[good] >= 0).all():
            raise SignalError(
                f"{name}: nx ny nz are nowhere negative, so they are no normals of a body; are they colours? leave them"
                " out"
            )
        else:
            points, normals = points[good], normals[good] / lengths[good, None]
            if not good.all():
                repairs.append(f"repaired: dropped {(~good).sum():,} points whose normals are zero or not finite")
    _, first = np.unique(points, axis=0, return_index=True)
    if len(first) < len(points):
        repairs.append(f"repaired: dropped {len(points) - len(first):,} doubled points")
        first.sort()
        points, normals = points[first], None if normals is None else normals[first]
    return points, normals, repairs


def _estimate_normals(name: str, points: Float[ndarray, "n 3"]) -> tuple[Float[ndarray, "n 3"], list[str]]:
    """Normals [n, 3] of planes through neighbours, oriented alike (Hoppe et al. 1992, open3d), each body outwards.

    Returns:
        Them, and what was turned, for the user to read.
    """
    open3d = _open3d(f"{name}: without normals, which are estimated by open3d")
    # open3d's triangulation fails on points of a lattice or of one sphere; moved a little they are neither.
    jitter = np.random.default_rng(_SEED).uniform(-1e-6, 1e-6, points.shape)
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points + jitter))
    with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
        cloud.estimate_normals(open3d.geometry.KDTreeSearchParamKNN(min(PLANE_NEIGHBOURS, len(points))))
        try:
            cloud.orient_normals_consistent_tangent_plane(min(GRAPH_NEIGHBOURS, len(points) - 1))
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise SignalError(f"{name}: open3d cannot orient the points ({reason}); give normals") from error
    normals = np.array(cloud.normals)
    bodies = _bodies(points)
    # Each outwards by itself; then a cavity is what lies in an odd number of the others.
    for body in bodies:
        if _signed_volume(points[body], normals[body]) < 0:
            normals[body] *= -1
    cavities = 0
    outwards = normals.copy()
    for body in bodies:
        others = np.setdiff1d(np.concatenate(bodies), body)
        if len(others) and _winding(points[others], outwards[others], points[body][:64]).mean().round() % 2:
            normals[body] *= -1
            cavities += 1
    if len(bodies) == 1:
        return normals, []
    within = f" and those of {cavities} within another inwards" * bool(cavities)
    return normals, [f"the points are {len(bodies)} bodies; normals were turned outwards{within}"]


def _bodies(points: Float[ndarray, "n 3"]) -> list[Int[ndarray, " m"]]:
    """Indices of the points of each body, groups that neighbours connect; what is below a hundredth of all is none."""
    neighbours = cKDTree(points).query(points, k=min(GRAPH_NEIGHBOURS, len(points)))[1]
    pairs = (np.repeat(np.arange(len(points)), neighbours.shape[1]), neighbours.reshape(-1))
    group = connected_components(coo_matrix((np.ones(neighbours.size, bool), pairs), (len(points),) * 2), False)[1]
    sizes = np.bincount(group)
    return [
        np.flatnonzero(group == number) for number in np.flatnonzero(sizes >= max(len(points) / 100, FEWEST_POINTS))
    ]


def _open3d(why: str) -> Any:
    try:
        import open3d
    except (ImportError, OSError) as error:
        reason = " ".join(str(error).split())[:120]
        remedy = 'give points with normals as .ply, or pip install "winner-nerfstudio[points]"'
        raise SignalError(f"{why}, which cannot be imported ({reason}); {remedy}") from error
    return open3d


def _by_nearest(
    tree: cKDTree, normals: Float[ndarray, "n 3"], gap: float, points: Float[ndarray, "m 3"]
) -> tuple[Float[ndarray, " m"], Bool[ndarray, " m"], Float[ndarray, " m"]]:
    """How far oriented points are, whether `points` lie before the nearest, and how far the surface is, [m] each.

    What the nearest lies aside, seen along its normal, counts for nothing as far as gaps between points explain it.
    """
    reach, index = tree.query(points)
    height = ((points - tree.data[index]) * normals[index]).sum(-1)
    aside = np.minimum(reach**2 - height**2, gap**2).clip(min=0)
    return reach, height > 0, np.sqrt((reach**2 - aside).clip(min=0))


def _areas(points: Float[ndarray, "n 3"]) -> Float[ndarray, " n"]:
    """The area that each point of a surface stands for, from the distance of its neighbour number `NEIGHBOURS`, [n].

    Unbiased where points lie at random: the disc up to neighbour k has, in the mean, k points' area.
    """
    k = min(NEIGHBOURS, len(points) - 1)
    return np.pi * cKDTree(points).query(points, k=[k + 1])[0][:, 0] ** 2 / k


def _signed_volume(points: Float[ndarray, "n 3"], normals: Float[ndarray, "n 3"]) -> float:
    """What oriented points enclose, by the divergence theorem, negative if their normals point inwards."""
    points, normals = _some(points, normals, WINDING_POINTS)
    return float((_areas(points)[:, None] * normals * (points - points.mean(0))).sum() / 3)


def _winding(points: Float[ndarray, "n 3"], normals: Float[ndarray, "n 3"], queries: ndarray) -> Float[ndarray, " m"]:
    points, normals = _some(points, normals, WINDING_POINTS)
    return igl.fast_winding_number(points, normals, _areas(points), np.ascontiguousarray(queries))


def _some(points: ndarray, normals: ndarray, count: int) -> tuple[Float[ndarray, "m 3"], Float[ndarray, "m 3"]]:
    """No more than `count` points at random, the same every time, and their normals."""
    if len(points) <= count:
        return points, normals
    index = np.random.default_rng(_SEED).choice(len(points), count, replace=False)
    return points[index], normals[index]


def _squares(points: Float[ndarray, "n 3"], normals: Float[ndarray, "n 3"]) -> trimesh.Trimesh:
    """A square about each point across its normal, so wide that few gaps are left where points lie at random."""
    reach = 1.5 * np.sqrt(_areas(points))[:, None]
    axis = np.eye(3)[np.abs(normals).argmin(-1)]
    first = np.cross(normals, axis)
    first /= np.linalg.norm(first, axis=-1, keepdims=True)
    second = np.cross(normals, first)
    corners = np.stack([points + reach * corner for corner in (first, second, -first, -second)], axis=1)
    faces = 4 * np.arange(len(points))[:, None, None] + np.array([[0, 1, 2], [0, 2, 3]])
    return trimesh.Trimesh(corners.reshape(-1, 3), faces.reshape(-1, 3), process=False)


def _in_cube_of(cloud: PointCloud, reference: Shape) -> Shape:
    """The reference with the cloud's normalisation instead of its own.

    Raises:
        SignalError: it is of another size or elsewhere.
    """
    vertices = cloud.normalization.to_unit(reference.normalization.to_world(np.asarray(reference.mesh.vertices)))
    moved = replace(
        reference,
        mesh=trimesh.Trimesh(vertices, reference.mesh.faces, process=False),
        normalization=cloud.normalization,
    )
    if np.abs(vertices).max() > 1 or moved.diagonal < cloud.diagonal / 2:
        low, high = (cloud.normalization.to_world(corner) for corner in cloud.bounds)
        theirs = (reference.normalization.to_world(corner) for corner in reference.mesh.bounds)
        boxes = [" to ".join(str([float(f"{x:.4g}") for x in end]) for end in ends) for ends in ((low, high), theirs)]
        raise SignalError(
            f"{reference.name}: spans {boxes[1]}, the points {boxes[0]}; a reference in their coordinates is needed"
        )
    return moved


def _blocks(points: ndarray) -> list[ndarray]:
    points = np.ascontiguousarray(points, np.float64)
    return [points[i : i + QUERY_BLOCK] for i in range(0, max(len(points), 1), QUERY_BLOCK)]
