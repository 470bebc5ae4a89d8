"""A surface as a target: its distance, signed where it has an inside, its samples and its way back."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

import igl
import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from .errors import SignalError
from .normalization import Normalization
from .records import ShapeRecord
from .samples import SHAPES, sample

if TYPE_CHECKING:
    from ..winner import Axis

MARGIN = 0.1
"""Part of each half axis of [-1, 1]^3 that stays free around a shape, so that its outside is seen on every side."""
NEAR = 0.1
"""Distances that tell of the surface (unit-cube lengths): those that the loss for meshes compares without a clamp."""
WELD_TOLERANCE = 1e-7
"""Vertices closer than this (unit cube) are one: above float32's rounding of a file's decimals, below any detail."""
CENTROID_GRID = 64
"""Samples per axis of the distance grid that the spectral centroid is measured on."""
SHELL = 0.01
"""Distance at which a surface without an inside is shown and written, unit-cube lengths: half a shell's thickness."""
SIDE = 1e-4
"""How far off a face it is asked whether that is inside, unit-cube lengths."""
FINEST_CUT = 0.005
"""Length, unit cube, down to which faces are cut that lie inside the shape in part."""
PROBES = 1 << 12
"""Places of a surface at which it is asked what it bounds."""
QUERY_BLOCK = 1 << 18
"""Points per distance query: what bounds the memory of a query, about 50 MB."""


Sign = Literal["auto", "watertight", "winding", "unsigned"]
"""How inside and outside are told apart: see `Shape.from_mesh`."""


@dataclass(frozen=True)
class Mix:
    """Where training points come from, as fractions of a batch; what is left lies uniformly in [-1, 1]^3.

    Attributes:
        surface: on the surface, uniformly by area.
        near: off the surface by Gaussian offsets.
        sigmas: their standard deviations, unit-cube lengths; as many points for each.
    """

    surface: float = 0.3
    near: float = 0.5
    sigmas: tuple[float, ...] = (0.02, 0.004)

    def __post_init__(self) -> None:
        if not (self.surface >= 0 and self.near >= 0 and self.surface + self.near <= 1):
            raise ValueError(
                f"surface={self.surface} and near={self.near} must be fractions of a batch: not negative, sum at most 1"
            )
        if not self.sigmas or not all(0 < sigma < float("inf") for sigma in self.sigmas):
            raise ValueError(f"sigmas={self.sigmas} must be positive lengths of the unit cube, at least one")


@dataclass(frozen=True)
class _Probed:
    """What a surface is.

    Attributes:
        has_inside: whether any of it has an inside.
        is_body: whether it bounds a body for the most part: then its sides' winding numbers are 0 and 1, which in the
            middle of a flat sheet are -1/2 and 1/2.
        has_inner: whether some of it has the inside on both sides.
    """

    has_inside: bool
    is_body: bool
    has_inner: bool


class DistanceSpectrum:
    """How fine a signed distance is, told on a `CENTROID_GRID`^3 grid over [-1, 1]^3; stands among the base classes."""

    def signed_distance(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, " n"]:
        """Distance to the surface, unit-cube lengths, [n]."""
        raise NotImplementedError

    @cached_property
    def _on_grid(self) -> Float[ndarray, "x y z"]:
        axis = np.linspace(-1, 1, CENTROID_GRID)
        grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1)
        return self.signed_distance(grid.reshape(-1, 3)).reshape(grid.shape[:3])

    @cached_property
    def centroid(self) -> float:
        """Spectral centroid ``psi`` in [0, 1]."""
        from ..winner.method import spectral_centroid

        return spectral_centroid(self._on_grid, dim=3)

    @cached_property
    def axes(self) -> "tuple[Axis, ...]":
        """Centroid and samples along each axis, of the distance up to `NEAR`: how fine the surface is, not the body."""
        from ..winner.matched import axes_of

        return axes_of(self._on_grid.clip(-NEAR, NEAR), dim=3)


@dataclass(frozen=True, eq=False)
class Shape(DistanceSpectrum):
    """A surface in the cube [-1, 1]^3 with a distance (negative inside, if it has one) and a way back to the world.

    Build one with `load_shape` or `Shape.from_mesh`.

    Attributes:
        name: of the file or sample.
        mesh: the welded surface in unit-cube coordinates, faces wound outwards; what lies inside the shape is left out.
        normalization: the way from the input's coordinates to the cube's.
        holes: boundary loops of the welded surface; 0 means closed.
        repairs: what was changed on the way in, for the user to read.
        mix: where training samples are drawn.
        signed: whether it has an inside; distances are positive on both sides if it has not.
        solid: what winding numbers are taken from, if that is not `mesh`.
    """

    kind: ClassVar[str] = "sdf"
    dim: ClassVar[int] = 3
    channels: ClassVar[int] = 1
    suffix: ClassVar[str] = ".ply"

    name: str
    mesh: trimesh.Trimesh
    normalization: Normalization
    holes: int
    repairs: tuple[str, ...] = ()
    mix: Mix = field(default_factory=Mix)
    signed: bool = True
    solid: trimesh.Trimesh | None = None

    @classmethod
    def from_mesh(
        cls, mesh: trimesh.Trimesh, name: str = "mesh", mix: Mix | None = None, sign: Sign = "auto"
    ) -> "Shape":
        """Check, normalise, weld and orient a mesh.

        Args:
            mesh: any triangle mesh, in its own units; it is not changed.
            name: what messages call it.
            mix: where training samples are drawn.
            sign: "watertight" takes closed surfaces only, "winding" closes holes by the generalised winding number,
                "unsigned" fits the distance from either side, as open surfaces want it; "auto" takes the first of
                these that will do.

        Raises:
            SignalError: no faces, vertices that are not finite, no area, or a sign that cannot be told as asked for.
        """
        if sign not in get_args(Sign):
            raise SignalError(f"{name}: sign={sign!r} must be one of {', '.join(get_args(Sign))}")
        vertices, faces = np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64)
        if len(faces) == 0:
            raise SignalError(f"{name}: the mesh has no faces; a surface made of triangles is needed")
        vertices, faces = _drop_unreferenced(vertices, faces)
        broken = int((~np.isfinite(vertices)).any(-1).sum())
        if broken:
            raise SignalError(
                f"{name}: {broken} of {len(vertices)} vertices are NaN or infinite; every coordinate must be finite"
            )
        if not np.ptp(vertices, axis=0).max() > 0:
            raise SignalError(f"{name}: all vertices lie in one point; a mesh with an area is needed")
        normalization = Normalization.to_cube(vertices.min(0), vertices.max(0), MARGIN)
        unit, repairs = _weld(normalization.to_unit(vertices), faces)
        if len(unit.faces) == 0 or not unit.area > 1e-12:
            raise SignalError(f"{name}: the mesh has no area; its triangles are all lines or points")
        repairs += _single_precision(vertices)
        if sign != "unsigned":
            repairs += _orient(unit)
        shape = cls(name, unit, normalization, count_holes(unit), tuple(repairs), mix or Mix())
        if sign == "watertight" and not shape.closed:
            raise SignalError(
                f"{name}: {shape.holes} hole{'s' * (shape.holes != 1)}, so it is not watertight; close"
                f" {'them' if shape.holes != 1 else 'it'}, or use --sign winding (winner-inspect tells more)"
            )
        if sign == "unsigned" or (sign == "auto" and not shape._probed.is_body):
            return replace(shape, signed=False)
        if not shape._probed.has_inside:
            raise SignalError(
                f"{name}: the surface encloses no volume, so it has no inside; use --sign unsigned, or a closed mesh or"
                " one with small holes (winner-inspect tells more)"
            )
        return shape._without_what_is_inside()

    @property
    def record(self) -> ShapeRecord:
        """The level of the surface; a mesh is written from that, the field and its normalisation."""
        return ShapeRecord(level=None if self.signed else self.level)

    @property
    def level(self) -> float:
        """The distance whose surface stands for the shape, unit-cube lengths: 0, or half a shell's thickness."""
        return 0.0 if self.signed else SHELL

    @property
    def closed(self) -> bool:
        """Whether every edge is shared, so that inside and outside are told apart without doubt."""
        return self.holes == 0

    @property
    def bounds(self) -> Float[ndarray, "2 3"]:
        """Least and greatest corner of the bounding box, unit cube."""
        return np.asarray(self.mesh.bounds)

    @property
    def normals(self) -> Float[ndarray, "f 3"]:
        """Outward unit normals, one for each index that `closest` gives."""
        return self.face_normals

    @property
    def diagonal(self) -> float:
        """Length of the bounding box's diagonal in unit-cube lengths: what relative errors are relative to."""
        return float(np.linalg.norm(self.mesh.extents))

    def describe(self) -> list[str]:
        """What the user should know of the input, a line each: size, holes, sign policy, repairs."""
        holes = f"{self.holes} hole{'s' * (self.holes != 1)}"
        if not self.signed:
            half = f"{SHELL / self.normalization.scale:.3g}"
            policy = (
                f"{holes if self.holes else 'nothing inside'}; distance without sign, from either side: what comes out"
                f" is a shell, {half} to either side"
            )
        elif self.closed:
            policy = "closed surface; sign from the winding number"
        else:
            policy = f"{holes}; sign from the generalised winding number, which closes them smoothly"
        size = f"{len(self.mesh.vertices):,} vertices, {len(self.mesh.faces):,} faces"
        return [f"{self.name}: {size}; {policy}", *self.repairs]

    def facts(self) -> dict[str, str]:
        """What there is to know of the surface besides, for `winner-inspect`."""
        _, uses = _uses_of_edges(self.mesh if self.solid is None else self.solid)
        label = trimesh.graph.connected_component_labels(self.mesh.face_adjacency, node_count=len(self._faces))
        extents = self.mesh.extents / self.normalization.scale
        lower, upper = (self.normalization.to_world(corner) for corner in self.mesh.bounds)
        return {
            "pieces": f"{label.max() + 1:,}",
            "size": " x ".join(f"{extent:.6g}" for extent in extents),
            "from, to": " ".join(str(tuple(float(f"{c:.6g}") for c in corner)) for corner in (lower, upper)),
            "open edges": f"{(uses == 1).sum():,} in {self.holes} loop{'s' * (self.holes != 1)}",
            "edges of more than two faces": f"{(uses > 2).sum():,}",
            "winding": "alike" if self.mesh.is_winding_consistent else "not alike",
            "fitted as": "signed distance" if self.signed else "distance without sign",
        }

    def winding_number(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, " n"]:
        """Generalised winding number (Barill et al. 2018, libigl): 1 inside and 0 outside a closed surface."""
        return _blocked(lambda q: igl.fast_winding_number(*self._solid, q), points)

    def inside(self, points: Float[ndarray, "n 3"]) -> Bool[ndarray, " n"]:
        """Whether points (unit cube, [n, 3]) lie inside: a winding number above one half, or less than `SHELL` away."""
        return self.winding_number(points) > 0.5 if self.signed else self.distance(points) < SHELL

    def distance(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, " n"]:
        """Unsigned distance to the surface in unit-cube lengths, exact, [n]."""
        return np.sqrt(self.closest(points)[0])

    def closest(
        self, points: Float[ndarray, "n 3"]
    ) -> tuple[Float[ndarray, " n"], Int[ndarray, " n"], Float[ndarray, "n 3"]]:
        """Squared distance to the surface, the nearest face's index and the nearest point, for points [n, 3]."""
        blocks = [self._tree.squared_distance(self._vertices, self._faces, q) for q in _blocks(points)]
        squared, face, nearest = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        return squared, face, nearest

    def signed_distance(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, " n"]:
        """Distance to the surface, negative inside, in unit-cube lengths, [n]. Memory grows with n alone.

        Positive everywhere if the shape isn't `signed`.
        """
        if not self.signed:
            return self.distance(points)
        return np.where(self.inside(points), -1.0, 1.0) * self.distance(points)

    def sample_surface(
        self, rng: np.random.Generator, count: int
    ) -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n 3"]]:
        """Points spread uniformly by area, [n, 3], and their faces' unit normals, [n, 3]."""
        face = np.searchsorted(self._cumulative_area, rng.random(count) * self._cumulative_area[-1], side="right")
        face = np.minimum(face, len(self._faces) - 1)
        corners = self._vertices[self._faces[face]]
        u, v = rng.random((2, count, 1))
        flip = u + v > 1
        u, v = np.where(flip, 1 - u, u), np.where(flip, 1 - v, v)
        edge_1, edge_2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        return corners[:, 0] + u * edge_1 + v * edge_2, self.face_normals[face]

    def cast_rays(
        self, origins: Float[ndarray, "n 3"], directions: Float[ndarray, "n 3"]
    ) -> tuple[Float[ndarray, " n"], Bool[ndarray, " n"], Float[ndarray, "n 3"]]:
        """Where rays first meet the surface: how far along, [n], whether at all, [n], and the unit normal, [n, 3].

        The first and the last are zero for rays that miss it.
        """
        face, along, _ = self._tree.intersect_ray_first(
            self._vertices, self._faces, np.asarray(origins, np.float64), np.asarray(directions, np.float64)
        )
        hit = face >= 0
        normals = np.zeros_like(origins, dtype=np.float64)
        normals[hit] = self.face_normals[face[hit]]
        return np.where(hit, along, 0.0), hit, normals

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, Float[ndarray, "n k"]]:
        """Fresh training samples in random order: ``coords`` [n, 3] and their signed distance ``values`` [n, 1].

        And ``normals`` [n, 3] of those on the surface, 0 for others.

        Time and memory grow with `count`, not with the mesh. Float32.
        """
        on, near = round(count * self.mix.surface), round(count * self.mix.near)
        surface, normals = self.sample_surface(rng, on + near)
        sigma = np.resize(self.mix.sigmas, near)[:, None]
        offset = surface[on:] + rng.standard_normal((near, 3)) * sigma
        volume = rng.uniform(-1, 1, (count - on - near, 3))
        off_surface = np.concatenate([np.clip(offset, -1, 1), volume])
        coords = np.concatenate([surface[:on], off_surface])
        values = np.concatenate([np.zeros(on), self.signed_distance(off_surface)])
        normals = np.concatenate([normals[:on], np.zeros_like(off_surface)])
        order = rng.permutation(count)
        samples = {"coords": coords, "values": values[:, None], "normals": normals}
        return {name: rows[order].astype(np.float32) for name, rows in samples.items()}

    @cached_property
    def _probed(self) -> "_Probed":
        """What the winding number on both sides of the surface says of it."""
        points, normals = self.sample_surface(np.random.default_rng(0), PROBES)
        # And one place of each body, lest a small one be missed.
        body = trimesh.graph.connected_component_labels(self.mesh.face_adjacency, node_count=len(self._faces))
        some = np.unique(body, return_index=True)[1][:PROBES]
        places = np.concatenate([points, self.mesh.triangles_center[some]])
        normals = np.concatenate([normals, self.face_normals[some]])
        # Close by, which finds thin walls, and less close, where a sheet has less than one half; one query, for each
        # builds its tree anew.
        offsets = (-1e-3, -1e-5, 1e-5, -SIDE, SIDE)
        winding = self.winding_number(np.concatenate([places + offset * normals for offset in offsets]))
        deep, below, above, behind, ahead = winding.reshape(len(offsets), -1)
        return _Probed(
            has_inside=bool((np.maximum(deep, below) > 0.6).any()),
            is_body=bool((below + above)[:PROBES].mean() / 2 > 0.25),
            has_inner=bool((np.minimum(behind, ahead) > 0.5).any()),
        )

    def _without_what_is_inside(self) -> "Shape":
        """Itself, or without those parts of the surface that have the inside on both sides, which bound nothing.

        Inner shells wound outwards, partitions, and where bodies overlap. Faces that lie inside in part are cut.
        """
        if not self._probed.has_inner:
            return self
        corners, normals, kept = self.mesh.triangles, self.face_normals, []
        while len(corners):
            # Nine places of each face, well within it.
            places = np.einsum("pc,fcx->fpx", _WITHIN, corners)
            ahead, behind = (places + side * SIDE * normals[:, None] for side in (1, -1))
            winding = self.winding_number(np.concatenate([ahead.reshape(-1, 3), behind.reshape(-1, 3)]))
            inner = (winding > 0.5).reshape(2, len(corners), -1).all(0)
            longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1).max(-1)
            cut = inner.any(-1) & ~inner.all(-1) & (longest > FINEST_CUT)
            kept.append(corners[~cut & (inner.mean(-1) < 0.5)])
            # Each into four, at the middles of its edges.
            middle = (corners[cut] + np.roll(corners[cut], -1, axis=1)) / 2
            parts = [np.stack([corners[cut][:, i], middle[:, i], middle[:, i - 1]], axis=1) for i in range(3)]
            corners, normals = np.concatenate([*parts, middle]), np.tile(normals[cut], (4, 1))
        skin = np.concatenate(kept)
        mesh = trimesh.Trimesh(skin.reshape(-1, 3), np.arange(3 * len(skin)).reshape(-1, 3), process=False)
        part = 1 - mesh.area / self.mesh.area
        # A wall that ends on other faces turns by half what is close to it; without it the rest is closed.
        even = _uses_of_edges(self.mesh)[1] % 2 == 0
        return replace(
            self,
            mesh=mesh,
            solid=self.mesh if even.all() else mesh,
            repairs=(*self.repairs, f"repaired: left out {part:.1%} of the surface, which lies inside the shape"),
        )

    @cached_property
    def _solid(self) -> tuple[Float[ndarray, "v 3"], Int[ndarray, "f 3"]]:
        solid = self.mesh if self.solid is None else self.solid
        return np.ascontiguousarray(solid.vertices, np.float64), np.ascontiguousarray(solid.faces, np.int64)

    @cached_property
    def _vertices(self) -> Float[ndarray, "v 3"]:
        return np.ascontiguousarray(self.mesh.vertices, np.float64)

    @cached_property
    def _faces(self) -> Int[ndarray, "f 3"]:
        return np.ascontiguousarray(self.mesh.faces, np.int64)

    @cached_property
    def face_normals(self) -> Float[ndarray, "f 3"]:
        """Unit normals of the faces, outwards, [f, 3]."""
        corners = self._vertices[self._faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        return normals / np.linalg.norm(normals, axis=-1, keepdims=True).clip(1e-300)

    @cached_property
    def _cumulative_area(self) -> Float[ndarray, " f"]:
        return np.cumsum(self.mesh.area_faces)

    @cached_property
    def _tree(self) -> igl.AABB:
        tree = igl.AABB()
        tree.init(self._vertices, self._faces)
        return tree


# Weights of a face's corners: its centre, near its corners, and near the middles of its edges.
_WITHIN = np.concatenate([[[1, 1, 1]], 1 + 24 * np.eye(3), 1 + 12 * (1 - np.eye(3)), 1 + 3 * (1 - np.eye(3))])
_WITHIN /= _WITHIN.sum(-1, keepdims=True)


def load_shape(source: str | Path | trimesh.Trimesh, mix: Mix | None = None, sign: Sign = "auto") -> Shape:
    """A shape from a mesh file (.obj .ply .stl .off .glb and whatever else trimesh reads) or a built-in sample.

    Args:
        source: a path, a mesh, or ``sample:NAME`` with a name from `SHAPES`.
        mix: where training samples are drawn.
        sign: how inside and outside are told apart, see `Shape.from_mesh`.

    Raises:
        SignalError: a missing or unreadable file, or a mesh that is no usable surface.
    """
    if isinstance(source, trimesh.Trimesh):
        return Shape.from_mesh(source, "mesh", mix, sign)
    if str(source).startswith("sample:"):
        return Shape.from_mesh(sample(SHAPES, str(source), "shape"), str(source), mix, sign)
    return Shape.from_mesh(_read_mesh(Path(source)), str(source), mix, sign)


def count_holes(mesh: trimesh.Trimesh) -> int:
    """Connected groups of edges that belong to one face only: the holes of a welded surface."""
    unique, uses = _uses_of_edges(mesh)
    boundary = unique[uses == 1]
    if len(boundary) == 0:
        return 0
    ids, compact = np.unique(boundary, return_inverse=True)
    return int(_groups(compact.reshape(-1, 2), len(ids)).max()) + 1


def _uses_of_edges(mesh: trimesh.Trimesh) -> tuple[Int[ndarray, "e 2"], Int[ndarray, " e"]]:
    """Each edge, its lower vertex first, and how many faces it belongs to."""
    low, high = np.sort(mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=-1).T
    count = len(mesh.vertices)
    keys, uses = np.unique(low * count + high, return_counts=True)
    return np.stack(np.divmod(keys, count), -1), uses


def _groups(pairs: ndarray, count: int) -> ndarray:
    """For each of `count` things the number, from 0, of the group that `pairs` [n, 2] connect it to, [count]."""
    graph = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def _read_mesh(path: Path) -> trimesh.Trimesh:
    if not path.is_file():
        what = "is a folder, not a mesh file" if path.is_dir() else "no such file"
        raise SignalError(f"{path}: {what}; give a mesh file, or sample:NAME with one of {', '.join(sorted(SHAPES))}")
    readable = trimesh.available_formats()
    if path.suffix.lower().lstrip(".") not in readable:
        raise SignalError(f"{path}: not a mesh format that can be read; use .obj, .ply, .stl, .off or .glb")
    try:
        scene = trimesh.load_scene(path, process=False)
        surfaces = [part for part in scene.dump() if isinstance(part, trimesh.Trimesh)]
    except Exception as error:  # readers fail in their own many ways
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SignalError(f"{path}: cannot be read as a {path.suffix} mesh ({reason}); is the file whole?") from error
    if not surfaces:
        raise SignalError(f"{path}: holds no triangles; a surface made of triangles is needed")
    merged = trimesh.util.concatenate([trimesh.Trimesh(part.vertices, part.faces, process=False) for part in surfaces])
    assert isinstance(merged, trimesh.Trimesh)
    return merged


def _drop_unreferenced(vertices: ndarray, faces: ndarray) -> tuple[ndarray, ndarray]:
    used, compact = np.unique(faces, return_inverse=True)
    return vertices[used], compact.reshape(faces.shape)


def _weld(vertices: ndarray, faces: ndarray) -> tuple[trimesh.Trimesh, list[str]]:
    """Merge vertices by position, then drop faces that became lines or stand there twice, wound alike.

    Slivers with three corners stay, for without them the surface would have slits; so do two faces back to back, which
    cancel each other in the winding number.
    """
    # Equal ones first, so that few pairs are left to the tree.
    _, keep, merged = np.unique(vertices, axis=0, return_index=True, return_inverse=True)
    pairs = cKDTree(vertices[keep]).query_pairs(WELD_TOLERANCE, output_type="ndarray")
    if len(pairs):
        group = _groups(pairs, len(keep))
        _, first_of_group = np.unique(group, return_index=True)
        keep, merged = keep[first_of_group], group[merged.reshape(-1)]
    welded = merged.reshape(-1)[faces]
    welded = welded[(welded != np.roll(welded, 1, axis=-1)).all(-1)]
    # Each face turned so that its least corner leads: alike if and only if wound alike.
    turned = np.take_along_axis(welded, (welded.argmin(-1)[:, None] + np.arange(3)) % 3, axis=-1)
    _, first = np.unique(turned, axis=0, return_index=True)
    mesh = trimesh.Trimesh(vertices[keep], welded[np.sort(first)], process=False)
    mesh.remove_unreferenced_vertices()
    return mesh, [
        f"repaired: {what}"
        for count, what in [
            (len(vertices) - len(keep), f"welded {len(vertices) - len(keep):,} doubled vertices"),
            (len(faces) - len(first), f"dropped {len(faces) - len(first):,} empty or doubled faces"),
        ]
        if count
    ]


def _single_precision(vertices: ndarray) -> list[str]:
    """A warning if the file's numbers are so far from the origin that single precision has left little of the shape."""
    if not (vertices == vertices.astype(np.float32)).all():
        return []
    size = np.ptp(vertices, axis=0).max()
    steps = size / np.spacing(np.float32(np.abs(vertices).max()))
    if steps > 1e4:
        return []
    return [
        f"warning: so far from the origin the file's single precision has only {steps:,.0f} steps across the shape;"
        " move the mesh to the origin before it is written, or write .obj"
    ]


def _orient(mesh: trimesh.Trimesh) -> list[str]:
    """Wind the faces alike and outwards, in place, where they are not."""
    repairs = []
    if not mesh.is_winding_consistent:
        trimesh.repair.fix_winding(mesh)
        repairs.append("repaired: faces were wound both ways; wound them alike")
        if not mesh.is_winding_consistent:
            repairs.append("warning: the faces cannot all be wound alike; the sign may be wrong in places")
    if _signed_volumes(mesh).sum() < 0:
        mesh.invert()
        repairs.append("repaired: the faces looked inwards; turned them outwards")
    turned = _turn_bodies(mesh)
    if turned:
        repairs.append(f"repaired: {turned} of the bodies looked inwards and lay in no other; turned them outwards")
    return repairs


def _turn_bodies(mesh: trimesh.Trimesh) -> int:
    """Turn the closed bodies that look inwards without being a cavity of another, in place; returns how many."""
    body = trimesh.graph.connected_component_labels(mesh.face_adjacency, node_count=len(mesh.faces))
    volume = np.bincount(body, _signed_volumes(mesh))
    shared = np.bincount(body[mesh.face_adjacency[:, 0]], minlength=len(volume))
    inwards = (volume < 0) & (2 * shared == 3 * np.bincount(body))
    if not inwards.any():
        return 0
    outwards = mesh.faces[(volume > 0)[body]]
    vertices = np.ascontiguousarray(mesh.vertices, np.float64)
    some_face = np.unique(body, return_index=True)[1][inwards]
    corner = vertices[mesh.faces[some_face, 0]]
    inside = igl.fast_winding_number(vertices, np.ascontiguousarray(outwards, np.int64), corner) > 0.5
    stray = np.isin(body, np.flatnonzero(inwards)[~inside])
    mesh.faces = np.where(stray[:, None], mesh.faces[:, ::-1], mesh.faces)
    return int((~inside).sum())


def _signed_volumes(mesh: trimesh.Trimesh) -> ndarray:
    """Six times the signed volume of the tetrahedron from the origin to each face, [f]."""
    first, second, third = mesh.triangles.transpose(1, 0, 2)
    return (first * np.cross(second, third)).sum(-1)


def _blocks(points: ndarray) -> list[ndarray]:
    points = np.ascontiguousarray(points, np.float64)
    return [points[i : i + QUERY_BLOCK] for i in range(0, max(len(points), 1), QUERY_BLOCK)]


def _blocked(function: Callable[[ndarray], ndarray], points: ndarray) -> ndarray:
    return np.concatenate([function(block) for block in _blocks(points)])
