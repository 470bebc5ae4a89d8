"""A camera path once around a shape or a volume, for ``ns-render camera-path``; ``scripts/turntable.sh`` runs both."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
import yaml

from ...registry import kind_named
from ..models.base import model_class
from ..models.surface import SurfaceModel
from .cameras import FIELD_OF_VIEW, look_at_origin, orbit


@dataclass
class Arguments:
    """What to write."""

    load_config: Path
    """The run's config.yml; read as ns-render reads it, in a way that can run code."""
    output: Path
    """The camera path, .json."""
    frames: int = 120
    """Pictures of the whole turn."""
    seconds: float = 5.0
    """Duration of the video."""
    size: int = 512
    """Width and height, pixels."""


def camera_path(up: str, frames: int, seconds: float, size: int, farther: float = 1.0) -> dict[str, Any]:
    """The path as nerfstudio's viewer would save it: a full turn about the axis `up` in equal steps."""
    poses = look_at_origin(farther * orbit(up, frames), up).camera_to_worlds
    last = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    return {
        "camera_type": "perspective",
        "render_height": size,
        "render_width": size,
        "fps": frames / seconds,
        "seconds": seconds,
        "camera_path": [
            {"camera_to_world": torch.cat([pose, last]).flatten().tolist(), "fov": FIELD_OF_VIEW, "aspect": 1}
            for pose in poses
        ],
    }


def main() -> None:
    """Write the path; a mistake ends the program with one line and exit status 1."""
    arguments = tyro.cli(Arguments, description=__doc__)
    if min(arguments.frames, arguments.seconds, arguments.size) <= 0 or arguments.size % 2:
        raise SystemExit("error: frames, seconds and size must be positive, and the size even, as video wants it")
    config = yaml.load(arguments.load_config.read_text("utf8"), Loader=yaml.Loader)
    data = config.pipeline.datamanager.dataparser
    model = model_class(kind_named(data.kind))
    if not issubclass(model, SurfaceModel):
        raise SystemExit(
            f"error: {arguments.load_config}: a turntable is for shapes and volumes, not for what lies in a plane"
        )
    path = camera_path(data.options.up, arguments.frames, arguments.seconds, arguments.size, model.room)
    arguments.output.write_text(json.dumps(path), "utf8")


if __name__ == "__main__":
    main()
