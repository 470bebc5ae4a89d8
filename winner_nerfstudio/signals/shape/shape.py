"""The target made of a mesh: its distance, signed where it has an inside, its samples and the way back to the world."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import get_args

import numpy as np
import trimesh
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ..errors import SignalError
from ..normalization import Normalization
from ..options import Mix, Sign
from ..records import ShapeRecord
from ..samples import SHAPES, sample
from ..sdf import CENTROID_GRID, MARGIN, NEAR, SignedDistance, annotate, build_grid, warn_of_rounding
from ..strays import check_vertices
from .colors import CornerColors, SurfaceColors
from .distance import EASY, HARDEST, PROBES, MeshQueries, Sides, probe_sides, share_sides
from .reading import read_mesh
from .repair import check_mesh, orient, remove_inner, weld
from .sampling import draw_samples, sample_triangles
from .topology import count_edge_uses, count_holes, label_bodies
from .visual import join_scene, read_visual

WORK = 1e8
"""Faces, times points close to them, that finding the parts of a surface inside the shape may look at: some 5 s."""
SHELL = 0.01
"""Distance at which a surface without an inside is shown and written, unit-cube lengths: half a shell's thickness."""

BLOCK = 4
"""Points along each axis of the blocks in which `Shape.near_grid` is computed; it divides `CENTROID_GRID`."""


@dataclass(frozen=True, eq=False)
class Shape(SignedDistance):
    """A mesh in the cube [-1, 1]^3 with its distance, negative inside if it has one, and the way back to the world.

    Build one with `load_shape` or `Shape.from_mesh`.

    Attributes:
        name: of the file or sample.
        mesh: the welded surface in unit-cube coordinates, faces wound outwards; what lies inside the shape is left out.
        normalization: the map from the input's coordinates to the cube's.
        holes: boundary loops of the welded surface; 0 means watertight.
        repairs: what was changed on the way in, for the user to read.
        mix: how training samples are distributed.
        signed: whether it has an inside; if not, distances are positive on both sides.
        solid: the mesh that winding numbers are taken from, if that is not `mesh`.
        colors: the colours of the input's faces, if there are any.
        source: index of the input's face on which each face of `mesh` lies.
    """

    name: str
    mesh: trimesh.Trimesh
    normalization: Normalization
    holes: int
    repairs: tuple[str, ...] = ()
    mix: Mix = field(default_factory=Mix)
    signed: bool = True
    solid: trimesh.Trimesh | None = None
    colors: SurfaceColors | None = None
    source: Int[ndarray, " f"] | None = None

    @classmethod
    def from_mesh(
        cls,
        mesh: trimesh.Trimesh,
        name: str = "mesh",
        mix: Mix | None = None,
        sign: Sign = "auto",
        colors: CornerColors | None = None,
    ) -> "Shape":
        """Check, normalise, weld and orient a mesh.

        Args:
            mesh: any triangle mesh, in its own units; it is not changed.
            name: what messages call it.
            mix: how training samples are distributed.
            sign: "watertight" takes watertight meshes only, "winding" closes holes by the generalised winding number,
                "unsigned" fits the distance from either side, as open surfaces need; "auto" takes the first of these
                that fits the mesh.
            colors: of its faces' corners, [f, 3].

        Raises:
            SignalError: no faces, vertices that are not finite, no area, a mesh that `sign` does not fit, or fractions
                of `mix` that are none.
        """
        mix = mix or Mix()
        mix.check()
        if sign not in get_args(Sign):
            raise SignalError(f"{name}: sign={sign!r} must be one of {', '.join(get_args(Sign))}")
        vertices, faces = check_mesh(name, mesh)
        strays = check_vertices(name, vertices)
        normalization = Normalization.to_cube(vertices.min(0), vertices.max(0), MARGIN)
        triangles = normalization.to_unit(vertices)[faces] if colors is not None else None
        unit, source, repairs = weld(name, normalization.to_unit(vertices), faces)
        repairs += [*strays, *warn_of_rounding(vertices)]
        if sign != "unsigned":
            repairs += orient(unit)
        shape = cls(name, unit, normalization, count_holes(unit), tuple(repairs), mix)
        if colors is not None and triangles is not None:
            shape = replace(shape, colors=SurfaceColors(triangles, colors), source=source)
        return shape._with_sign(sign)

    def _with_sign(self, sign: Sign) -> "Shape":
        """Return the shape signed or unsigned, as `sign` and the mesh have it.

        Raises:
            SignalError: the mesh is not as `sign` demands.
        """
        if sign == "watertight" and not self.closed:
            raise SignalError(
                f"{self.name}: {_count(self.holes, 'hole')}, so it is not watertight; close"
                f" {'them' if self.holes != 1 else 'it'}, or use --sign winding (winner-inspect shows more)"
            )
        if sign == "unsigned" or (sign == "auto" and not self._sides.is_body):
            return replace(self, signed=False)
        if not self._sides.has_inside:
            raise SignalError(
                f"{self.name}: the surface encloses no volume, so it has no inside; use --sign unsigned, or give a mesh"
                " that is watertight or has small holes (winner-inspect shows more)"
            )
        shape = self._without_inner() if self._sides.has_inner else self
        if not self._sides.is_reversed:
            return shape
        warning = "warning: some of the surface is inside out; what it encloses there counts as outside"
        return annotate(shape, repairs=(*shape.repairs, warning))

    def _without_inner(self) -> "Shape":
        """Return the shape without those parts of its surface that lie inside it."""
        most = int(WORK / max(self._queries.near_faces, 1))
        mesh, parents, fine = remove_inner(self.mesh, self.normals, self.winding_number, most)
        if len(mesh.faces) == 0:
            raise SignalError(f"{self.name}: all of the surface lies inside the shape; use --sign unsigned")
        coarse = ["warning: bodies cross in so many places that some of the surface inside the shape is left"] * (
            not fine
        )
        part = 1 - mesh.area / self.mesh.area
        if part < 1e-9:  # gaps narrower than a winding number can look into
            return annotate(self, repairs=(*self.repairs, *coarse))
        # A wall that ends on other faces turns by half what is close to it; without it the rest is watertight.
        even = count_edge_uses(self.mesh)[1] % 2 == 0
        outer = replace(
            self,
            mesh=mesh,
            solid=self.mesh if even.all() or not fine else mesh,
            source=None if self.source is None else self.source[parents],
            repairs=(
                *self.repairs,
                f"repaired: left out {part:.1%} of the surface, which lies inside the shape",
                *coarse,
            ),
        )
        if outer.solid is self.mesh:  # whose search tree there is already
            outer.__dict__["_solid"] = self._queries
        return outer

    def move_to(self, normalization: Normalization) -> "Shape":
        """Return the shape at the same place of the world in the cube of another normalisation."""

        def move(points: Float[ndarray, "*n 3"]) -> Float[ndarray, "*n 3"]:
            return normalization.to_unit(self.normalization.to_world(points))

        def move_mesh(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
            return trimesh.Trimesh(move(np.asarray(mesh.vertices)), mesh.faces, process=False)

        return replace(
            self,
            mesh=move_mesh(self.mesh),
            normalization=normalization,
            solid=None if self.solid is None else move_mesh(self.solid),
            colors=None if self.colors is None else replace(self.colors, triangles=move(self.colors.triangles)),
        )

    @property
    def record(self) -> ShapeRecord:
        """Return the level of the surface; a mesh is written from that, the field and its normalisation."""
        return ShapeRecord(level=None if self.signed else self.level)

    @property
    def level(self) -> float:
        """Return the distance whose surface stands for the shape, unit-cube lengths: 0, or half a shell's thickness."""
        return 0.0 if self.signed else SHELL

    @property
    def closed(self) -> bool:
        """Return whether the mesh is watertight, so that there is no doubt what is inside."""
        return self.holes == 0

    @property
    def bounds(self) -> Float[ndarray, "2 3"]:
        """Return the least and the greatest corner of the bounding box, unit cube."""
        return np.asarray(self.mesh.bounds)

    @property
    def normals(self) -> Float[ndarray, "f 3"]:
        """Return the outward unit normals of the faces, one for each index that `closest` returns."""
        return self._queries.normals

    @property
    def _whole(self) -> trimesh.Trimesh:
        """The surface with what was left out because it lies inside, if it bounds a solid with that."""
        return self.mesh if self.solid is None else self.solid

    def describe(self) -> list[str]:
        """Return what the user should know of the input, a line each: size, holes, how the sign is found, repairs."""
        if not self.signed:
            half = f"{SHELL / self.normalization.scale:.3g}"
            state = "watertight" if self.closed else _count(self.holes, "hole")
            policy = f"{state}; unsigned distance, so the result is a shell that reaches {half} to either side"
        elif self.closed:
            policy = "watertight; sign from the winding number"
        else:
            policy = (
                f"{_count(self.holes, 'hole')}; sign from the generalised winding number, which closes them smoothly"
            )
        size = f"{len(self._whole.vertices):,} vertices, {len(self._whole.faces):,} faces"
        return [f"{self.name}: {size}; {policy}", *([self.colors.describe()] if self.colors else []), *self.repairs]

    def facts(self) -> dict[str, str]:
        """Return what else there is to know of the surface, by name, for `winner-inspect`."""
        _, uses = count_edge_uses(self._whole)
        return {
            "pieces": f"{label_bodies(self._whole).max() + 1:,}",
            **self._box_facts(),
            "open edges": f"{(uses == 1).sum():,} in {_count(self.holes, 'loop')}",
            "edges of more than two faces": f"{(uses > 2).sum():,}",
            "winding": "alike" if self.mesh.is_winding_consistent else "not alike",
            "fitted as": "signed distance" if self.signed else "unsigned distance",
        }

    def winding_number(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, " n"]:
        """Return the generalised winding number (Barill et al. 2018): 1 inside and 0 outside a watertight surface."""
        return self._solid.winding_number(points)

    def inside(self, points: Float[ndarray, "n 3"]) -> Bool[ndarray, " n"]:
        """Return whether points (unit cube, [n, 3]) lie inside: a winding number above one half.

        If the shape is unsigned: whether they are less than `SHELL` away.
        """
        return self.winding_number(points) > 0.5 if self.signed else self.distance(points) < SHELL

    def distance(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, " n"]:
        """Return the unsigned distance to the surface in unit-cube lengths, exact, [n]."""
        distance: Float[ndarray, " n"] = np.sqrt(self.closest(points)[0])
        return distance

    def closest(
        self, points: Float[ndarray, "n 3"]
    ) -> tuple[Float[ndarray, " n"], Int[ndarray, " n"], Float[ndarray, "n 3"]]:
        """Return the squared distance to the surface, the nearest face's index and the nearest point, for [n, 3]."""
        return self._queries.find_closest(points)

    def signed_distance(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, " n"]:
        """Return the distance to the surface, negative inside, in unit-cube lengths, [n].

        It is positive everywhere if the shape is not `signed`. Memory grows with n alone.
        """
        distance = self.distance(points)
        if not self.signed:
            return distance
        inside = share_sides(points, distance, self.inside) if self._has_sides else self.inside(points)
        signed: Float[ndarray, " n"] = np.where(inside, -1.0, 1.0) * distance
        return signed

    @cached_property
    def near_grid(self) -> Float[ndarray, "x y z"]:
        """Return the signed distance clamped to `NEAR`, on a `CENTROID_GRID`^3 grid over [-1, 1]^3.

        In blocks whose middle is so far from the surface that all of it is clamped, only the side is found.
        """
        count = CENTROID_GRID // BLOCK
        grid = build_grid(CENTROID_GRID).reshape(count, BLOCK, count, BLOCK, count, BLOCK, 3)
        blocks = grid.transpose(0, 2, 4, 1, 3, 5, 6).reshape(count**3, BLOCK**3, 3)
        middles = blocks.mean(1)
        distance = self.signed_distance(middles)
        is_near = np.abs(distance) < NEAR + np.linalg.norm(blocks[0, 0] - middles[0])
        values = np.broadcast_to(np.sign(distance)[:, None] * NEAR, blocks.shape[:2]).copy()
        if self.signed and not self._has_sides:
            values = np.where(self.inside(blocks.reshape(-1, 3)), -NEAR, NEAR).reshape(values.shape)
        values[is_near] = self.signed_distance(blocks[is_near].reshape(-1, 3)).reshape(-1, BLOCK**3).clip(-NEAR, NEAR)
        return values.reshape(*[count] * 3, *[BLOCK] * 3).transpose(0, 3, 1, 4, 2, 5).reshape(*[CENTROID_GRID] * 3)

    def sample_surface(
        self, rng: np.random.Generator, count: int
    ) -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n 3"]]:
        """Return points spread uniformly by area, [n, 3], and their faces' unit normals, [n, 3]."""
        points, face = self._sample_faces(rng, count)
        return points, self.normals[face]

    @property
    def texel(self) -> float:
        """Return the typical distance between texels, or between coloured corners, unit-cube lengths."""
        return self._colored[0].texel

    @property
    def color_bits(self) -> int:
        """Return the bits of a channel of the colours."""
        return self._colored[0].corners.bits

    def sample_colors(
        self, rng: np.random.Generator, count: int, unseen: bool = False
    ) -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n 3"], Float[ndarray, "n 3"]]:
        """Return points spread uniformly by area, their faces' unit normals and their sRGB colours, [n, 3] each."""
        points, face = self._sample_faces(rng, count)
        colors, source = self._colored
        return points, self.normals[face], colors.at(points, source[face])

    def color_at(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, "n 3"]:
        """Return the sRGB colours in [0, 1] of the points of the surface that are nearest to points, for [n, 3]."""
        _, face, nearest = self.closest(points)
        colors, source = self._colored
        return colors.at(nearest, source[face])

    def walk(
        self, points: Float[ndarray, "n 3"], moves: Float[ndarray, "n 3"], normals: Float[ndarray, "n 3"]
    ) -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n 3"], Float[ndarray, "n 3"]]:
        """Return where small moves from points of the surface lead on it, unit normals and colours there.

        A move goes a little below the surface as well, so that it turns around edges instead of ending there.
        """
        below = np.linalg.norm(moves, axis=-1, keepdims=True) / 2 * normals
        _, face, nearest = self.closest(points + moves - below)
        colors, source = self._colored
        return nearest, self.normals[face], colors.at(nearest, source[face])

    @property
    def _colored(self) -> tuple[SurfaceColors, Int[ndarray, " f"]]:
        """Return the colours of the input's faces, and the index of the input's face for each face."""
        assert self.colors is not None, "only shapes with colours are asked for them"
        assert self.source is not None, "it is there if colours are"
        return self.colors, self.source

    def _sample_faces(self, rng: np.random.Generator, count: int) -> tuple[Float[ndarray, "n 3"], Int[ndarray, " n"]]:
        """Return points spread uniformly by area, [n, 3], and the indices of their faces, [n]."""
        queries = self._queries
        return sample_triangles(rng, count, queries.vertices, queries.faces, self._cumulative_area)

    def cast_rays(
        self, origins: Float[ndarray, "n 3"], directions: Float[ndarray, "n 3"]
    ) -> tuple[Float[ndarray, " n"], Bool[ndarray, " n"], Float[ndarray, "n 3"]]:
        """Return where rays first meet the surface: how far along, [n], whether at all, [n], and the normal, [n, 3].

        The first and the last are zero for rays that miss it.
        """
        return self._queries.cast_rays(origins, directions)

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, Float[ndarray, "n k"]]:
        """Return fresh training samples in random order, distributed as `mix` says, float32.

        Time and memory grow with `count`, not with the mesh.

        Returns:
            ``coords`` [n, 3]; ``values`` [n, 1], their signed distance; ``normals`` [n, 3], 0 off the surface.
        """
        return draw_samples(rng, count, self.mix, self.sample_surface, self.signed_distance)

    @cached_property
    def _sides(self) -> Sides:
        """Return what probing the surface from both sides says of its inside."""
        hardest = self._queries.near_faces
        if hardest > HARDEST:
            raise SignalError(
                f"{self.name}: has about {hardest:,.0f} long, thin faces; with more than {HARDEST:,} its inside takes"
                " too long to find: remesh it, or use --sign unsigned"
            )
        count = max(PROBES // 16, int(PROBES * min(1.0, EASY / hardest)))
        points, normals = self.sample_surface(np.random.default_rng(0), count)
        return probe_sides(self.mesh, self._queries, points, normals, self.winding_number)

    @cached_property
    def _has_sides(self) -> bool:
        """Return whether no way leads from inside to outside but through `mesh`."""
        return self.solid is None and bool(self.mesh.is_watertight and self.mesh.is_winding_consistent)

    @cached_property
    def _queries(self) -> MeshQueries:
        return MeshQueries(self.mesh)

    @cached_property
    def _solid(self) -> MeshQueries:
        """Return the queries to the mesh that winding numbers are taken from."""
        return self._queries if self.solid is None else MeshQueries(self.solid)

    @cached_property
    def _cumulative_area(self) -> Float[ndarray, " f"]:
        return np.cumsum(self.mesh.area_faces)


def load_shape(
    source: str | Path | trimesh.Trimesh | trimesh.Scene,
    mix: Mix | None = None,
    sign: Sign = "auto",
    colors: bool = False,
) -> Shape:
    """Load a shape from a mesh file (.obj .ply .stl .off .glb .gltf .3mf) or a built-in sample.

    Args:
        source: a path, a mesh, a scene of meshes, or ``sample:NAME`` with a name from `SHAPES`.
        mix: how training samples are distributed.
        sign: how inside and outside are told apart, see `Shape.from_mesh`.
        colors: whether to read the colours as well; those that are the same everywhere are left out.

    Raises:
        SignalError: a missing or unreadable file, or a mesh that is no usable surface.
    """
    notes: tuple[str, ...] = ()
    if isinstance(source, trimesh.Scene):
        name, (mesh, found) = "scene", join_scene(source)
    elif isinstance(source, trimesh.Trimesh):
        name, mesh, found = "mesh", source, read_visual(source) if colors else None
    elif str(source).startswith("sample:"):
        name, mesh, found = str(source), sample(SHAPES, str(source), "shape"), None
    else:
        name, (mesh, found, notes) = str(source), read_mesh(Path(source), colors)
    selected, told = _select(found if colors else None)
    shape = Shape.from_mesh(mesh, name, mix, sign, selected)
    return annotate(shape, repairs=(*notes, *told, *shape.repairs))


def _select(colors: CornerColors | None) -> tuple[CornerColors | None, tuple[str, ...]]:
    """Return colours that there is something to fit of, None if all of the surface has the same, and notes."""
    if colors is None:
        return None, ()
    kept, notes = colors.drop_wild()
    return None if kept.is_plain else kept, notes


def _count(count: int, noun: str) -> str:
    """Return the count with the noun in singular or plural."""
    return f"{count} {noun}{'s' * (count != 1)}"
