"""Built-in targets with fine detail, made by code, so that a run can be tried without downloading anything."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy import ndarray

from .errors import SignalError

if TYPE_CHECKING:
    import trimesh

Made = TypeVar("Made")


def gyroid_ball(periods: float = 2.5, thickness: float = 0.35, resolution: int = 112) -> "trimesh.Trimesh":
    """Make a ball cut out of a thick gyroid sheet: one watertight surface with many holes, thin walls and sharp rims.

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
    return _select_largest_component(_extract_zero_surface(np.maximum(sheet, ball), axis))


def knot(strands: int = 5, twists: int = 22, around: int = 96, along: int = 1200) -> "trimesh.Trimesh":
    """Make a trefoil tied in a twisted rope: one watertight tube with helical grooves.

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
    # The trefoil winds about the z axis and never runs along it, so this frame is the same at its start and end.
    outward = center * [1, 1, 0]
    outward -= np.sum(outward * tangent, -1, keepdims=True) * tangent
    outward /= np.linalg.norm(outward, axis=-1, keepdims=True)
    sideways = np.cross(tangent, outward)

    angle = np.linspace(0, 2 * np.pi, around, endpoint=False)
    radius = 0.4 * (0.85 + 0.3 * np.abs(np.sin((strands * angle[None, :] + twists * t[:, None]) / 2)))
    vertices = center[:, None] + radius[..., None] * (
        np.cos(angle)[None, :, None] * outward[:, None] + np.sin(angle)[None, :, None] * sideways[:, None]
    )
    return _mesh_torus(vertices)


def cog(teeth: int = 14, thickness: float = 0.5) -> "trimesh.Trimesh":
    """Make a cog wheel with a splined hole, of planes and sharp edges only, convex and concave.

    Args:
        teeth: count of teeth around the wheel, and of slots around the hole.
        thickness: the wheel's thickness, in units of its radius.
    """
    import trimesh

    corner = np.arange(4 * teeth)
    angle, tooth = corner * np.pi / (2 * teeth), corner % 4 < 2
    directions = np.stack([np.cos(angle), np.sin(angle)], -1)
    rims = [np.where(tooth, 1.0, 0.8)[:, None] * directions, np.where(tooth, 0.4, 0.3)[:, None] * directions]
    vertices = np.concatenate(
        [np.c_[rim, np.full(len(rim), z)] for z in (-thickness / 2, thickness / 2) for rim in rims]
    )
    after = (corner + 1) % len(corner)
    # Outer and inner rim below, outer and inner rim above.
    below, inner_below, above, inner_above = (
        (corner + ring * len(corner), after + ring * len(corner)) for ring in range(4)
    )
    faces = []
    for (a, b), (c, d) in [(below, above), (above, inner_above), (inner_above, inner_below), (inner_below, below)]:
        faces += [np.stack([a, b, d], -1), np.stack([a, d, c], -1)]
    return trimesh.Trimesh(vertices, np.concatenate(faces), process=False)


def urchin(spikes: int = 90, height: float = 0.28, sharpness: float = 120.0) -> "trimesh.Trimesh":
    """Make a sphere with evenly spread rounded spikes.

    Args:
        spikes: count of spikes, on a Fibonacci lattice.
        height: a spike's height, in sphere radii.
        sharpness: concentration of a spike about its axis (von Mises-Fisher).
    """
    import trimesh

    index = np.arange(spikes) + 0.5
    polar, azimuth = np.arccos(1 - 2 * index / spikes), np.pi * (1 + 5**0.5) * index
    axes = np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=-1)
    sphere = trimesh.creation.icosphere(subdivisions=6)
    bumps = np.exp(sharpness * (sphere.vertices @ axes.T - 1)).sum(-1)
    return trimesh.Trimesh(sphere.vertices * (1 + height * bumps)[:, None], sphere.faces, process=False)


def mandala(size: int = 256) -> ndarray:
    """Make a coloured rosette whose rings and petals become finer outwards, uint8 [size, size, 3].

    Args:
        size: pixels per side.
    """
    axis = np.linspace(-1, 1, size)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    waves = [np.sin(2 * np.pi * (k * radius**2 * 7) + 3 * k * np.sin(petals * angle) * radius) for k, petals in _PETALS]
    lace = np.sign(np.sin(24 * angle + 40 * radius)) * (np.abs(np.sin(90 * radius**1.5)) > 0.8)
    color = np.stack([0.5 + 0.35 * wave + 0.25 * lace for wave in waves], -1)
    color *= np.where(radius < 0.97, 1.0, 0.25)[..., None]
    return (color.clip(0, 1) * 255 + 0.5).astype(np.uint8)


_PETALS = ((1.0, 6), (1.15, 12), (1.3, 18))


def weave(size: int = 256, threads: int = 48) -> ndarray:
    """Make a grey herringbone cloth of single threads, uint8 [size, size, 1].

    Args:
        size: pixels per side.
        threads: threads per side.
    """
    row, column = np.meshgrid(*[np.arange(size) * threads / size] * 2, indexing="ij")
    thread_row, thread_column = np.floor(row), np.floor(column)
    lean = np.where(np.floor(thread_column / 12) % 2 == 0, 1, -1)
    over = (thread_row + lean * thread_column) % 4 < 2
    across, along = np.where(over, column, row) % 1, np.where(over, row, column) % 1
    light = np.sin(np.pi * across) ** 0.5 * (0.75 + 0.25 * np.cos(2 * np.pi * (along + 3 * across)))
    shade = np.where(over, 0.95, 0.5) * light
    return (shade.clip(0, 1) * 255 + 0.5).astype(np.uint8)[..., None]


def bells(rate: int = 16_000, seconds: float = 1.5) -> tuple[ndarray, int]:
    """Make the sound of five bells, struck one after the other, by frequency modulation.

    Args:
        rate: samples per second.
        seconds: the sound's length.

    Returns:
        The sound, float64 [n, 1], and the sample rate.
    """
    time = np.arange(round(rate * seconds)) / rate
    sound = np.zeros_like(time)
    for start, pitch in zip(np.linspace(0, 0.6 * seconds, 5), (880, 1320, 1100, 1650, 990), strict=True):
        since = np.maximum(time - start, 0)
        struck = (time >= start) * np.minimum(since / 0.002, 1)
        index = 4 * np.exp(-5 * since)
        sound += struck * np.exp(-4 * since) * np.sin(2 * np.pi * pitch * since + index * np.sin(7.0 * pitch * since))
    return (0.8 * sound / np.abs(sound).max())[:, None], rate


def crickets(rate: int = 22_050, seconds: float = 1.2) -> tuple[ndarray, int]:
    """Make the stereo sound of two crickets: trains of short high chirps, one from the left and one from the right.

    Args:
        rate: samples per second.
        seconds: the sound's length.

    Returns:
        The sound, float64 [n, 2], and the sample rate.
    """
    time = np.arange(round(rate * seconds)) / rate
    voices = []
    for pitch, pulses, phase in ((4300.0, 27.0, 0.0), (5100.0, 33.0, 0.4)):
        pulse = np.maximum(np.sin(2 * np.pi * pulses * time + phase), 0) ** 2
        song = 0.5 * (1 + np.sign(np.sin(2 * np.pi * 3.2 * time + 2 * phase)))
        voices.append(pulse * (0.15 + 0.85 * song) * np.sin(2 * np.pi * (pitch * time + 60 * time**2)))
    left, right = voices
    return 0.7 * np.stack([0.8 * left + 0.3 * right, 0.25 * left + 0.8 * right], -1), rate


def hiss(count: int = 4000, low: float = 0.7, high: float = 0.9, rate: int = 16_000) -> tuple[ndarray, int]:
    """Make noise that has only high frequencies, all equally strong.

    Args:
        count: count of samples.
        low: the lowest frequency of the band, as a fraction of the Nyquist frequency; the spectrum is zero below it.
        high: the highest frequency of the band, as a fraction of the Nyquist frequency; the spectrum is zero above it.
        rate: samples per second.

    Returns:
        The sound, float64 [n, 1], and the sample rate.
    """
    frequency = np.fft.rfftfreq(count) * 2
    phase = np.random.default_rng(2509).uniform(0, 2 * np.pi, len(frequency))
    sound = np.fft.irfft(np.where((frequency >= low) & (frequency <= high), np.exp(1j * phase), 0), count)
    return (0.9 * sound / np.abs(sound).max())[:, None], rate


def metaballs(size: int = 64, balls: int = 14) -> ndarray:
    """Make the opacity of overlapping Gaussian balls of several sizes, float32 [size, size, size], 0 to 1.

    Args:
        size: samples per axis.
        balls: count of balls.
    """
    rng = np.random.default_rng(2509)
    x, y, z = _make_unit_grid(size)
    density = np.zeros_like(x)
    for (a, b, c), radius in zip(rng.uniform(-0.6, 0.6, (balls, 3)), rng.uniform(0.08, 0.3, balls), strict=True):
        density += np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / (2 * radius**2))
    return (1 - np.exp(-2 * density)).astype(np.float32)


def sponge(size: int = 64, periods: float = 3.0) -> ndarray:
    """Make the occupancy of a ball of gyroid sponge whose pores are finer on one side, bool [size, size, size].

    Args:
        size: samples per axis.
        periods: periods of the gyroid across the whole volume, in its middle.
    """
    x, y, z = _make_unit_grid(size)
    kx, ky, kz = (np.pi * periods * (1 + 0.3 * x) * axis for axis in (x, y, z))
    gyroid = np.sin(kx) * np.cos(ky) + np.sin(ky) * np.cos(kz) + np.sin(kz) * np.cos(kx)
    return (np.abs(gyroid) < 0.5) & (x**2 + y**2 + z**2 < 0.85)


def sample(table: Mapping[str, Callable[[], Made]], source: str, noun: str) -> Made:
    """Make the built-in target that ``sample:NAME`` names.

    Args:
        table: functions that make the targets, by name.
        source: ``sample:NAME``.
        noun: what error messages call such a target.

    Raises:
        SignalError: the table has no such name.
    """
    name = source.removeprefix("sample:")
    if name not in table:
        raise SignalError(f"sample:{name}: no such built-in {noun}; there are: {', '.join(sorted(table))}")
    return table[name]()


SHAPES: dict[str, Callable[[], "trimesh.Trimesh"]] = {
    "cog": cog,
    "gyroid-ball": gyroid_ball,
    "knot": knot,
    "urchin": urchin,
}
"""The built-in shapes by the name that follows ``sample:`` on the command line."""
IMAGES: dict[str, Callable[[], ndarray]] = {"mandala": mandala, "weave": weave}
"""The built-in pictures."""
SOUNDS: dict[str, Callable[[], tuple[ndarray, int]]] = {"bells": bells, "crickets": crickets, "hiss": hiss}
"""The built-in sounds."""
VOLUMES: dict[str, Callable[[], ndarray]] = {"metaballs": metaballs, "sponge": sponge}
"""The built-in volumes."""


def _make_unit_grid(size: int) -> list[ndarray]:
    """Return the coordinates x, y and z of a grid of `size` samples per axis in [-1, 1]^3."""
    axis = np.linspace(-1, 1, size)
    return np.meshgrid(axis, axis, axis, indexing="ij")


def _extract_zero_surface(values: ndarray, axis: ndarray) -> "trimesh.Trimesh":
    """Extract the surface at 0 of values on a cubic grid, whose coordinates along each axis are `axis`."""
    import mcubes
    import trimesh

    vertices, faces = mcubes.marching_cubes(values, 0.0)
    # Reversed, because PyMCubes orients faces towards the lower values, which are inside.
    return trimesh.Trimesh(axis[0] + vertices * (axis[1] - axis[0]), faces[:, ::-1], process=True)


def _select_largest_component(mesh: "trimesh.Trimesh") -> "trimesh.Trimesh":
    """Return the connected component that has the most faces."""
    return max(mesh.split(only_watertight=False), key=lambda part: len(part.faces))


def _mesh_torus(vertices: ndarray) -> "trimesh.Trimesh":
    """Join a grid of vertices [rows, columns, 3] whose opposite sides meet to a watertight mesh."""
    import trimesh

    rows, columns, _ = vertices.shape
    i, j = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    a, b = i * columns + j, (i + 1) % rows * columns + j
    c, d = (i + 1) % rows * columns + (j + 1) % columns, i * columns + (j + 1) % columns
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    mesh = trimesh.Trimesh(vertices.reshape(-1, 3), faces, process=False)
    if mesh.volume < 0:
        mesh.invert()
    return mesh
