"""Photographs of a shape from all around, by ray casting, as a data set that nerfstudio-data and blender-data read.

The shape gets a texture of fine detail and light that doesn't depend on where one stands. Cameras stand evenly on a
sphere and look at the middle; every eighth is kept for testing.
"""

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from numpy import ndarray
from PIL import Image

from winner_nerfstudio.signals.errors import SignalError
from winner_nerfstudio.signals.shape import Shape, load_shape

DISTANCE = 3.5
"""From the cameras to the middle, unit cube."""
FIELD_OF_VIEW = 34.0
"""Degrees, both ways: a ball of radius 1 in the unit cube just fits."""
LIGHT = (0.4, 0.8, 0.45)
AMBIENT = 0.55
TEST_EVERY = 8


@dataclass
class Arguments:
    """What to render."""

    output: Path
    """Folder of the data set; made if it isn't there."""
    data: str = "sample:knot"
    """A mesh file, or sample:NAME."""
    views: int = 40
    """Photographs."""
    size: int = 100
    """Width and height of each, pixels."""
    detail: float = 30.0
    """Frequency of the texture, radians per unit of the unit cube."""
    background: str = "alpha"
    """"alpha" leaves it transparent, "white" fills it."""
    supersampling: int = 3
    """Rays per pixel and axis."""


def texture(points: ndarray, detail: float) -> ndarray:
    """Colours in [0, 1] at points [n, 3] of the unit cube: slow waves, and crossed ones of `detail` radians a unit."""
    x, y, z = points.T
    slow = np.stack([np.sin(2.1 * x + 1.3 * y), np.sin(1.7 * y - 2.3 * z + 1), np.sin(2.6 * z + 1.1 * x + 2)], -1)
    fine = np.stack(
        [
            np.sin(detail * (0.8 * x + 0.6 * y)) * np.sin(detail * (0.6 * z - 0.8 * y)),
            np.sin(detail * (0.8 * y + 0.6 * z) + 1) * np.sin(detail * (0.6 * x - 0.8 * z)),
            np.sin(detail * (0.8 * z + 0.6 * x) + 2) * np.sin(detail * (0.6 * y - 0.8 * x)),
        ],
        -1,
    )
    return 0.5 + 0.2 * slow + 0.3 * fine


def look_at_middle(count: int) -> ndarray:
    """Poses [n, 4, 4] from cameras to the unit cube, OpenGL's axes, on a Fibonacci lattice, z up."""
    height = 1 - (2 * np.arange(count) + 1) / count
    turn = np.arange(count) * math.pi * (3 - math.sqrt(5))
    back = np.stack([np.sqrt(1 - height**2) * np.cos(turn), np.sqrt(1 - height**2) * np.sin(turn), height], -1)
    right = np.cross([0.0, 0.0, 1.0], back)
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = np.stack([right, np.cross(back, right), back], -1)
    poses[:, :3, 3] = DISTANCE * back
    return poses


def photograph(shape: Shape, pose: ndarray, size: int, detail: float, supersampling: int) -> ndarray:
    """One view, straight colours and opacity in [0, 1], [size, size, 4]."""
    fine = size * supersampling
    axis = ((np.arange(fine) + 0.5) / fine * 2 - 1) * math.tan(math.radians(FIELD_OF_VIEW / 2))
    across, down = np.meshgrid(axis, axis)
    directions = np.stack([across, -down, -np.ones_like(across)], -1).reshape(-1, 3) @ pose[:3, :3].T
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    origins = np.tile(pose[:3, 3], (len(directions), 1))
    along, hit, normals = shape.cast_rays(origins, directions)
    points = origins + along[:, None] * directions
    lit = AMBIENT + (1 - AMBIENT) * (normals @ (np.array(LIGHT) / np.linalg.norm(LIGHT))).clip(0)
    seen = np.concatenate([texture(points, detail) * lit[:, None], np.ones((len(points), 1))], -1) * hit[:, None]
    pixels = seen.reshape(size, supersampling, size, supersampling, 4).mean((1, 3))
    pixels[..., :3] /= pixels[..., 3:].clip(1e-9)
    return pixels


def render(shape: Shape, arguments: Arguments) -> None:
    """Write the photographs, ``transforms.json`` for nerfstudio-data and ``transforms_SPLIT.json`` for blender-data."""
    folder, size = arguments.output / "images", arguments.size
    folder.mkdir(parents=True, exist_ok=True)
    frames: dict[str, list[dict]] = {"train": [], "test": []}
    for number, pose in enumerate(look_at_middle(arguments.views)):
        pixels = photograph(shape, pose, size, arguments.detail, arguments.supersampling)
        if arguments.background == "white":
            pixels = pixels[..., :3] * pixels[..., 3:] + 1 - pixels[..., 3:]
        name = f"images/{number:04d}"
        Image.fromarray((pixels * 255 + 0.5).astype(np.uint8)).save(arguments.output / f"{name}.png")
        # In the mesh's own world: turned nowhere, scaled and moved back.
        world = pose.copy()
        world[:3, 3] = shape.normalization.to_world(pose[:3, 3])
        split = "test" if number % TEST_EVERY == TEST_EVERY // 2 else "train"
        frames[split].append({"file_path": name, "transform_matrix": world.tolist()})
    focal = size / 2 / math.tan(math.radians(FIELD_OF_VIEW / 2))
    names = {split: [f"{frame['file_path']}.png" for frame in part] for split, part in frames.items()}
    camera = {"w": size, "h": size, "fl_x": focal, "fl_y": focal, "cx": size / 2, "cy": size / 2}
    transforms = {
        "camera_model": "OPENCV",
        **camera,
        "train_filenames": names["train"],
        "val_filenames": names["test"],
        "test_filenames": names["test"],
        "frames": [frame | {"file_path": f"{frame['file_path']}.png"} for part in frames.values() for frame in part],
    }
    (arguments.output / "transforms.json").write_text(json.dumps(transforms, indent=1), "utf8")
    for split, part in {**frames, "val": frames["test"]}.items():
        blender = {"camera_angle_x": math.radians(FIELD_OF_VIEW), "frames": part}
        (arguments.output / f"transforms_{split}.json").write_text(json.dumps(blender, indent=1), "utf8")


def main() -> None:
    """Render; a mistake ends the program with one line and exit status 1."""
    arguments = tyro.cli(Arguments, description=__doc__)
    if arguments.background not in ("alpha", "white"):
        sys.exit(f"error: --background {arguments.background} is neither alpha nor white")
    if arguments.views < TEST_EVERY or arguments.size < 1 or arguments.supersampling < 1:
        sys.exit(f"error: --views must be at least {TEST_EVERY}, --size and --supersampling at least 1")
    try:
        render(load_shape(arguments.data), arguments)
    except (SignalError, OSError) as error:
        sys.exit(f"error: {error}")
    box = "nerfstudio-data --orientation-method none --center-method focus --scene-scale 0.3"
    print(f"{arguments.views} photographs. Next: ns-train winner-nerf --data {arguments.output} {box}")


if __name__ == "__main__":
    main()
