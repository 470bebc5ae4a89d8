"""What shapes given by a mesh and shapes given by points have in common as targets."""

import math
from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from .errors import SignalError
from .normalization import Normalization

if TYPE_CHECKING:
    from ..winner import Axis

MARGIN = 0.1
"""Fraction of each half axis of [-1, 1]^3 that stays free around a shape, so that its outside is seen on every side."""
NEAR = 0.1
"""Largest distance (unit-cube lengths) that says something of the surface: the loss for meshes clamps none below it."""
SIZES = (1e-100, 1e100)
"""The least and the greatest length of a shape's longest side, in the input's units."""
CENTROID_GRID = 64
"""Samples per axis of the distance grid that the spectral centroid is measured on."""
QUERY_BLOCK = 1 << 14
"""Points per query of a mesh: Python stands still until one ends, and with it the display of progress."""


S = TypeVar("S", bound="SignedDistance")


class SignedDistance(ABC):
    """A signed distance in the cube [-1, 1]^3, negative inside, as a target.

    Attributes:
        name: what messages call it.
        normalization: the map from the input's coordinates to the cube's.
    """

    kind: ClassVar[str] = "sdf"
    dim: ClassVar[int] = 3
    channels: ClassVar[int] = 1
    suffix: ClassVar[str] = ".ply"

    name: str
    normalization: Normalization

    @abstractmethod
    def signed_distance(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, " n"]:
        """Return the distance to the surface in unit-cube lengths, negative inside, [n]."""

    @property
    @abstractmethod
    def bounds(self) -> Float[ndarray, "2 3"]:
        """Return the least and the greatest corner of the bounding box, unit cube."""

    @property
    def diagonal(self) -> float:
        """Return the length of the bounding box's diagonal in unit-cube lengths; relative errors are divided by it."""
        lower, upper = self.bounds
        return float(np.linalg.norm(upper - lower))

    @cached_property
    def centroid(self) -> float:
        """Return the spectral centroid ``psi`` in [0, 1] of the distance."""
        from ..winner.method import spectral_centroid

        return spectral_centroid(self._distance_grid, dim=3)

    @cached_property
    def axes(self) -> "tuple[Axis, ...]":
        """Return centroid and samples along each axis, of the distance clamped to `NEAR`.

        The clamp leaves the detail of the surface and takes away how thick the body is.
        """
        from ..winner.matched import axes_of

        return axes_of(self.near_grid, dim=3)

    @cached_property
    def near_grid(self) -> Float[ndarray, "x y z"]:
        """Return the signed distance clamped to `NEAR`, on a `CENTROID_GRID`^3 grid over [-1, 1]^3."""
        return self._distance_grid.clip(-NEAR, NEAR)

    @cached_property
    def _distance_grid(self) -> Float[ndarray, "x y z"]:
        """Return the signed distance on a `CENTROID_GRID`^3 grid over [-1, 1]^3."""
        grid = build_grid(CENTROID_GRID)
        return self.signed_distance(grid.reshape(-1, 3)).reshape(grid.shape[:3])

    def _box_facts(self) -> dict[str, str]:
        """Return the size and the corners of the bounding box in the input's units, for `winner-inspect`."""
        lower, upper = self.bounds
        extents = (upper - lower) / self.normalization.scale
        digits = 5 - math.floor(math.log10(extents.max()))  # six of the size, however far from the origin it is
        corners = [
            tuple(round(float(c), digits) for c in self.normalization.to_world(corner)) for corner in self.bounds
        ]
        return {
            "size": " x ".join(f"{extent:.6g}" for extent in extents),
            "from, to": " ".join(map(str, corners)),
        }


def annotate(signal: S, **notes: Any) -> S:
    """Return a signal with other fields that say nothing of its surface, and with what it has computed of that."""
    changed = replace(signal, **notes)  # type: ignore[type-var]
    vars(changed).update({name: value for name, value in vars(signal).items() if name not in vars(changed)})
    return changed


def build_grid(count: int) -> Float[ndarray, "x y z 3"]:
    """Return the points of a grid over [-1, 1]^3 with so many along each axis, the borders included."""
    return np.stack(np.meshgrid(*[np.linspace(-1, 1, count)] * 3, indexing="ij"), -1)


def check_extent(name: str, coordinates: Float[ndarray, "n 3"]) -> None:
    """Check that finite coordinates can be mapped to the network's cube.

    Raises:
        SignalError: they span less or more than double precision can square.
    """
    half = coordinates.max(0) / 2 - coordinates.min(0) / 2
    extent = 2 * float(half.max()) if half.max() < SIZES[1] else float("inf")
    if not SIZES[0] <= extent <= SIZES[1]:
        raise SignalError(
            f"{name}: the longest side is {extent:.3g}; give coordinates that span between {SIZES[0]:g} and"
            f" {SIZES[1]:g}"
        )


def warn_of_rounding(points: Float[ndarray, "n 3"]) -> list[str]:
    """Return a warning if single precision, far from the origin, has left little of the shape; else an empty list.

    Args:
        points: of the surface, in the file's units.
    """
    with np.errstate(over="ignore"):
        is_single = (points == points.astype(np.float32)).all()
    if not is_single:
        return []
    size = np.ptp(points, axis=0).max()
    steps = size / np.spacing(np.float32(np.abs(points).max()))
    if steps > 1e4:
        return []
    return [
        f"warning: so far from the origin the file's single precision has only {steps:,.0f} steps across the shape;"
        " move it to the origin before it is written, or write its coordinates with more digits"
    ]


def in_blocks(points: Float[ndarray, "n 3"], size: int = QUERY_BLOCK) -> list[Float[ndarray, "m 3"]]:
    """Return the points as float64 arrays of at most `size` rows each."""
    points = np.ascontiguousarray(points, np.float64)
    return [points[i : i + size] for i in range(0, max(len(points), 1), size)]


def join_samples(
    rng: np.random.Generator,
    on: tuple[Float[ndarray, "m 3"], Float[ndarray, "m 3"]],
    off: tuple[Float[ndarray, "k 3"], Float[ndarray, " k"]],
    **others: ndarray,
) -> dict[str, Float[ndarray, "n c"]]:
    """Return training samples in random order: ``coords`` [n, 3], ``values`` [n, 1] and ``normals`` [n, 3], float32.

    Args:
        rng: source of the randomness.
        on: points of the surface, and the unit normals there.
        off: other points, whose normals are 0, and the signed distances there.
        others: further arrays [n, c], of the samples on the surface first; returned under the same names.
    """
    (surface, normals), (points, distances) = on, off
    samples = {
        "coords": np.concatenate([surface, points]),
        "values": np.concatenate([np.zeros(len(surface)), distances])[:, None],
        "normals": np.concatenate([normals, np.zeros_like(points)]),
        **others,
    }
    order = rng.permutation(len(samples["coords"]))
    return {name: rows[order].astype(np.float32) for name, rows in samples.items()}
