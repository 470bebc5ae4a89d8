"""Rays against the zero surface of a field that is only about a distance."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .distance_grid import DistanceGrid

LEAST_STEP = 1e-4
"""Unit-cube lengths; only so long steps are followed by a look at what they may have passed."""
GROWTH, MAX_STEPS = 1.1, 256
"""By how much the least step grows from one to the next, so that no ray stays for ever at a surface that it grazes."""
FEW_STEPS = 4
"""Steps in the open from one evaluation to the next: waiting for the last ray to end its way would take longer."""
FREE = 2e-3
"""Least clearance at which the grid's word is taken."""
BISECTIONS = 6
"""Halvings of a crossing's bracket; brackets are short, so the hit is exact to about 1e-4."""
STEEP = 0.15
"""Least cosine between a ray and the surface's normal at which the crossing is found by Newton's method."""
CLOSE, ARRIVED = 1e-2, 5e-4
"""Longest first and last step of Newton's method, unit-cube lengths."""


class Hits(NamedTuple):
    """Where rays meet a surface.

    Attributes:
        depth: along the ray, [n]; where nothing is hit, `far`, or 0 for rays left out.
        hit: whether the surface was met, [n].
        gradient: of the field at the hits, or closer to them than a pixel of any picture, [n, 3]; else 0.
    """

    depth: Float[Tensor, " n"]
    hit: Bool[Tensor, " n"]
    gradient: Float[Tensor, "n 3"]


def box_interval(
    origins: Float[Tensor, "n 3"],
    directions: Float[Tensor, "n 3"],
    lower: Float[Tensor, " 3"] | float = -1.0,
    upper: Float[Tensor, " 3"] | float = 1.0,
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Where rays enter and leave a box, as multiples of `directions`; ``near >= far`` for rays that miss it."""
    inverse = 1 / torch.where(directions.abs() < 1e-12, 1e-12, directions)
    a, b = (lower - origins) * inverse, (upper - origins) * inverse
    near, far = torch.minimum(a, b).amax(-1), torch.maximum(a, b).amin(-1)
    return near.clamp(min=0), far


def sphere_trace(
    function: Callable[[Float[Tensor, "m 3"]], Float[Tensor, " m"]],
    gradient: Callable[[Float[Tensor, "m 3"]], tuple[Float[Tensor, " m"], Float[Tensor, "m 3"]]],
    grid: DistanceGrid,
    origins: Float[Tensor, "n 3"],
    directions: Float[Tensor, "n 3"],
    near: Float[Tensor, " n"],
    far: Float[Tensor, " n"],
    detail: float = 0.0,
) -> Hits:
    """The first crossing of each ray from positive to negative values between `near` and `far` (after Hart 1996).

    Where the grid knows the way to be free, rays go without evaluating the function. Where it then expects the surface
    most find it, by one step of Newton's method or two. The others step on from the end of the free way, by the value
    over the local slope, until the sign changes, and find the crossing by bisection: a change of sign is a hit and a
    small value is not, so a field that isn't a true distance doesn't stop rays early. A ray that starts inside is hit
    at once.

    Args:
        function: signed distances, unit cube, at points.
        gradient: those and their gradients.
        grid: of that function.
        origins: unit cube coordinates, [n, 3].
        directions: unit length, [n, 3].
        near: where each ray starts, [n]; see `box_interval`.
        far: where it ends, [n]; not after `near` for rays to leave out.
        detail: the least step, for pictures in which shorter ways through the inside don't count, unit-cube lengths; 0
            to overlook none.
    """

    def points(rays: Tensor, depths: Tensor) -> Tensor:
        return origins[rays] + depths[:, None] * directions[rays]

    def approach(rays: Tensor, steps: int) -> Tensor:
        """Take the free way, or so many steps of it; returns the rays that have not come to their own end."""
        stopped = []
        for _ in range(steps):
            if len(rays) == 0:
                break
            clearance = grid.clearance(points(rays, depth[rays]))
            free = clearance >= FREE
            stopped.append(rays[~free])
            rays = rays[free]
            outside[rays], last[rays], strained[rays] = depth[rays], torch.inf, False
            depth[rays] += clearance[free]
            rays = rays[depth[rays] < far[rays]]
        return torch.cat([*stopped, rays])

    missed = torch.where(near < far, far, 0.0)
    depth = torch.where(near < far, near, 0.0)
    outside, before = depth.clone(), depth.clone()  # where each ray was last known to be outside, and the time before
    # The value there, if the step from there or the one before was longer than warranted; and whether the first was.
    last, strained = torch.full_like(depth, torch.inf), torch.zeros_like(depth, dtype=torch.bool)
    hit, gradients = torch.zeros_like(depth, dtype=torch.bool), torch.zeros_like(origins)

    rays = approach((near < far).nonzero()[:, 0], MAX_STEPS)
    # Where the grid expects the crossing, by a secant; there the field itself, and Newton's step from it.
    start = depth[rays]
    ahead = grid.value(points(rays, start))
    further = ahead.clamp(FREE, grid.spacing)
    fall = (ahead - grid.value(points(rays, start + further))) / further
    guess = start + (ahead / fall.clamp(min=STEEP)).clamp(0, 2 * grid.spacing)
    value, slopes = gradient(points(rays, guess))
    along = (slopes * directions[rays]).sum(-1)
    end = guess - value / along
    sure = ((end - guess).abs() < CLOSE) & (along < -STEEP * slopes.norm(dim=-1)) & (end > start) & (end < far[rays])
    arrived = max(ARRIVED, detail / 4)
    again = (sure & ((end - guess).abs() > arrived)).nonzero()[:, 0]
    rest = function(points(rays[again], end[again])) / along[again]
    end[again] -= rest
    sure[again] = rest.abs() < arrived
    hit[rays[sure]], depth[rays[sure]], gradients[rays[sure]] = True, end[sure], slopes[sure]

    def lowest(rays: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Depths between `low` and `high` where values turn from falling to rising."""
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            falling = (gradient(points(rays, middle))[1] * directions[rays]).sum(-1) < 0
            low, high = torch.where(falling, middle, low), torch.where(falling, high, middle)
        return (low + high) / 2

    rays = rays[~sure]
    crossed = [rays[:0]]
    growth = GROWTH ** (0.25 if detail else 1)
    for number in range(MAX_STEPS):
        if len(rays) == 0:
            break
        value = function(points(rays, depth[rays]))
        # A step that the least one made too long, and that ends higher than it began, may have passed a dip.
        passed = ((value > 0) & (value > last[rays])).nonzero()[:, 0]
        if len(passed):
            bottom = lowest(rays[passed], before[rays[passed]], depth[rays[passed]])
            below = function(points(rays[passed], bottom)) <= 0
            passed, bottom = passed[below], bottom[below]
            value[passed], depth[rays[passed]], outside[rays[passed]] = 0.0, bottom, before[rays[passed]]

        crossed.append(rays[value <= 0])
        rays, value = rays[value > 0], value[value > 0]
        warranted, least = value / grid.slope(points(rays, depth[rays])), (detail or LEAST_STEP) * growth**number
        before[rays], outside[rays] = outside[rays], depth[rays]
        long = (warranted < least) & (detail == 0)
        last[rays], strained[rays] = torch.where(long | strained[rays], value, torch.inf), long
        depth[rays] += warranted.clamp(min=least)
        rays = approach(rays[depth[rays] < far[rays]], FEW_STEPS)
    rays = torch.cat(crossed)
    low, high = outside[rays], depth[rays]
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        inside = function(points(rays, middle)) <= 0
        low, high = torch.where(inside, low, middle), torch.where(inside, middle, high)
    hit[rays], depth[rays], gradients[rays] = True, high, gradient(points(rays, high))[1]
    return Hits(torch.where(hit, depth, missed), hit, gradients)
