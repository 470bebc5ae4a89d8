"""Renders photographs of a shape from all sides, as a data set that nerfstudio-data and blender-data read.

The shape gets a texture with fine detail, and light that does not depend on the camera's position. The cameras are
spread evenly over a sphere and look at its centre; every eighth photograph is for testing.
"""

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy import ndarray
from PIL import Image

from winner_nerfstudio.signals.errors import SignalError
from winner_nerfstudio.signals.shape import Shape, load_shape

DISTANCE = 3.5
"""Distance of the cameras from the centre of the unit cube, unit-cube lengths."""
FIELD_OF_VIEW = 34.0
"""Horizontal and vertical field of view, degrees; a ball of radius 1 just fits."""
LIGHT = (0.4, 0.8, 0.45)
"""Direction towards the light."""
AMBIENT = 0.55
"""Part of the light that comes from everywhere."""
TEST_EVERY = 8
"""One of so many photographs is for testing."""


@dataclass
class Arguments:
    """The photographs to render."""

    output: Path
    """Folder of the data set; created if it does not exist."""
    data: str = "sample:knot"
    """A mesh file, or sample:NAME."""
    views: int = 40
    """Number of photographs."""
    size: int = 100
    """Width and height of each photograph, pixels."""
    detail: float = 30.0
    """Frequency of the texture, radians per unit-cube length."""
    background: str = "alpha"
    """Background: "alpha" is transparent, "white" is white."""
    supersampling: int = 3
    """Rays per pixel along each axis."""


def texture(points: ndarray, detail: float) -> ndarray:
    """Compute the texture's colours: slow waves, and crossed waves of a higher frequency.

    Args:
        points: points of the unit cube, [n, 3].
        detail: frequency of the crossed waves, radians per unit-cube length.

    Returns:
        The colours, [n, 3] in [0, 1].
    """
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
    colors: ndarray = 0.5 + 0.2 * slow + 0.3 * fine
    return colors


def look_at_middle(count: int) -> ndarray:
    """Return poses of cameras on a Fibonacci lattice that look at the centre of the unit cube, z being up.

    Args:
        count: number of cameras.

    Returns:
        Transforms from each camera, with OpenGL's axes, to the unit cube, [count, 4, 4].
    """
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
    """Render one view of a shape by ray casting.

    Args:
        shape: the shape.
        pose: transform from the camera, with OpenGL's axes, to the unit cube, [4, 4].
        size: width and height of the view, pixels.
        detail: frequency of the texture, radians per unit-cube length.
        supersampling: rays per pixel along each axis.

    Returns:
        Straight (not premultiplied) colours and opacity in [0, 1], [size, size, 4].
    """
    fine = size * supersampling
    axis = ((np.arange(fine) + 0.5) / fine * 2 - 1) * math.tan(math.radians(FIELD_OF_VIEW / 2))
    across, down = np.meshgrid(axis, axis)
    directions = np.stack([across, -down, -np.ones_like(across)], -1).reshape(-1, 3) @ pose[:3, :3].T
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    origins = np.tile(pose[:3, 3], (len(directions), 1))
    depth, hit, normals = shape.cast_rays(origins, directions)
    points = origins + depth[:, None] * directions
    light = AMBIENT + (1 - AMBIENT) * (normals @ (np.array(LIGHT) / np.linalg.norm(LIGHT))).clip(0)
    samples = np.concatenate([texture(points, detail) * light[:, None], np.ones((len(points), 1))], -1) * hit[:, None]
    pixels: ndarray = samples.reshape(size, supersampling, size, supersampling, 4).mean((1, 3))
    pixels[..., :3] /= pixels[..., 3:].clip(1e-9)
    return pixels


def render(shape: Shape, arguments: Arguments) -> None:
    """Render the photographs and write the data set.

    ``transforms.json`` is for nerfstudio-data, ``transforms_SPLIT.json`` for blender-data.
    """
    (arguments.output / "images").mkdir(parents=True, exist_ok=True)
    frames: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    for index, pose in enumerate(look_at_middle(arguments.views)):
        pixels = photograph(shape, pose, arguments.size, arguments.detail, arguments.supersampling)
        if arguments.background == "white":
            pixels = pixels[..., :3] * pixels[..., 3:] + 1 - pixels[..., 3:]
        name = f"images/{index:04d}"
        Image.fromarray((pixels * 255 + 0.5).astype(np.uint8)).save(arguments.output / f"{name}.png")
        # In the coordinates of the mesh file, which differ from the unit cube's by a scale and a shift.
        world = pose.copy()
        world[:3, 3] = shape.normalization.to_world(pose[:3, 3])
        split = "test" if index % TEST_EVERY == TEST_EVERY // 2 else "train"
        frames[split].append({"file_path": name, "transform_matrix": world.tolist()})
    transforms = describe_photographs(frames, arguments.size)
    (arguments.output / "transforms.json").write_text(json.dumps(transforms, indent=1), "utf8")
    for split, part in {**frames, "val": frames["test"]}.items():
        blender = {"camera_angle_x": math.radians(FIELD_OF_VIEW), "frames": part}
        (arguments.output / f"transforms_{split}.json").write_text(json.dumps(blender, indent=1), "utf8")


def describe_photographs(frames: dict[str, list[dict[str, Any]]], size: int) -> dict[str, Any]:
    """Return the contents of ``transforms.json``.

    Args:
        frames: name without suffix and pose of each photograph, for the splits "train" and "test".
        size: width and height of the photographs, pixels.
    """
    focal = size / 2 / math.tan(math.radians(FIELD_OF_VIEW / 2))
    names = {split: [f"{frame['file_path']}.png" for frame in part] for split, part in frames.items()}
    camera = {"w": size, "h": size, "fl_x": focal, "fl_y": focal, "cx": size / 2, "cy": size / 2}
    return {
        "camera_model": "OPENCV",
        **camera,
        "train_filenames": names["train"],
        "val_filenames": names["test"],
        "test_filenames": names["test"],
        "frames": [frame | {"file_path": f"{frame['file_path']}.png"} for part in frames.values() for frame in part],
    }


def main() -> None:
    """Render the photographs; a mistake ends the program with a message of one line and exit status 1."""
    arguments = tyro.cli(Arguments, description=__doc__)
    if arguments.background not in ("alpha", "white"):
        sys.exit(f"error: --background {arguments.background} is neither alpha nor white; use one of these")
    if arguments.views < TEST_EVERY or arguments.size < 1 or arguments.supersampling < 1:
        sys.exit(f"error: --views must be at least {TEST_EVERY}, --size and --supersampling at least 1")
    try:
        render(load_shape(arguments.data), arguments)
    except (SignalError, OSError) as error:
        sys.exit(f"error: {error}")
    box = "nerfstudio-data --orientation-method none --center-method focus --scene-scale 0.3"
    print(f"{arguments.views} photographs written. Next: ns-train winner-nerf --data {arguments.output} {box}")


if __name__ == "__main__":
    main()
