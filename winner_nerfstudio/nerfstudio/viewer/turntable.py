"""Writes a camera path once around a shape or a volume, for ``ns-render camera-path``.

``scripts/turntable.sh`` runs both.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
import yaml
from nerfstudio.engine.trainer import TrainerConfig

from ...registry import kind_named
from ...signals.messages import error_line, shorten
from ..config.dataparsers import SignalDataParserConfig
from ..models.base import model_class
from ..models.surface import SurfaceModel
from .cameras import FIELD_OF_VIEW, look_at_origin, orbit


@dataclass
class Arguments:
    """The run that is filmed, and the film."""

    load_config: Path
    """The run's config.yml. Like ns-render, this can run code that the file contains; open only files you trust."""
    output: Path
    """The file to write the camera path to, .json."""
    frames: int = 120
    """Number of pictures of the whole turn."""
    seconds: float = 5.0
    """Duration of the video."""
    size: int = 512
    """Width and height of the video, pixels; an even number."""


def make_camera_path(up: str, frames: int, seconds: float, size: int, farther: float = 1.0) -> dict[str, Any]:
    """Make the path of a full turn in equal steps, in the form in which nerfstudio's viewer saves one.

    Args:
        up: the axis of the turn, "x", "y" or "z", which points up.
        frames: number of pictures.
        seconds: duration of the video.
        size: width and height, pixels.
        farther: factor of the cameras' distance from the origin.
    """
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
    """Write the path; a mistake ends the program with a message of one line and exit status 1."""
    arguments = tyro.cli(Arguments, description=__doc__)
    if min(arguments.frames, arguments.seconds, arguments.size) <= 0 or arguments.size % 2:
        raise SystemExit(
            f"error: --frames {arguments.frames}, --seconds {arguments.seconds:g} and --size {arguments.size} must be"
            " positive, and the size even, as video requires"
        )
    try:
        config = yaml.load(arguments.load_config.read_text("utf8"), Loader=yaml.Loader)
    except OSError as error:
        raise SystemExit(error_line(error)) from None
    except (ValueError, yaml.YAMLError) as error:
        raise SystemExit(f"error: {arguments.load_config}: not the config.yml of a run ({shorten(error)})") from None
    data = getattr(config.pipeline.datamanager, "dataparser", None) if isinstance(config, TrainerConfig) else None
    model = model_class(kind_named(data.kind)) if isinstance(data, SignalDataParserConfig) else None
    if data is None or model is None or not issubclass(model, SurfaceModel):
        raise SystemExit(
            f"error: {arguments.load_config}: a turntable needs the config.yml of a run of a shape or a volume; images"
            " and sounds are seen in a plane, and runs on photographs have cameras of their own"
        )
    path = make_camera_path(data.options.up, arguments.frames, arguments.seconds, arguments.size, model.room)
    try:
        arguments.output.write_text(json.dumps(path), "utf8")
    except OSError as error:
        raise SystemExit(error_line(error)) from None


if __name__ == "__main__":
    main()
