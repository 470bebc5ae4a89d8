"""A picture of a fitted surface, where there is no viewer."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from .distance_grid import DistanceGrid
from .extraction import Solid
from .sphere_tracing import box_interval, sphere_trace
from .viewpoints import VIEWPOINTS

CLAY = (0.86, 0.84, 0.81)
"""Colour of surfaces that have none."""
DISTANCE = 4.0
"""From the origin to where rays begin, unit-cube lengths."""

Paint = Callable[[Float[Tensor, "m 3"]], Float[Tensor, "m 3"]]
"""A function from points of the unit cube to colours in [0, 1]."""


@torch.no_grad()
def draw_portrait(
    solid: Solid, level: float, up: str, paint: Paint | None = None, size: int = 320
) -> Float[Tensor, "size size 3"]:
    """Draw a surface in light that comes from the viewer, by parallel rays, before a white background.

    Args:
        solid: the function whose surface is drawn.
        level: its value on the surface.
        up: the axis that points up.
        paint: the colours of the surface; those of clay if left out.
        size: width and height, pixels.

    Returns:
        Colours in [0, 1].
    """
    device = solid.evaluate(torch.zeros(1, 3)).device
    backward = torch.tensor(VIEWPOINTS[up], device=device)
    backward /= backward.norm()
    right = torch.linalg.cross(torch.eye(3, device=device)["xyz".index(up)], backward)
    right /= right.norm()
    steps = (torch.arange(size, device=device) + 0.5) / size * 2 - 1
    reach = 3**0.5  # the corners of the cube are in the frame
    down, across = torch.meshgrid(reach * steps, reach * steps, indexing="ij")
    origins = DISTANCE * backward + across.reshape(-1, 1) * right
    origins = origins - down.reshape(-1, 1) * torch.linalg.cross(backward, right)
    directions = -backward.expand_as(origins)

    def value(points: Float[Tensor, "m 3"]) -> Float[Tensor, " m"]:
        return solid.evaluate(points)[:, 0] - level

    def value_and_gradient(points: Float[Tensor, "m 3"]) -> tuple[Float[Tensor, " m"], Float[Tensor, "m 3"]]:
        values, gradients = solid.value_and_gradient(points)
        return values - level, gradients

    grid = DistanceGrid.of(value, device)
    near, far = box_interval(origins, directions)
    hits = sphere_trace(value, value_and_gradient, grid, origins, directions, near, far, 2 * reach / size)
    colors = torch.ones_like(origins)
    points = origins[hits.hit] + hits.depth[hits.hit, None] * directions[hits.hit]
    facing = torch.nn.functional.normalize(hits.gradient[hits.hit], dim=-1) @ backward
    colors[hits.hit] = facing[:, None].abs() * (torch.tensor(CLAY, device=device) if paint is None else paint(points))
    return colors.reshape(size, size, 3)
