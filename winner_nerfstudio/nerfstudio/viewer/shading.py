"""How surfaces and scalar fields are coloured."""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...colors import diverging as diverging_colors
from ...surfaces.distance_grid import DistanceGrid

BACKGROUND = 1.0
CLAY, SKY, GROUND = (0.86, 0.84, 0.81), (0.80, 0.90, 1.05), (0.60, 0.55, 0.50)
LAMP = (0.45, 0.65, 0.6)
"""Towards the lamp: to the right, up, and towards the viewer."""
NOOKS = (0.02, 0.05, 0.12, 0.25)
"""Distances from a surface, unit-cube lengths, at which it is asked how much of the sky is hidden."""
STRIPES = 6
"""Dark stripes from pole to pole of a mirrored sky."""
SHADINGS = ("soft", "headlight", "stripes")


class Seen(NamedTuple):
    """A surface along rays.

    Attributes:
        depth: how far along each ray, [n].
        hit: whether it is met at all, [n].
        normals: of unit length, outwards, 0 where it isn't met, [n, 3].
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
) -> Float[Tensor, "n 3"]:
    """Colours of a surface before a plain background, in one of `SHADINGS`.

    Args:
        seen: the surface.
        origins: of the rays, unit cube.
        directions: of the rays, unit length.
        grid: the distance to the surface, which tells how open to the sky a place is.
        up: where the sky is.
        style: "soft" is light from the sky and a lamp, "headlight" from where one stands, "stripes" the reflection of a
            striped sky, which shows how smooth the surface is.
    """
    shaded = torch.full_like(origins, BACKGROUND)
    if not seen.hit.any():
        return shaded
    normals, directions = seen.normals[seen.hit], directions[seen.hit]
    facing = (normals * directions).sum(-1, keepdim=True)
    if style == "headlight":
        shaded[seen.hit] = facing.abs() * facing.new_tensor(CLAY)
    elif style == "stripes":
        mirrored = directions - 2 * facing * normals
        height = torch.acos((mirrored @ up).clamp(-1, 1))[:, None] / math.pi
        shaded[seen.hit] = (0.55 + 0.4 * torch.tanh(4 * torch.sin(2 * math.pi * STRIPES * height))).expand(-1, 3)
    else:
        ahead = torch.nn.functional.normalize(directions.mean(0), dim=0)
        right = torch.nn.functional.normalize(torch.linalg.cross(ahead, up) + 1e-6, dim=0)
        above = torch.linalg.cross(right, ahead)
        lamp = LAMP[0] * right + LAMP[1] * above - LAMP[2] * ahead
        points = origins[seen.hit] + seen.depth[seen.hit, None] * directions
        sky = (1 + (normals @ up)[:, None]) / 2
        ambient = sky * sky.new_tensor(SKY) + (1 - sky) * sky.new_tensor(GROUND)
        direct = (normals @ (lamp / lamp.norm()))[:, None].clamp(min=0)
        light = 0.72 * openness(points, normals, grid)[:, None] * ambient + 0.5 * direct
        shaded[seen.hit] = (light * light.new_tensor(CLAY)).clamp(0, 1)
    return shaded


def openness(points: Float[Tensor, "n 3"], normals: Float[Tensor, "n 3"], grid: DistanceGrid) -> Float[Tensor, " n"]:
    """How much of the sky each place sees, about 0 to 1: how near other parts are in front of it (Evans 2006)."""
    hidden = torch.zeros_like(points[:, 0])
    for number, reach in enumerate(NOOKS):
        places = points + reach * normals
        # Beyond the cube the grid has only what it has at the walls.
        beyond = (places.abs() - 1).amax(-1).clamp(min=0)
        free = (grid.value(places) + beyond).clamp(min=0) / reach
        hidden += (1 - free).clamp(min=0) / 2**number
    return (1 - hidden / 1.9).clamp(0, 1)


def diverging(values: Float[Tensor, " n"]) -> Float[Tensor, "n 3"]:
    """Colours of values in [-1, 1]: blue below, grey at zero, red above."""
    return torch.from_numpy(diverging_colors(values.cpu().numpy())).to(values.device)


def round_length(length: float) -> float:
    """The nearest of 1, 2 and 5 times a power of ten that is no longer than `length`."""
    power = 10.0 ** math.floor(math.log10(length))
    return max(step * power for step in (1, 2, 5) if step * power <= length * (1 + 1e-9))


def with_legend(
    picture: Float[Tensor, "h w 3"], reach: float, title: str, middle: float = 0.0
) -> Float[Tensor, "h w 3"]:
    """A picture with a bar of the `diverging` colours in its corner, `reach` to either side of `middle`.

    A small picture stays as it is.
    """
    from PIL import Image, ImageDraw, ImageFont

    height, width = picture.shape[:2]
    size = min(height, width) // 32
    if size < 7:
        return picture
    font = ImageFont.load_default(size)
    length, thickness, margin = 12 * size, size, size
    left, top = width - margin - length - 2 * size, height - 5 * size
    pixels = Image.fromarray((picture.clamp(0, 1).cpu().numpy() * 255 + 0.5).astype(np.uint8))
    draw = ImageDraw.Draw(pixels, "RGBA")
    draw.rectangle((left - 2 * size, top - 2 * size, width, height), fill=(255, 255, 255, 200))
    bar = diverging(torch.linspace(-1, 1, length)).numpy()
    pixels.paste(Image.fromarray((np.tile(bar[None], (thickness, 1, 1)) * 255 + 0.5).astype(np.uint8)), (left, top))
    draw.rectangle((left - 1, top - 1, left + length, top + thickness), outline=(60, 60, 60))
    draw.text((left + length / 2, top - size * 0.4), title, (60, 60, 60), font, anchor="ms")
    for part, label in ((0, middle - reach), (0.5, middle), (1, middle + reach)):
        place = (left + part * length, top + thickness + size * 1.4)
        sign = "+" if label > 0 > middle - reach else ""
        draw.text(place, f"{label:{sign}g}", (60, 60, 60), font, anchor="ms")
    return torch.from_numpy(np.asarray(pixels).astype(np.float32) / 255).to(picture.device)
