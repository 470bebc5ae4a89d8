"""How a surface is lit."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...surfaces.distance_grid import DistanceGrid

BACKGROUND = 1.0
"""Brightness of what is behind a surface: white."""
SHADINGS = ("soft", "headlight", "stripes")
"""The styles of `shade`."""
FLAT = "flat"
"""One more style, for surfaces that have colours: these without any light."""
CLAY, SKY, GROUND = (0.86, 0.84, 0.81), (0.80, 0.90, 1.05), (0.60, 0.55, 0.50)
"""Colours of the surface, of the light from above and of the light from below."""
LAMP = (0.45, 0.65, 0.6)
"""Direction of the lamp: how far to the right, up, and back towards the viewer."""
PROBE_DISTANCES = (0.02, 0.05, 0.12, 0.25)
"""Distances above a surface, unit-cube lengths, at which `openness` looks for other parts of it."""
STRIPES = 6
"""Number of dark stripes of the reflected sky, from pole to pole."""


class Seen(NamedTuple):
    """A surface along rays.

    Attributes:
        depth: distance of the surface along each ray, [n].
        hit: whether the ray meets the surface at all, [n].
        normals: unit normals, outwards, zero where the surface is not met, [n, 3].
    """

    depth: Float[Tensor, " n"]
    hit: Bool[Tensor, " n"]
    normals: Float[Tensor, "n 3"]


def shade(
    seen: Seen,
    origins: Float[Tensor, "n 3"],
    directions: Float[Tensor, "n 3"],
    grid: DistanceGrid,
    up: Float[Tensor, " 3"],
    style: str = "soft",
    paint: Callable[[Float[Tensor, "m 3"]], Float[Tensor, "m 3"]] | None = None,
) -> Float[Tensor, "n 3"]:
    """Compute the colours of a surface in front of a plain background.

    Args:
        seen: the surface along the rays.
        origins: origins of the rays, unit cube.
        directions: unit directions of the rays.
        grid: the distance to the surface, from which "soft" computes how open to the sky each point is.
        up: unit vector towards the sky.
        style: one of `SHADINGS`. "soft" is light from the sky and from a lamp; "headlight" is light from the viewer;
            "stripes" is the reflection of a striped sky, which shows how smooth the surface is. Or `FLAT`, which
            needs `paint`.
        paint: returns the colours of points of the surface, which are of one colour if left out.
    """
    colors = torch.full_like(origins, BACKGROUND)
    if not seen.hit.any():
        return colors
    normals, directions = seen.normals[seen.hit], directions[seen.hit]
    points = origins[seen.hit] + seen.depth[seen.hit, None] * directions
    color = normals.new_tensor(CLAY) if paint is None else paint(points)
    if style == FLAT:
        colors[seen.hit] = color
    elif style == "headlight":
        colors[seen.hit] = _shade_by_headlight(normals, directions, color)
    elif style == "stripes":
        colors[seen.hit] = _shade_by_stripes(normals, directions, up)
    else:
        colors[seen.hit] = _shade_softly(normals, directions, up, openness(points, normals, grid), color)
    return colors


def _shade_by_headlight(
    normals: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"], color: Float[Tensor, "*n 3"]
) -> Float[Tensor, "n 3"]:
    """Compute the colours in light that comes from the viewer."""
    facing = (normals * directions).sum(-1, keepdim=True)
    return facing.abs() * color


def _shade_by_stripes(
    normals: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"], up: Float[Tensor, " 3"]
) -> Float[Tensor, "n 3"]:
    """Compute the grey values of a striped sky that the surface reflects."""
    facing = (normals * directions).sum(-1, keepdim=True)
    reflected = directions - 2 * facing * normals
    height = torch.acos((reflected @ up).clamp(-1, 1))[:, None] / math.pi
    grey: Tensor = 0.55 + 0.4 * torch.tanh(4 * torch.sin(2 * math.pi * STRIPES * height))
    return grey.expand(-1, 3)


def _shade_softly(
    normals: Float[Tensor, "n 3"],
    directions: Float[Tensor, "n 3"],
    up: Float[Tensor, " 3"],
    open_sky: Float[Tensor, " n"],
    color: Float[Tensor, "*n 3"],
) -> Float[Tensor, "n 3"]:
    """Compute the colours in light from the sky and from a lamp that moves with the viewer.

    Args:
        normals: unit normals of the surface.
        directions: unit directions of the rays that meet it.
        up: unit vector towards the sky.
        open_sky: how much of the sky each point sees, 0 to 1.
        color: of the surface, one or of each point.
    """
    ahead = torch.nn.functional.normalize(directions.mean(0), dim=0)
    right = torch.nn.functional.normalize(torch.linalg.cross(ahead, up) + 1e-6, dim=0)
    above = torch.linalg.cross(right, ahead)
    lamp = LAMP[0] * right + LAMP[1] * above - LAMP[2] * ahead
    sky = (1 + (normals @ up)[:, None]) / 2
    ambient = sky * sky.new_tensor(SKY) + (1 - sky) * sky.new_tensor(GROUND)
    direct = (normals @ (lamp / lamp.norm()))[:, None].clamp(min=0)
    light: Tensor = 0.72 * open_sky[:, None] * ambient + 0.5 * direct
    return (light * color).clamp(0, 1)


def openness(points: Float[Tensor, "n 3"], normals: Float[Tensor, "n 3"], grid: DistanceGrid) -> Float[Tensor, " n"]:
    """Estimate how much of the sky each point of a surface sees, from 0 to 1.

    The distance to the surface is looked up at a few points above each of them: the more it falls short of the height
    above the surface, the nearer are other parts of the surface (Evans, "Fast Approximations for Global Illumination on
    Dynamic Scenes", SIGGRAPH 2006 courses).

    Args:
        points: points of the surface, unit cube.
        normals: unit normals there.
        grid: the distance to the surface.
    """
    hidden = torch.zeros_like(points[:, 0])
    for index, height in enumerate(PROBE_DISTANCES):
        probes = points + height * normals
        # Outside the cube the grid returns its value at the nearest wall.
        outside = (probes.abs() - 1).amax(-1).clamp(min=0)
        free = (grid.value(probes) + outside).clamp(min=0) / height
        hidden += (1 - free).clamp(min=0) / 2**index
    return (1 - hidden / 1.9).clamp(0, 1)
