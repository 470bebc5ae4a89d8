"""Find where rays meet the zero surface of a field that is only roughly a distance."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .distance_grid import DistanceGrid

LEAST_STEP = 1e-4
"""Least step along a ray, unit-cube lengths; steps of that length are checked for a surface that they passed."""
GROWTH, MAX_STEPS = 1.1, 256
"""Factor by which the least step grows from one to the next, so that no ray stays for ever at a surface it grazes."""
FEW_STEPS = 4
"""Steps through empty space between two evaluations: waiting for the last ray to finish them would take longer."""
FREE = 2e-3
"""Least clearance at which the grid is trusted, unit-cube lengths."""
BISECTIONS = 6
"""Halvings of the interval that holds a crossing; it is short, so the hit is exact to about 1e-4."""
STEEP = 0.15
"""Least cosine between a ray and the surface's normal at which the crossing is found by Newton's method."""
CLOSE, ARRIVED = 1e-2, 5e-4
"""Longest first and last step of Newton's method, unit-cube lengths."""

Value = Callable[[Float[Tensor, "m 3"]], Float[Tensor, " m"]]
ValueAndGradient = Callable[[Float[Tensor, "m 3"]], tuple[Float[Tensor, " m"], Float[Tensor, "m 3"]]]


class Hits(NamedTuple):
    """Where rays meet a surface.

    Attributes:
        depth: distance along the ray, [n]; where nothing is hit, `far`, or 0 for rays that are left out.
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
    """Return where rays enter and leave a box, in multiples of `directions`; ``near >= far`` for rays that miss it."""
    inverse = 1 / torch.where(directions.abs() < 1e-12, 1e-12, directions)
    a, b = (lower - origins) * inverse, (upper - origins) * inverse
    near, far = torch.minimum(a, b).amax(-1), torch.maximum(a, b).amin(-1)
    return near.clamp(min=0), far


def sphere_trace(
    function: Value,
    gradient: ValueAndGradient,
    grid: DistanceGrid,
    origins: Float[Tensor, "n 3"],
    directions: Float[Tensor, "n 3"],
    near: Float[Tensor, " n"],
    far: Float[Tensor, " n"],
    detail: float = 0.0,
) -> Hits:
    """Find each ray's first crossing from positive to negative values between `near` and `far` (after Hart 1996).

    Where the grid shows that space is empty, rays advance without evaluating the function. Where the grid then expects
    the surface, most rays find it by one or two steps of Newton's method. The others go on from the end of the empty
    space in steps of the value over the local slope until the sign changes, and find the crossing by bisection. A
    change of sign is a hit and a small value is not, so a field that is not a true distance does not stop rays early. A
    ray that starts inside is a hit at once.

    Args:
        function: signed distances at points of the unit cube.
        gradient: the same, and their gradients.
        grid: the grid of that function.
        origins: points of the unit cube, [n, 3].
        directions: of unit length, [n, 3].
        near: where each ray starts, [n]; see `box_interval`.
        far: where it ends, [n]; rays with ``far <= near`` are left out.
        detail: the least step, unit-cube lengths, for pictures in which shorter passages through the inside do not
            matter; with 0 none is overlooked.
    """
    bundle = _Bundle(function, gradient, grid, origins, directions, near, far, detail)
    rays = bundle.approach((near < far).nonzero()[:, 0], MAX_STEPS)
    rays = bundle.hit_by_newton(rays)
    bundle.hit_by_bisection(bundle.march(rays))
    return bundle.hits()


class _Bundle:
    """Rays on their way to a surface. Methods take the indices of some of them, [m].

    Attributes:
        depth: how far each ray has come, [n].
        outside: where it was last known to be outside, [n].
        before: the value of `outside` one step earlier, [n].
        last: the function at `outside`, if the step from there or the one before was longer than its value warrants;
            else infinity, [n].
        strained: whether the step from `outside` was, [n].
        hit, gradient: as in `Hits`.
    """

    def __init__(
        self,
        function: Value,
        gradient: ValueAndGradient,
        grid: DistanceGrid,
        origins: Float[Tensor, "n 3"],
        directions: Float[Tensor, "n 3"],
        near: Float[Tensor, " n"],
        far: Float[Tensor, " n"],
        detail: float,
    ) -> None:
        self.function, self.value_and_gradient, self.grid = function, gradient, grid
        self.origins, self.directions, self.near, self.far, self.detail = origins, directions, near, far, detail
        self.depth = torch.where(near < far, near, 0.0)
        self.outside, self.before = self.depth.clone(), self.depth.clone()
        self.last = torch.full_like(self.depth, torch.inf)
        self.strained = torch.zeros_like(self.depth, dtype=torch.bool)
        self.hit, self.gradient = self.strained.clone(), torch.zeros_like(origins)

    def hits(self) -> Hits:
        """Return what has been found."""
        missed = torch.where(self.near < self.far, self.far, 0.0)
        return Hits(torch.where(self.hit, self.depth, missed), self.hit, self.gradient)

    def points(self, rays: Int[Tensor, " m"], depth: Float[Tensor, " m"]) -> Float[Tensor, "m 3"]:
        """Return the points at depths along rays."""
        return self.origins[rays] + depth[:, None] * self.directions[rays]

    def approach(self, rays: Int[Tensor, " m"], steps: int) -> Int[Tensor, " k"]:
        """Advance rays through empty space, up to that many steps; return those that have not reached their end."""
        stopped = []
        for _ in range(steps):
            if len(rays) == 0:
                break
            clearance = self.grid.clearance(self.points(rays, self.depth[rays]))
            free = clearance >= FREE
            stopped.append(rays[~free])
            rays = rays[free]
            self.outside[rays], self.last[rays], self.strained[rays] = self.depth[rays], torch.inf, False
            self.depth[rays] += clearance[free]
            rays = rays[self.depth[rays] < self.far[rays]]
        return torch.cat([*stopped, rays])

    def hit_by_newton(self, rays: Int[Tensor, " m"]) -> Int[Tensor, " k"]:
        """Find crossings near where the grid expects them, by Newton's method; return the rays that found none."""
        guess = self._expect_crossing(rays)
        value, slopes = self.value_and_gradient(self.points(rays, guess))
        along = (slopes * self.directions[rays]).sum(-1)
        end = guess - value / along
        steep = along < -STEEP * slopes.norm(dim=-1)
        sure = ((end - guess).abs() < CLOSE) & steep & (end > self.depth[rays]) & (end < self.far[rays])
        # A long first step is followed by a second one.
        arrived = max(ARRIVED, self.detail / 4)
        again = (sure & ((end - guess).abs() > arrived)).nonzero()[:, 0]
        rest = self.function(self.points(rays[again], end[again])) / along[again]
        end[again] -= rest
        sure[again] = rest.abs() < arrived
        found = rays[sure]
        self.hit[found], self.depth[found], self.gradient[found] = True, end[sure], slopes[sure]
        return rays[~sure]

    def _expect_crossing(self, rays: Int[Tensor, " m"]) -> Float[Tensor, " m"]:
        """Return the depth at which the grid's values would cross zero, by a secant, [m]."""
        start = self.depth[rays]
        ahead = self.grid.value(self.points(rays, start))
        further = ahead.clamp(FREE, self.grid.spacing)
        fall = (ahead - self.grid.value(self.points(rays, start + further))) / further
        return start + (ahead / fall.clamp(min=STEEP)).clamp(0, 2 * self.grid.spacing)

    def march(self, rays: Int[Tensor, " m"]) -> Int[Tensor, " k"]:
        """Step on until the sign changes; return the rays that cross the surface between `outside` and `depth`."""
        crossed = [rays[:0]]
        least, growth = self.detail or LEAST_STEP, GROWTH ** (0.25 if self.detail else 1)
        for step in range(MAX_STEPS):
            if len(rays) == 0:
                break
            value = self.function(self.points(rays, self.depth[rays]))
            self._step_back_into_dips(rays, value)
            crossed.append(rays[value <= 0])
            rays, value = rays[value > 0], value[value > 0]
            self._advance(rays, value, least * growth**step)
            rays = self.approach(rays[self.depth[rays] < self.far[rays]], FEW_STEPS)
        return torch.cat(crossed)

    def _step_back_into_dips(self, rays: Int[Tensor, " m"], value: Float[Tensor, " m"]) -> None:
        """Move rays whose last steps passed a negative dip back into it, and set their values to 0, in place.

        A step that the least one made too long, and that ends higher than it began, may have passed one.
        """
        passed = ((value > 0) & (value > self.last[rays])).nonzero()[:, 0]
        if len(passed) == 0:
            return
        bottom = self._find_lowest(rays[passed], self.before[rays[passed]], self.depth[rays[passed]])
        below = self.function(self.points(rays[passed], bottom)) <= 0
        passed, bottom = passed[below], bottom[below]
        back = rays[passed]
        value[passed], self.depth[back], self.outside[back] = 0.0, bottom, self.before[back]

    def _find_lowest(
        self, rays: Int[Tensor, " m"], low: Float[Tensor, " m"], high: Float[Tensor, " m"]
    ) -> Float[Tensor, " m"]:
        """Return depths between `low` and `high` at which values turn from falling to rising, [m]."""
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            _, gradient = self.value_and_gradient(self.points(rays, middle))
            falling = (gradient * self.directions[rays]).sum(-1) < 0
            low, high = torch.where(falling, middle, low), torch.where(falling, high, middle)
        return (low + high) / 2

    def _advance(self, rays: Int[Tensor, " m"], value: Float[Tensor, " m"], least: float) -> None:
        """Take one step by the value over the local slope, or the least step where that is longer."""
        warranted = value / self.grid.slope(self.points(rays, self.depth[rays]))
        self.before[rays], self.outside[rays] = self.outside[rays], self.depth[rays]
        long = (warranted < least) & (self.detail == 0)
        self.last[rays] = torch.where(long | self.strained[rays], value, torch.inf)
        self.strained[rays] = long
        self.depth[rays] += warranted.clamp(min=least)

    def hit_by_bisection(self, rays: Int[Tensor, " m"]) -> None:
        """Narrow crossings down between `outside` and `depth`."""
        low, high = self.outside[rays], self.depth[rays]
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            inside = self.function(self.points(rays, middle)) <= 0
            low, high = torch.where(inside, low, middle), torch.where(inside, middle, high)
        _, gradient = self.value_and_gradient(self.points(rays, high))
        self.hit[rays], self.depth[rays], self.gradient[rays] = True, high, gradient
