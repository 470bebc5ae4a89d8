"""Data parsers: from what the command line says to a `Signal`.

nerfstudio imports this module while it is itself half imported, and for every method: it may import nothing but the
few nerfstudio modules below, and no heavy library at the top.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.data.dataparsers.base_dataparser import DataParser, DataParserConfig, DataparserOutputs
from nerfstudio.data.scene_box import SceneBox
from nerfstudio.plugins.registry_dataparser import DataParserSpecification

from .quiet import quiet_imports

if TYPE_CHECKING:
    from ..signals.signal import Signal

quiet_imports()

VIEWPOINTS = {"y": (1.9, 1.4, 2.6), "z": (1.9, -2.6, 1.4)}
"""Where the first view stands, unit-cube coordinates, by the axis that points up: the whole shape is in frame."""
FIELD_OF_VIEW = 55.0
"""Of that camera, vertical, degrees."""


@dataclass
class ShapeDataParserConfig(DataParserConfig):
    """A surface: a mesh file, or sample:NAME for a built-in one."""

    _target: type = field(default_factory=lambda: ShapeDataParser)
    data: Path = Path()
    """Mesh file (.obj .ply .stl .off .glb) or sample:NAME."""
    surface_fraction: float = 0.3
    """Part of the training points that lie on the surface."""
    near_fraction: float = 0.5
    """Part of the training points that lie near the surface; the rest fills the cube."""
    up: Literal["y", "z"] = "y"
    """Axis that points up in pictures and in the viewer; the data stays as it is."""


class SignalDataParser(DataParser):
    """Loads a signal and hands it over in nerfstudio's outputs: ``metadata["signal"]``, transform and scale."""

    def load(self) -> "Signal":
        """The signal that the config names.

        Raises:
            SignalError: it cannot be used.
        """
        raise NotImplementedError

    def first_view(self) -> Cameras:
        """Where pictures are taken from and the viewer starts."""
        raise NotImplementedError

    def _generate_dataparser_outputs(self, split: str = "train", **kwargs: Any) -> DataparserOutputs:
        """The outputs; a user's mistake ends the program with its one line and exit status 1."""
        from ..signals.errors import SignalError

        try:
            signal = self.load()
        except SignalError as error:
            raise SystemExit(f"error: {error}") from None
        transform = torch.eye(4)[:3]
        transform[: len(signal.normalization.center), 3] = -torch.tensor(signal.normalization.center)
        return DataparserOutputs(
            image_filenames=[],
            cameras=self.first_view(),
            scene_box=SceneBox(aabb=torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])),
            metadata={"signal": signal},
            dataparser_transform=transform,
            dataparser_scale=signal.normalization.scale,
        )


class ShapeDataParser(SignalDataParser):
    """Loads a `Shape`."""

    config: ShapeDataParserConfig

    def first_view(self) -> Cameras:
        """A corner view with the chosen axis up."""
        return corner_view(self.config.up)

    def load(self) -> "Signal":
        """See `load_shape`."""
        from ..signals.errors import SignalError
        from ..signals.samples import SAMPLES

        if self.config.data == Path():
            raise SignalError(
                "no target given; name one with --data FILE (.obj .ply .stl .off .glb) or one of "
                + ", ".join(f"--data sample:{name}" for name in sorted(SAMPLES))
            )
        return _load_shape(str(self.config.data), self.config.surface_fraction, self.config.near_fraction)


@lru_cache(maxsize=1)
def _load_shape(source: str, surface: float, near: float) -> "Signal":
    # Kept, because a run loads its target twice: to check it before anything is written, and to train.
    from ..signals.errors import SignalError
    from ..signals.shape import Mix, load_shape

    try:
        mix = Mix(surface, near)
    except ValueError as error:
        raise SignalError(f"shape-data: {error}") from None
    return load_shape(source, mix)


def corner_view(up: str, width: int = 512, height: int = 512) -> Cameras:
    """A camera at one of `VIEWPOINTS` that looks at the origin."""
    position = torch.tensor(VIEWPOINTS[up])
    backward = position / position.norm()
    right = torch.linalg.cross(torch.eye(3)["xyz".index(up)], backward)
    right = right / right.norm()
    pose = torch.stack([right, torch.linalg.cross(backward, right), backward, position], dim=-1)
    focal = height / 2 / torch.tan(torch.deg2rad(torch.tensor(FIELD_OF_VIEW / 2)))
    return Cameras(pose[None], focal, focal, width / 2, height / 2, width, height)


DATAPARSERS: dict[str, Callable[[], DataParserConfig]] = {"shape-data": ShapeDataParserConfig}
"""The data parsers by their name on the command line."""

shape_data = DataParserSpecification(ShapeDataParserConfig(), "A surface from a mesh file or a built-in sample.")
