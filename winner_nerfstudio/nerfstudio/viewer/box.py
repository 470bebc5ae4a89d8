"""Coordinates of a scene box, which sine networks want to lie in [-1, 1]."""

from jaxtyping import Float
from torch import Tensor


def unit_of(aabb: Float[Tensor, "2 3"]) -> float:
    """Half the longest side of a box: the length of one unit of `in_box`'s coordinates, scene units."""
    return float((aabb[1] - aabb[0]).max()) / 2


def in_box(positions: Float[Tensor, "*batch 3"], aabb: Float[Tensor, "2 3"]) -> Float[Tensor, "*batch 3"]:
    """Coordinates about the box's centre in which its longest side spans [-1, 1]; distances keep their proportions."""
    return (positions - (aabb[0] + aabb[1]) / 2) * (2 / (aabb[1] - aabb[0]).max())
