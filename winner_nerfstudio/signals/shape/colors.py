"""The colours of a surface: textures, colours of vertices and faces, and how they are looked up on it.

All colours are sRGB values (IEC 61966-2-1) in [0, 1], as pictures hold them. What a format defines as linear light is
converted when it is read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy import ndarray

Wrap = Literal["repeat", "mirror", "clamp"]
"""What a texture shows beyond its edges."""
FARTHEST = 1e6
"""Texture coordinates from which on single precision has some ten steps or fewer between whole numbers."""


def to_linear(srgb: Float[ndarray, "*n"]) -> Float[ndarray, "*n"]:
    """Convert sRGB values in [0, 1] to linear light in [0, 1]."""
    low = srgb / 12.92
    linear: Float[ndarray, "*n"] = np.where(srgb <= 0.04045, low, ((srgb + 0.055) / 1.055) ** 2.4)
    return linear


def to_srgb(linear: Float[ndarray, "*n"]) -> Float[ndarray, "*n"]:
    """Convert linear light to sRGB values in [0, 1]; light outside [0, 1] is clipped."""
    linear = np.clip(linear, 0.0, 1.0)
    srgb: Float[ndarray, "*n"] = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return srgb


@dataclass(frozen=True, eq=False)
class Texture:
    """A picture that is laid on faces.

    Attributes:
        pixels: sRGB values, [h, w, 3], of 8 or 16 bits.
        wrap: what lies beyond its left and right edges, and beyond its upper and lower edges.
    """

    pixels: Shaped[ndarray, "h w 3"]
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")

    @property
    def size(self) -> tuple[int, int]:
        """Return width and height in texels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    @property
    def bits(self) -> int:
        """Return the bits of a channel."""
        return 8 * self.pixels.dtype.itemsize

    def sample(self, uv: Float[ndarray, "n 2"]) -> Float[ndarray, "n 3"]:
        """Return the colours at texture coordinates, interpolated between the four nearest texels.

        Args:
            uv: to the right and down, 0 and 1 at the edges of the picture.
        """
        columns, rows = (_find_texels(uv[:, i], self.size[i], self.wrap[i]) for i in (0, 1))
        (left, right, across), (upper, lower, down) = columns, rows
        above = self.pixels[upper, left] * (1 - across) + self.pixels[upper, right] * across
        below = self.pixels[lower, left] * (1 - across) + self.pixels[lower, right] * across
        colors: Float[ndarray, "n 3"] = (above * (1 - down) + below * down) / np.iinfo(self.pixels.dtype).max
        return colors


def _find_texels(
    position: Float[ndarray, " n"], size: int, wrap: Wrap
) -> tuple[Int[ndarray, " n"], Int[ndarray, " n"], Float[ndarray, "n 1"]]:
    """Return the texels before and after positions along an axis, and how far each position lies between them."""
    texel = np.nan_to_num(position) * size - 0.5
    first = np.floor(texel)
    between = (texel - first)[:, None]
    # Remainders are taken before the conversion, for positions may be any numbers.
    pair = [np.mod(first + step, 2.0 * size).astype(np.int64) for step in (0, 1)]
    if wrap == "clamp":
        pair = [np.clip(first + step, 0, size - 1).astype(np.int64) for step in (0, 1)]
    elif wrap == "repeat":
        pair = [index % size for index in pair]
    else:
        pair = [np.minimum(index, 2 * size - 1 - index) for index in pair]
    return pair[0], pair[1], between


@dataclass(frozen=True, eq=False)
class CornerColors:
    """Colours at the corners of faces; `s` is the shape of the array of corners.

    Attributes:
        values: sRGB values in [0, 1], [*s, 3]; where there is a texture, it is multiplied by them, as linear light.
        bits: bits of a channel in the file, 8 or 16.
        uv: texture coordinates, to the right and down, [*s, 2]; None without textures.
        texture: index of the texture at each corner, -1 for none, [*s]; None without textures.
        textures: the textures.
    """

    values: Float[ndarray, "*s 3"]
    bits: int = 8
    uv: Float[ndarray, "*s 2"] | None = None
    texture: Int[ndarray, "*s"] | None = None
    textures: tuple[Texture, ...] = ()

    @classmethod
    def from_numbers(cls, numbers: Shaped[ndarray, "n 3"], notes: list[str]) -> "CornerColors | None":
        """Take numbers of a file as sRGB values: whole ones of 8 or 16 bits, or floats from 0 to 1.

        Texts often don't say which they have: floats above 1 are whole numbers, and whole numbers of any other type are
        of 16 bits if one is above 255.

        Args:
            numbers: red, green and blue.
            notes: what the user should know, to which is added why these are no colours.

        Returns:
            The colours, or None if one of them is none.
        """
        most = {"|u1": 255.0, "<u2": 65535.0, ">u2": 65535.0}.get(numbers.dtype.str)
        least = 1.0 if numbers.dtype.kind == "f" else 255.0
        values = numbers.astype(np.float64)
        wrong = ~((values >= 0) & (values <= 65535)).all(-1)
        if wrong.any():
            listing = " ".join(f"{value:g}" for value in values[wrong.argmax()])
            notes.append(
                f"warning: its colours are left out, for {wrong.sum():,} of {len(values):,} are none, such as"
                f" {listing}; numbers from 0 to 1, 255 or 65535 are"
            )
        if wrong.any() or not len(values):
            return None
        if most is None:
            most = next(each for each in (least, 255.0, 65535.0) if values.max() <= each)
        return cls((values / most).astype(np.float32), 8 if most == 255 else 16)

    @classmethod
    def join(cls, parts: "Sequence[tuple[int, CornerColors | None]]") -> "CornerColors | None":
        """Put colours of several parts one after the other; return None if no part has any.

        Args:
            parts: the count of corners and the colours of each part; a part without colours becomes white.
        """
        known = [colors for _, colors in parts if colors is not None]
        if not known:
            return None
        whole = [cls(np.ones((count, 3), np.float32)) if colors is None else colors for count, colors in parts]
        joined = cls(np.concatenate([colors.values for colors in whole]), max(colors.bits for colors in known))
        if not any(colors.textures for colors in known):
            return joined
        # A texture that several parts share, as the instances of a mesh do, is kept once.
        textures = list({id(texture): texture for colors in known for texture in colors.textures}.values())
        index = {id(texture): number for number, texture in enumerate(textures)}
        uv = [np.zeros((len(c.values), 2), np.float32) if c.uv is None else c.uv for c in whole]
        places = []
        for colors in whole:
            table = np.array([*(index[id(texture)] for texture in colors.textures), -1], np.int32)
            places.append(
                np.full(len(colors.values), -1, np.int32) if colors.texture is None else table[colors.texture]
            )
        return replace(joined, uv=np.concatenate(uv), texture=np.concatenate(places), textures=tuple(textures))

    def take(self, index: Int[ndarray, "*t"]) -> "CornerColors":
        """Return the colours of some corners, in an array of the shape of `index`."""
        return replace(
            self,
            values=self.values[index],
            uv=None if self.uv is None else self.uv[index],
            texture=None if self.texture is None else self.texture[index],
        )

    def flatten(self) -> "CornerColors":
        """Return the colours in an array of one axis, in row-major order."""
        return replace(
            self,
            values=self.values.reshape(-1, 3),
            uv=None if self.uv is None else self.uv.reshape(-1, 2),
            texture=None if self.texture is None else self.texture.reshape(-1),
        )

    def drop_wild(self) -> "tuple[CornerColors, tuple[str, ...]]":
        """Return the colours of faces, [f, 3], without textures where coordinates are no use, and what was left out.

        They would also make the texels that the other faces cover count for nothing.
        """
        if self.uv is None or self.texture is None:
            return self, ()
        wild = ~(np.abs(self.uv) < FARTHEST).all(axis=(1, 2)) & (self.texture[:, 0] >= 0)
        if not wild.any():
            return self, ()
        told = (
            f"warning: {wild.sum():,} of {len(wild):,} faces are left without texture, for their coordinates in it are"
            f" NaN, infinite or above {FARTHEST:,.0f}"
        )
        uv = np.where(wild[:, None, None], np.float32(0), self.uv)
        return replace(self, uv=uv, texture=np.where(wild[:, None], np.int32(-1), self.texture)), (told,)

    @property
    def is_plain(self) -> bool:
        """Return whether all of it has one colour."""
        first = self.values.reshape(-1, 3)[:1]
        if not np.allclose(self.values, first, atol=1e-6):
            return False
        used = set() if self.texture is None else set(np.unique(self.texture).tolist())
        pictures = [self.textures[index].pixels for index in used if index >= 0]
        return len(used) <= 1 and all(bool((pixels == pixels[:1, :1]).all()) for pixels in pictures)


@dataclass(frozen=True, eq=False)
class SurfaceColors:
    """The colours of a mesh as its file has them, whatever was done to the faces afterwards.

    Attributes:
        triangles: corners of the file's faces, unit cube, [f, 3, 3].
        corners: colours at those corners, [f, 3].
    """

    triangles: Float[ndarray, "f 3 3"]
    corners: CornerColors

    def describe(self) -> str:
        """Return what the colours come from, for the user to read."""
        sizes = [" x ".join(map(str, texture.size)) for texture in self.corners.textures]
        if not sizes:
            return f"colours of vertices or faces, sRGB of {self.corners.bits} bits"
        listing = f"a texture of {sizes[0]}" if len(sizes) == 1 else f"{len(sizes)} textures, {', '.join(sizes[:4])}"
        return f"colours: {listing} texels, sRGB of {self.corners.bits} bits"

    def at(self, points: Float[ndarray, "n 3"], face: Int[ndarray, " n"]) -> Float[ndarray, "n 3"]:
        """Return the sRGB colours in [0, 1] of points that lie on faces of the file.

        Args:
            points: unit cube.
            face: index of the file's face on which each lies.
        """
        weights, corners = barycentric(points, self.triangles[face]), self.corners
        colors = np.einsum("nk,nkc->nc", weights, corners.values[face].astype(np.float64))
        if corners.texture is None or corners.uv is None:
            return colors
        place = corners.texture[face, 0]
        for index, texture in enumerate(corners.textures):
            (here,) = np.nonzero(place == index)
            if len(here):
                uv = np.einsum("nk,nkc->nc", weights[here], corners.uv[face[here]].astype(np.float64))
                colors[here] = _multiply(texture.sample(uv), colors[here])
        return colors

    @cached_property
    def texel(self) -> float:
        """Return the typical distance between texels, or where there are none, between coloured corners, unit cube.

        It is the square root of the surface's area over the texels that its faces cover. A face without a texture, or
        one that covers less, counts a half, as a vertex belongs to six faces.
        """
        first, second, third = self.triangles.transpose(1, 0, 2)
        areas = np.linalg.norm(np.cross(second - first, third - first), axis=-1) / 2
        corners = self.corners
        covered = np.full(len(areas), 0.5)
        if corners.texture is not None and corners.uv is not None:
            sizes = np.array([*(texture.size for texture in corners.textures), (0, 0)], np.float64)
            texels = corners.uv.astype(np.float64) * sizes[corners.texture[:, 0]][:, None]
            edges = texels[:, 1:] - texels[:, :1]
            on_texture = corners.texture[:, 0] >= 0
            texels_covered = np.abs(np.cross(edges[:, 0], edges[:, 1])) / 2
            covered[on_texture] = np.maximum(texels_covered, 0.5)[on_texture]
        return float(np.sqrt(areas.sum() / covered.sum()))


def _multiply(srgb: Float[ndarray, "n 3"], factor: Float[ndarray, "n 3"]) -> Float[ndarray, "n 3"]:
    """Return the sRGB colours of a surface with one colour times another, as light is multiplied."""
    tinted = (factor < 1).any(-1)
    if tinted.any():
        srgb[tinted] = to_srgb(to_linear(srgb[tinted]) * to_linear(factor[tinted]))
    return srgb


def barycentric(points: Float[ndarray, "n 3"], triangles: Float[ndarray, "n 3 3"]) -> Float[ndarray, "n 3"]:
    """Return the weights of the corners of a triangle at a point in it, not negative, with the sum 1, each [3]."""
    first, second, third = triangles.transpose(1, 0, 2)
    along, beside, to = second - first, third - first, points - first
    aa, ab, bb = ((x * y).sum(-1) for x, y in ((along, along), (along, beside), (beside, beside)))
    ta, tb = (to * along).sum(-1), (to * beside).sum(-1)
    square = np.maximum(aa * bb - ab * ab, 1e-300)
    weights = np.stack([(bb * ta - ab * tb) / square, (aa * tb - ab * ta) / square], -1)
    weights = np.clip(np.concatenate([1 - weights.sum(-1, keepdims=True), weights], -1), 0, 1)
    total: Float[ndarray, "n 3"] = weights / weights.sum(-1, keepdims=True)
    return total
