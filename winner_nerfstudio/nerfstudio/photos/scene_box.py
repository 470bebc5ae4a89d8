"""Coordinates in which nerfstudio's scene box spans [-1, 1], the range that sine networks are initialised for."""

from jaxtyping import Float
from torch import Tensor


def half_longest_side(aabb: Float[Tensor, "2 3"]) -> float:
    """Return half the longest side of a scene box, in scene units: the unit length of `to_box_coords`."""
    return float((aabb[1] - aabb[0]).max()) / 2


def to_box_coords(points: Float[Tensor, "*batch 3"], aabb: Float[Tensor, "2 3"]) -> Float[Tensor, "*batch 3"]:
    """Convert points of the scene to coordinates relative to the centre of its box.

    The longest side of the box becomes [-1, 1]. All axes are scaled alike, so distances keep their proportions.

    Args:
        points: points of the scene, scene units.
        aabb: smallest and largest corner of the scene box, scene units.
    """
    return (points - (aabb[0] + aabb[1]) / 2) * (2 / (aabb[1] - aabb[0]).max())
