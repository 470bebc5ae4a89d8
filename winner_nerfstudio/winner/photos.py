"""The noise for a scene that is known from photographs alone: it comes from the frequency that their pixels resolve.

``docs/photos.md`` has the derivation.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf, pi, sqrt
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

from .method import spectral_centroid
from .schedule import NoiseScales

if TYPE_CHECKING:
    from jaxtyping import Float

PHOTO_SPREAD = 0.4
"""The standard deviation of the first layer's frequencies along an axis, noise included, over the photographs' angular
frequency. Chosen by measurement, see docs/photos.md."""
PHOTO_S1 = 0.1
"""The noise scale of the second layer. Chosen by measurement, see docs/photos.md."""
GEOMETRY_SCALES = NoiseScales(s0=2.5, s1=0.1)
"""The noise scales for a signed distance that is fitted to photographs. Chosen by measurement, see docs/photos.md."""


class SceneFrequency(NamedTuple):
    """The frequency of a scene, as its photographs resolve it.

    Attributes:
        centroid: The mean spectral centroid ``psi`` of the photographs, in [0, 1]; 1 is a period of two pixels.
        omega: The same as an angular frequency at the object, radians per unit of the scene.
    """

    centroid: float
    omega: float

    def scales(self, unit: float = 1.0, omega_0: float = 30.0, dim: int = 3) -> NoiseScales:
        """Compute the noise scales for a network of coordinates.

        SIREN's first layer has frequencies ``omega_0 U(-1/d, 1/d)`` along each axis, and noise adds its variance:
        ``s0^2 = (PHOTO_SPREAD omega)^2 - (omega_0 / d)^2 / 3``. Where the photographs are no finer than what SIREN
        begins with, there is no noise at all.

        Args:
            unit: The length of the network's unit of coordinate, in units of the scene.
            omega_0: The frequency of the network's first sine layer.
            dim: The inputs of the network.
        """
        wanted_variance = (PHOTO_SPREAD * self.omega * unit) ** 2
        siren_variance = (omega_0 / dim) ** 2 / 3
        if wanted_variance > siren_variance:
            return NoiseScales(sqrt(wanted_variance - siren_variance), PHOTO_S1)
        return NoiseScales(0.0, 0.0)


def photo_centroid(image: Float[Tensor, "h w c"]) -> float:
    """Compute the spectral centroid of a photograph's rows, each without its mean; rows of one colour are left out.

    `spectral_centroid` counts a constant as frequency zero. Here neither brightness must matter, nor how much of the
    picture is plain background: they say nothing about the object. A picture of one colour has 0.

    Args:
        image: The photograph, [h, w, c], of any range.

    Returns:
        The centroid, in [0, 1].

    Raises:
        ValueError: The image is not [h, w, c], is empty, or has values that are not finite.
    """
    if image.ndim != 3 or image.numel() == 0:
        raise ValueError(f"a photograph of shape {tuple(image.shape)} is not [height, width, channels]")
    rows = image.double().transpose(1, 2).flatten(0, 1)
    rows = rows - rows.mean(-1, keepdim=True)
    # Rounding leaves a constant row a little more than nothing.
    rows = rows[~(rows.abs().amax(-1) <= 1e-6 * image.abs().max().double())]
    return spectral_centroid(rows[:, :, None], dim=2) if len(rows) else 0.0


def scene_frequency(
    images: Iterable[Float[Tensor, "h w c"]], focals: Iterable[float], distances: Iterable[float]
) -> SceneFrequency:
    """Compute the angular frequency at which photographs of a scene have their spectral centroid.

    A centroid ``psi`` is ``pi psi`` radians per pixel; at the distance ``D`` a pixel is ``D / f`` wide, hence
    ``omega = pi psi f / D``, the mean over the photographs.

    Args:
        images: The photographs, [h, w, c] each, of any range and size.
        focals: The horizontal focal length of each, pixels.
        distances: The distance from each camera to what it looks at, scene units.

    Raises:
        ValueError: There are no photographs, more or fewer of one argument than of another, or lengths that are not
            positive.
    """
    centroids, omegas = [], []
    for image, focal, distance in zip(images, focals, distances, strict=True):
        if not 0 < focal < inf or not 0 < distance < inf:
            raise ValueError(f"focal length {focal} and distance {distance} must be positive and finite")
        centroids.append(photo_centroid(image))
        omegas.append(pi * centroids[-1] * focal / distance)
    if not omegas:
        raise ValueError("there are no photographs; a frequency needs at least one")
    return SceneFrequency(sum(centroids) / len(centroids), sum(omegas) / len(omegas))
