"""Rays against the zero surface of a field that is only about a distance."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

RELAXATION = 0.8
"""Part of the field's value that a step dares: a fitted field grows faster than a distance in places."""
SMALLEST_STEP = 2e-3
"""Least step, unit-cube lengths: it carries a ray along a grazed surface and through it."""
MAX_STEPS = 128
BISECTIONS = 8
"""Halvings of a crossing's bracket; brackets are short, so the hit is exact to about 1e-5."""


class Hits(NamedTuple):
    """Where rays meet a surface.

    Attributes:
        depth: along the ray, [n]; where nothing is hit, `far`, or 0 for rays left out.
        hit: whether the surface was met, [n].
    """

    depth: Float[Tensor, " n"]
    hit: Bool[Tensor, " n"]


def cube_interval(
    origins: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Where rays enter and leave [-1, 1]^3, as multiples of `directions`; ``near >= far`` for rays that miss it."""
    inverse = 1 / torch.where(directions.abs() < 1e-12, 1e-12, directions)
    a, b = (-1 - origins) * inverse, (1 - origins) * inverse
    near, far = torch.minimum(a, b).amax(-1), torch.maximum(a, b).amin(-1)
    return near.clamp(min=0), far


def sphere_trace(
    function: Callable[[Float[Tensor, "n 3"]], Float[Tensor, " n"]],
    origins: Float[Tensor, "n 3"],
    directions: Float[Tensor, "n 3"],
    near: Float[Tensor, " n"],
    far: Float[Tensor, " n"],
) -> Hits:
    """The first crossing of each ray from positive to negative values between `near` and `far` (after Hart 1996).

    Steps are the field's value times `RELAXATION`, never below `SMALLEST_STEP`; a hit is a change of sign, narrowed by
    bisection, and not a small value: a field that isn't a true distance neither stops rays early nor lets them through
    anything thicker than a smallest step. A ray that starts inside is hit at once.

    Args:
        function: signed distances, unit cube, at points [n, 3].
        origins: unit cube coordinates, [n, 3].
        directions: unit length, [n, 3].
        near: where each ray starts, [n]; see `cube_interval`.
        far: where it ends, [n]; not after `near` for rays to leave out.
    """
    depth = torch.where(near < far, near, 0.0)
    hit = torch.zeros_like(depth, dtype=torch.bool)
    last_outside = depth.clone()
    active = (near < far).nonzero()[:, 0]
    for _ in range(MAX_STEPS):
        if len(active) == 0:
            break
        t = depth[active]
        value = function(origins[active] + t[:, None] * directions[active])
        inside = value <= 0
        hit[active[inside]] = True
        active, t, value = active[~inside], t[~inside], value[~inside]
        last_outside[active] = t
        depth[active] = t + (value * RELAXATION).clamp(min=SMALLEST_STEP)
        active = active[depth[active] < far[active]]

    found = hit.nonzero()[:, 0]
    low, high = last_outside[found], depth[found]
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        inside = function(origins[found] + middle[:, None] * directions[found]) <= 0
        low, high = torch.where(inside, low, middle), torch.where(inside, middle, high)
    depth = torch.where(near < far, far, torch.zeros_like(far))
    depth[found] = high
    return Hits(depth, hit)
