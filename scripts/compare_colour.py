"""Compare WINNER's start with SIREN's for the colours of textured shapes, at equal steps.

Three shapes and a texture of 512 x 512 texels are made by code, and the colours are fitted with several seeds. Every
result is written at once, so that the script can be stopped and started again::

    python scripts/compare_colour.py --output cells.json --texture leaves
    python scripts/compare_colour.py --output single.json --texture leaves --single

The texture "leaves" is that of a scanned object: overlapping patches of all sizes with sharp borders, as photographs
have them (the dead leaves model: Lee, Mumford and Huang 2001, doi:10.1023/A:1011109015675), and soft shading, of the
same fineness everywhere on the surface. The others are patterns of the unit square.

The table has the shape, the seed, the texture's centroid, and the PSNR of the colours from SIREN's and WINNER's start.
"""

import argparse
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from scipy.spatial import cKDTree

from winner_nerfstudio import fit
from winner_nerfstudio.experiments.runs import PROGRAM
from winner_nerfstudio.signals.cloud import load_surface
from winner_nerfstudio.signals.messages import error_line
from winner_nerfstudio.signals.shape.painting import Painting
from winner_nerfstudio.storage import write_whole

SIZE = 512
LEAVES, LEAST, LARGEST = 3000, 0.015, 0.4
"""Number of patches and their least and greatest radius, beside half a shape's size."""
SHAPES = ("torus", "sphere", "box")
TEXTURES = ("leaves", "weave", "discs", "grain")


def make_noise(rng, low, high, slope=0.0):
    """Return noise [SIZE, SIZE, 3] of unit variance with frequencies from `low` to `high` cycles, without seams."""
    index = np.fft.fftfreq(SIZE) * SIZE
    cycles = np.hypot(*np.meshgrid(index, index))
    band = np.exp(-((cycles / high) ** 4)) * (cycles >= low) / cycles.clip(1) ** slope
    noise = np.stack([np.fft.ifft2(np.fft.fft2(rng.standard_normal((SIZE, SIZE))) * band).real for _ in range(3)], -1)
    return noise / noise.std((0, 1))


def make_texture(name, seed):
    """Return a texture [SIZE, SIZE, 3] of 8 bits: discs before clouds, a woven pattern, or grain."""
    rng = np.random.default_rng([seed, len(name)])
    base = 0.5 + 0.12 * make_noise(rng, 1, 30, 1.2)
    rows, columns = np.mgrid[:SIZE, :SIZE] / SIZE
    if name == "weave":
        warp = np.sin(2 * np.pi * (rng.integers(36, 44) * columns + rng.integers(-6, 6) * rows))
        weft = np.sin(2 * np.pi * (rng.integers(36, 44) * rows + rng.integers(-6, 6) * columns))
        base += 0.15 * warp[..., None] * rng.uniform(-1, 1, 3) + 0.15 * weft[..., None] * rng.uniform(-1, 1, 3)
    elif name == "grain":
        base += 0.08 * make_noise(rng, 20, 50)
    for _ in range(40 * (name == "discs")):
        center, radius = rng.uniform(0, 1, 2), rng.uniform(0.02, 0.08)
        off = np.hypot(*((axis - middle + 0.5) % 1 - 0.5 for axis, middle in zip((columns, rows), center, strict=True)))
        cover = 0.6 * np.clip((radius - off) * SIZE / 2 + 0.5, 0, 1)[..., None]
        base = base * (1 - cover) + cover * rng.uniform(0, 1, 3)
    return np.rint(base.clip(0, 1) * 255).astype(np.uint8)


def make_leaves(place, seed):
    """Return a texture [SIZE, SIZE, 3] of 8 bits that shows patches on a surface given over the unit square."""
    rng = np.random.default_rng(seed)
    rows, columns = (np.mgrid[: 2 * SIZE, : 2 * SIZE].reshape(2, -1) + 0.5) / (2 * SIZE)
    points = place(columns, 1 - rows)
    radius = (LEAST**-2 + rng.random(LEAVES) * (LARGEST**-2 - LEAST**-2)) ** -0.5
    centers = points[rng.integers(len(points), size=LEAVES)]
    paints = rng.uniform(0.05, 0.45, (LEAVES, 3)) + rng.uniform(0.05, 0.45, (LEAVES, 1))
    colors, tree = np.full(points.shape, 0.5), cKDTree(points)
    for center, reach, paint in zip(centers, radius, paints, strict=True):
        colors[tree.query_ball_point(center, reach)] = paint
    for cycles in (1, 2, 4, 8):
        ahead = rng.standard_normal(3)
        wave = np.cos(2 * np.pi * cycles * points @ (ahead / np.linalg.norm(ahead)) + rng.uniform(0, 2 * np.pi))
        colors += 0.04 * wave[:, None]
    colors = colors.reshape(SIZE, 2, SIZE, 2, 3).mean((1, 3))
    return np.rint(colors.clip(0, 1) * 255).astype(np.uint8)


def make_grid(place, across, down):
    """Return vertices, texture coordinates (upwards) and triangles of a surface given over the unit square."""
    u, v = (axis.reshape(-1) for axis in np.meshgrid(np.linspace(0, 1, across + 1), np.linspace(0, 1, down + 1)))
    first = (np.arange(down)[:, None] * (across + 1) + np.arange(across)).reshape(-1, 1, 1)
    halves = np.array([(0, 1, across + 2), (0, across + 2, across + 1)])
    return place(u, v), np.stack([u, v], -1), (first + halves).reshape(-1, 3)


def place_sphere(u, v):
    """Return points of a sphere by longitude and latitude."""
    around, up = 2 * np.pi * u, np.pi * (v - 0.5)
    return np.stack([np.cos(around) * np.cos(up), np.sin(around) * np.cos(up), np.sin(up)], -1)


def place_torus(u, v):
    """Return points of a torus by its two angles."""
    around, tube = 2 * np.pi * u, 2 * np.pi * v
    radius = 1 + 0.45 * np.cos(tube)
    return np.stack([radius * np.cos(around), radius * np.sin(around), 0.45 * np.sin(tube)], -1)


def place_box(u, v):
    """Return points of a box whose sides lie in three columns and two rows of the unit square."""
    column, row = (np.minimum((count * axis).astype(int), count - 1) for count, axis in ((3, u), (2, v)))
    points = np.stack([np.ones_like(u), 6 * u - 2 * column - 1, 4 * v - 2 * row - 1], -1)
    points = np.take_along_axis(points, (np.arange(3) - column[:, None]) % 3, 1)
    return np.where(np.arange(3) == column[:, None], 1.0 - 2 * row[:, None], points)


def make_box(is_whole):
    """Return a box each of whose sides has all of the texture, or its part of it, see `place_box`."""
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    points, uv, faces = [], [], []
    for side in range(6):
        column, row = side % 3, side // 3
        inner = (corners * (1 - 1 / SIZE) + 1) / 2
        uv.append((corners + 1) / 2 if is_whole else (inner + np.array([column, row])) / (3, 2))
        on_side = np.stack([np.full(4, 1 - 2 * row), *corners.T], -1)
        points.append(np.roll(on_side, column, axis=1))
        faces += [4 * side + np.array(face)[:: 1 - 2 * row] for face in ((0, 1, 2), (0, 2, 3))]
    return np.concatenate(points).astype(float), np.concatenate(uv), np.array(faces)


def write_shape(name, texture, seed, folder):
    """Write a textured shape as .obj, .mtl and .png, and return the path of the first."""
    place = {"sphere": place_sphere, "torus": place_torus, "box": place_box}[name]
    points, uv, faces = make_box(texture != "leaves") if name == "box" else make_grid(place, 128, 64)
    lines = ["mtllib shape.mtl", *(f"v {point[0]} {point[1]} {point[2]}" for point in points)]
    lines += [*(f"vt {pair[0]} {pair[1]}" for pair in uv), "usemtl paint"]
    lines += ["f " + " ".join(f"{corner}/{corner}" for corner in face) for face in faces + 1]
    (folder / "shape.obj").write_text("\n".join(lines) + "\n")
    (folder / "shape.mtl").write_text("newmtl paint\nmap_Kd paint.png\n")
    pixels = make_leaves(place, seed) if texture == "leaves" else make_texture(texture, seed)
    Image.fromarray(pixels).save(folder / "paint.png")
    return folder / "shape.obj"


def compare(name, texture, seed, options):
    """Return the PSNR of the colours of a shape, at points never fitted, by the start; the options are the same."""
    with TemporaryDirectory() as folder:
        shape = load_surface(write_shape(name, texture, seed, Path(folder)), colors=True)
    result = options | {"psi": Painting(shape).centroid}
    for init in ("winner", "siren"):
        # The colours alone: beside a distance they come out alike, see tests/test_colors.py.
        began = time.process_time()
        fitted = fit(Painting(shape), seed=seed, init=init, progress=False, **options)
        result[f"{init} seconds"] = time.process_time() - began
        result[init] = fitted.provenance["figures"]["psnr_colour"]
    return result


def main():
    """Fit what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("colour.json"))
    parser.add_argument("--texture", choices=TEXTURES, default=TEXTURES[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="the default's if left out")
    parser.add_argument("--single", action="store_true", help="one network instead of cells")
    arguments = parser.parse_args()
    options = {"steps": arguments.steps} | ({"parts": (1,)} if arguments.single else {})
    if arguments.seeds < 1 or (arguments.steps is not None and arguments.steps < 1):
        parser.error("--seeds and --steps must be at least 1")
    try:
        done = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
        write_whole(arguments.output, json.dumps(done, indent=1).encode())  # which fails now rather than after a fit
    except OSError as error:
        parser.exit(1, error_line(error) + "\n")
    except ValueError as error:
        parser.exit(1, f"error: {arguments.output}: holds no results of this script ({error}); name another file\n")
    for seed in range(arguments.seeds):
        for name in SHAPES:
            key = " ".join(map(str, (name, arguments.texture, seed, *options.values(), PROGRAM)))
            if key not in done:
                done[key] = compare(name, arguments.texture, seed, options)
                write_whole(arguments.output, json.dumps(done, indent=1).encode())
            row = done[key]
            print(f"| {name} | {seed} | {row['psi']:.3f} | {row['siren']:.1f} | {row['winner']:.1f} |", flush=True)


if __name__ == "__main__":
    main()
