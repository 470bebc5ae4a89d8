"""Cameras that look at a signal: where the viewer starts, and what pictures and films are taken from."""

from collections.abc import Sequence

import torch
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor

from ...surfaces.viewpoints import VIEWPOINTS

FARTHER = 1 / 0.9
"""How much farther away the first view is from a volume, which may fill the cube; a shape leaves a tenth of it free."""
SIDES = 12
"""Views of a shape, all around it."""
FRONT, BESIDE = (0.0, 0.0, 2.3), ((0.9, 0.3, 2.1), (-0.9, 0.3, 2.1))
"""Where the views of something flat stand, which fills [-1, 1] x [-1, 1] or less of the plane z = 0; first from where
all of it is in frame."""
FIELD_OF_VIEW = 55.0
"""Of those cameras, vertical, degrees."""


def front() -> Cameras:
    """Return cameras for something flat in the plane z = 0: one in front of it, and one to either side."""
    return look_at_origin([FRONT, *BESIDE], "y")


def orbit(up: str, count: int) -> Tensor:
    """Places about a shape, all as high and as far as its first view, which they begin with, [count, 3].

    The angle between neighbours is the same all around; seen from above, they go against the clock.
    """
    axis = "xyz".index(up)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    angles = torch.arange(count) * (2 * torch.pi / count)
    start = torch.tensor(VIEWPOINTS[up])
    places = start.repeat(count, 1)
    places[:, first] = start[first] * angles.cos() - start[second] * angles.sin()
    places[:, second] = start[first] * angles.sin() + start[second] * angles.cos()
    return places


def look_at_origin(places: Tensor | Sequence, up: str, width: int = 512, height: int = 512) -> Cameras:
    """Cameras at `places`, [n, 3] or one of them, that look at the origin, the axis `up` pointing up."""
    position = torch.atleast_2d(torch.as_tensor(places))
    backward = position / position.norm(dim=-1, keepdim=True)
    right = torch.linalg.cross(torch.eye(3)["xyz".index(up)].expand_as(backward), backward)
    right = right / right.norm(dim=-1, keepdim=True)
    poses = torch.stack([right, torch.linalg.cross(backward, right), backward, position], dim=-1)
    focal = height / 2 / torch.tan(torch.deg2rad(torch.tensor(FIELD_OF_VIEW / 2)))
    return Cameras(poses, focal, focal, width / 2, height / 2, width, height)
