"""The noise for a scene that is known by photographs alone: what frequency do their pixels resolve at the object?

``docs/photos.md`` has the derivation.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import pi, sqrt
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from .method import spectral_centroid
from .schedule import NoiseScales

if TYPE_CHECKING:
    from jaxtyping import Float

PHOTO_SPREAD = 0.4
"""Standard deviation of the first layer's frequencies along an axis, noise included, in parts of the photographs' own
angular frequency; found by measurement (docs/photos.md)."""
PHOTO_S1 = 0.1
"""Noise scale of the second layer, likewise."""
GEOMETRY_SCALES = NoiseScales(s0=2.5, s1=0.1)
"""Of a signed distance that photographs tell of, likewise."""


class SceneFrequency(NamedTuple):
    """What photographs tell of a scene.

    Attributes:
        centroid: mean spectral centroid ``psi`` of the photographs, in [0, 1], 1 being a period of two pixels.
        omega: the same as an angular frequency at the object, radians per unit of the scene.
    """

    centroid: float
    omega: float

    def scales(self, unit: float = 1.0, omega_0: float = 30.0, dim: int = 3) -> NoiseScales:
        """The noise scales for a network of coordinates.

        SIREN's first layer has frequencies ``omega_0 U(-1/d, 1/d)`` along each axis, and noise adds its variance:
        ``s0^2 = (PHOTO_SPREAD omega)^2 - (omega_0 / d)^2 / 3``. Where the photographs are no finer than what SIREN
        begins with, there is no noise at all.

        Args:
            unit: length of the network's unit of coordinate, units of the scene.
            omega_0: frequency of the network's first sine layer.
            dim: inputs of the network.
        """
        wanted, own = (PHOTO_SPREAD * self.omega * unit) ** 2, (omega_0 / dim) ** 2 / 3
        return NoiseScales(sqrt(wanted - own), PHOTO_S1) if wanted > own else NoiseScales(0.0, 0.0)


def photo_centroid(image: Float[Tensor, "h w c"]) -> float:
    """Spectral centroid of a photograph's rows, in [0, 1], each without its mean; rows of one colour are left out.

    `spectral_centroid` counts a constant as frequency zero. Here brightness must not matter, nor how much of the
    picture is plain background: neither says anything about the object. A picture of one colour has 0.

    Args:
        image: the photograph, [h, w, c], of any range.

    Raises:
        ValueError: not [h, w, c], empty, or values that are not finite.
    """
    if image.ndim != 3 or image.numel() == 0:
        raise ValueError(f"a photograph of shape {tuple(image.shape)} is not [height, width, channels]")
    rows = image.double().transpose(1, 2).flatten(0, 1)
    rows = rows - rows.mean(-1, keepdim=True)
    # Rounding leaves a constant row a little more than nothing.
    rows = rows[~(rows.abs().amax(-1) < 1e-6)]
    return spectral_centroid(rows.T, dim=1) if len(rows) else 0.0


def scene_frequency(
    images: Iterable[Float[Tensor, "h w c"]], focals: Iterable[float], distances: Iterable[float]
) -> SceneFrequency:
    """The angular frequency, radians per scene unit, at which photographs of a scene have their spectral centroid.

    A centroid ``psi`` is ``pi psi`` radians per pixel; at the distance ``D`` a pixel is ``D / f`` wide, hence
    ``omega = pi psi f / D``, the mean over the photographs.

    Args:
        images: photographs, [h, w, c] each, of any range and size.
        focals: horizontal focal length of each, pixels.
        distances: from each camera to what it looks at, scene units.

    Raises:
        ValueError: no photographs, more or fewer of one than of another, or lengths that are not positive.
    """
    centroids, omegas = [], []
    for image, focal, distance in zip(images, focals, distances, strict=True):
        if not 0 < focal < float("inf") or not 0 < distance < float("inf"):
            raise ValueError(f"focal length {focal} and distance {distance} must be positive and finite")
        centroids.append(photo_centroid(image))
        omegas.append(pi * centroids[-1] * focal / distance)
    if not omegas:
        raise ValueError("there are no photographs; a frequency needs at least one")
    return SceneFrequency(sum(centroids) / len(centroids), sum(omegas) / len(omegas))
