"""The target of a surface's colours: points on it, just off it, and how fine the colours are there."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from numpy import ndarray

from ..normalization import Normalization
from ..records import ColorRecord

if TYPE_CHECKING:
    from jaxtyping import Float

    from ...winner import Axis

OFFSET = 0.002
"""Standard deviation of the points' distance from the surface, unit-cube lengths: a fitted surface is about as close to
the target's, and colours are asked for there."""
WALKS, STEPS = 192, 256
"""Walks over the surface on which colours are measured, and samples of each."""
UNSEEN = 1 << 40
"""Stream of the random points at which metrics are computed, which no training draws."""


class Colored(Protocol):
    """A surface with colours, in the cube [-1, 1]^3."""

    @property
    def name(self) -> str:
        """Return what messages call it."""
        ...

    @property
    def normalization(self) -> Normalization:
        """Return the map from the input's coordinates to the cube's."""
        ...

    @property
    def texel(self) -> float:
        """Return the typical distance between samples of the colours, unit-cube lengths."""
        ...

    @property
    def color_bits(self) -> int:
        """Return the bits of a channel of its colours."""
        ...

    def sample_surface(
        self, rng: np.random.Generator, count: int
    ) -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n 3"]]:
        """Return points of the surface, and unit normals."""
        ...

    def sample_colors(
        self, rng: np.random.Generator, count: int, unseen: bool = False
    ) -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n 3"], Float[ndarray, "n 3"]]:
        """Return points of the surface, unit normals and sRGB colours in [0, 1].

        Where the surface is given by points, those of `unseen` are never among the others.
        """
        ...

    def walk(
        self, points: Float[ndarray, "n 3"], moves: Float[ndarray, "n 3"], normals: Float[ndarray, "n 3"]
    ) -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n 3"], Float[ndarray, "n 3"]]:
        """Return where small moves from points of the surface lead on it, unit normals and colours there."""
        ...


class Painting:
    """The colours of a surface as a signal of three channels: sRGB values, from [0, 1] to [-1, 1].

    Args:
        surface: a shape or points with colours.
    """

    kind: ClassVar[str] = "color"
    dim: ClassVar[int] = 3
    channels: ClassVar[int] = 3
    suffix: ClassVar[str] = ".ply"

    def __init__(self, surface: Colored) -> None:
        self.surface = surface

    @property
    def name(self) -> str:
        """Return what messages call the surface."""
        return self.surface.name

    @property
    def normalization(self) -> Normalization:
        """Return the map from the input's coordinates to the cube's, that of the surface."""
        return self.surface.normalization

    @property
    def record(self) -> ColorRecord:
        """Return the bits of the colours, and what tells them from others."""
        points, _, colors = self.surface.sample_colors(np.random.default_rng(0), 1000)
        digest = hashlib.sha256(np.round(np.concatenate([points, colors]), 5).astype("<f4").tobytes())
        return ColorRecord(bits=self.surface.color_bits, digest=digest.hexdigest()[:16])

    def describe(self) -> list[str]:
        """Return nothing, for the surface describes its colours."""
        return []

    def facts(self) -> dict[str, str]:
        """Return nothing, for the surface has all facts."""
        return {}

    @cached_property
    def lines(self) -> Float[ndarray, "steps lines"]:
        """Return the colours along straight walks over the surface, a step of `Colored.texel` apart, each channel.

        Walks begin at random points, by area, in random directions, so that parts of a texture that no face uses don't
        count, and others as much as they cover.
        """
        rng = np.random.default_rng(0)
        points, normals = self.surface.sample_surface(rng, WALKS)
        moves = np.cross(normals, rng.standard_normal(normals.shape))
        found = []
        for _ in range(STEPS):
            moves *= self.surface.texel / np.linalg.norm(moves, axis=-1, keepdims=True).clip(1e-12)
            reached, turned, colors = self.surface.walk(points, moves, normals)
            ahead = reached - points
            ahead -= (ahead * turned).sum(-1, keepdims=True) * turned
            stuck = np.linalg.norm(ahead, axis=-1, keepdims=True) < 1e-3 * self.surface.texel
            points, moves, normals = reached, np.where(stuck, moves, ahead), turned
            found.append(colors)
        return np.stack(found).reshape(STEPS, -1)

    @property
    def centroid(self) -> float:
        """Return the spectral centroid along the surface, in [0, 1]; 1 is a period of two texels."""
        return self.axes[0].centroid

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """Return the centroid along the surface and the texels along the cube, the same for each of its three axes."""
        from ...winner import Axis
        from ...winner.matched import axes_of

        (along,) = axes_of(self.lines, dim=1)
        return (Axis(along.centroid, max(2, round(2 / self.surface.texel) + 1)),) * 3

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, Float[ndarray, "n k"]]:
        """Return fresh training samples: points on the surface or close to it, with the colours beneath them; float32.

        Returns:
            ``coords`` [n, 3] and ``values`` [n, 3].
        """
        points, normals, colors = self.surface.sample_colors(rng, count)
        points = points + OFFSET * rng.standard_normal((count, 1)) * normals
        return {"coords": points.astype(np.float32), "values": (2 * colors - 1).astype(np.float32)}

    def draw_unseen(self, count: int, stream: int = 0) -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n 3"]]:
        """Return points of the surface that no training draws, and their colours in [0, 1]."""
        points, _, colors = self.surface.sample_colors(np.random.default_rng([UNSEEN, stream]), count, unseen=True)
        return points, colors
