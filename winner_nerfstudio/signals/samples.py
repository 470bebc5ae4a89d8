"""Target shapes made by code: closed surfaces with fine detail, so that nothing need be downloaded to try a run."""

from collections.abc import Callable

import numpy as np
import trimesh
from numpy import ndarray


def gyroid_ball(periods: float = 2.5, thickness: float = 0.35, resolution: int = 112) -> trimesh.Trimesh:
    """A ball cut out of a thick gyroid sheet: one closed surface of high genus, thin walls and sharp rims.

    Args:
        periods: gyroid periods across the ball's diameter.
        thickness: half the sheet's thickness, as a level of the gyroid function.
        resolution: samples per axis of the grid that the surface is taken from.
    """
    axis = np.linspace(-1.05, 1.05, resolution)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    k = np.pi * periods
    gyroid = np.sin(k * x) * np.cos(k * y) + np.sin(k * y) * np.cos(k * z) + np.sin(k * z) * np.cos(k * x)
    # Both terms are scaled to grow by about one per unit length, so that the surface is smooth where they meet.
    sheet = (np.abs(gyroid) - thickness) / (1.2 * k)
    ball = np.sqrt(x**2 + y**2 + z**2) - 1.0
    return _largest_component(_zero_surface(np.maximum(sheet, ball), axis))


def knot(strands: int = 5, twists: int = 22, around: int = 96, along: int = 1200) -> trimesh.Trimesh:
    """A trefoil tied in a twisted rope: one closed tube with helical grooves.

    Args:
        strands: bulges of the rope's cross-section.
        twists: turns of the strands along the whole knot, a whole number so that the ends meet.
        around: vertices around the tube.
        along: vertices along the knot.
    """
    t = np.linspace(0, 2 * np.pi, along, endpoint=False)
    center = np.stack([np.sin(t) + 2 * np.sin(2 * t), np.cos(t) - 2 * np.cos(2 * t), -1.3 * np.sin(3 * t)], axis=-1)
    tangent = np.roll(center, -1, 0) - np.roll(center, 1, 0)
    tangent /= np.linalg.norm(tangent, axis=-1, keepdims=True)
    # The trefoil winds about the z axis and never runs along it through the origin, so this frame closes on itself.
    outward = center * [1, 1, 0]
    outward -= np.sum(outward * tangent, -1, keepdims=True) * tangent
    outward /= np.linalg.norm(outward, axis=-1, keepdims=True)
    sideways = np.cross(tangent, outward)

    angle = np.linspace(0, 2 * np.pi, around, endpoint=False)
    radius = 0.4 * (0.85 + 0.3 * np.abs(np.sin((strands * angle[None, :] + twists * t[:, None]) / 2)))
    vertices = center[:, None] + radius[..., None] * (
        np.cos(angle)[None, :, None] * outward[:, None] + np.sin(angle)[None, :, None] * sideways[:, None]
    )
    return _torus_grid(vertices)


def urchin(spikes: int = 90, height: float = 0.28, sharpness: float = 120.0) -> trimesh.Trimesh:
    """A sphere with evenly spread rounded spikes.

    Args:
        spikes: how many, on a Fibonacci lattice.
        height: of a spike, in sphere radii.
        sharpness: concentration of a spike about its axis (von Mises-Fisher).
    """
    index = np.arange(spikes) + 0.5
    polar, azimuth = np.arccos(1 - 2 * index / spikes), np.pi * (1 + 5**0.5) * index
    axes = np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=-1)
    sphere = trimesh.creation.icosphere(subdivisions=6)
    bumps = np.exp(sharpness * (sphere.vertices @ axes.T - 1)).sum(-1)
    return trimesh.Trimesh(sphere.vertices * (1 + height * bumps)[:, None], sphere.faces, process=False)


SAMPLES: dict[str, Callable[[], trimesh.Trimesh]] = {"gyroid-ball": gyroid_ball, "knot": knot, "urchin": urchin}
"""The built-in shapes by the name that follows ``sample:`` on the command line."""


def _zero_surface(values: ndarray, axis: ndarray) -> trimesh.Trimesh:
    import mcubes

    vertices, faces = mcubes.marching_cubes(values, 0.0)
    # PyMCubes winds its faces towards the lower values: towards the inside of a distance.
    return trimesh.Trimesh(axis[0] + vertices * (axis[1] - axis[0]), faces[:, ::-1], process=True)


def _largest_component(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    return max(mesh.split(only_watertight=False), key=lambda part: len(part.faces))


def _torus_grid(vertices: ndarray) -> trimesh.Trimesh:
    rows, columns, _ = vertices.shape
    i, j = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    a, b = i * columns + j, (i + 1) % rows * columns + j
    c, d = (i + 1) % rows * columns + (j + 1) % columns, i * columns + (j + 1) % columns
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    mesh = trimesh.Trimesh(vertices.reshape(-1, 3), faces, process=False)
    if mesh.volume < 0:
        mesh.invert()
    return mesh
