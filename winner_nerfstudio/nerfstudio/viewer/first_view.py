"""The view that each client of the viewer starts with."""

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.viewer.viewer_elements import ViewerControl
from torch import Tensor

from .cameras import FIELD_OF_VIEW

VISER_SCALE = 10.0
"""viser units per nerfstudio unit."""


def nearest_up_axis(cameras: Cameras) -> Float[Tensor, " 3"]:
    """Return the unit vector of the axis, x, y or z, that is nearest to the up direction of the first camera."""
    return torch.eye(3)[cameras.camera_to_worlds[0, :, 1].abs().argmax()]


class FirstView(ViewerControl):
    """Starts each client of the viewer at a camera, looking at the origin; nerfstudio would start inside the shape.

    Args:
        cameras: the first of them is the one to start at; the axis nearest to its up direction points up.
    """

    def __init__(self, cameras: Cameras) -> None:
        super().__init__()
        self.position = cameras.camera_to_worlds[0, :, 3].cpu().numpy()
        self.up = nearest_up_axis(cameras).cpu().numpy()

    def _setup(self, viewer: Any) -> None:
        """Set the view up when a viewer starts; nerfstudio calls this."""
        super()._setup(viewer)
        # nerfstudio's own title bar fetches its logo from the internet.
        self.viser_server.gui.configure_theme(control_layout="collapsible", dark_mode=True, brand_color=(255, 211, 105))
        self.viser_server.scene.set_up_direction(tuple(self.up))
        self.viser_server.on_client_connect(self._start)
        # nerfstudio writes the step into the panel during training only, and leaves 0 there for a finished run.
        self.viser_server.on_client_connect(lambda client: viewer.update_step(viewer.step))

    def _start(self, client: Any) -> None:
        """Move a client's camera to the first view, and again while only the shape of its window changes."""
        placed = self._place(client.camera)

        def follow(camera: Any) -> None:
            nonlocal placed
            is_there = np.allclose(camera.position, placed, rtol=1e-3, atol=1e-3)
            if is_there and (self._find_position(camera) != placed).any():
                placed = self._place(camera)

        client.camera.on_update(follow)

    def _find_position(self, camera: Any) -> Float[np.ndarray, " 3"]:
        """Return where a camera has all in frame: farther away if its window is higher than wide."""
        position: np.ndarray = VISER_SCALE * max(1.0, 1.0 / camera.aspect) * self.position
        return position

    def _place(self, camera: Any) -> Float[np.ndarray, " 3"]:
        """Move a camera to the first view, and return its position."""
        position = self._find_position(camera)
        # First what is up, because viser divides by zero for a camera that looks along it.
        camera.up_direction = tuple(self.up)
        camera.position = tuple(position)
        camera.look_at = (0.0, 0.0, 0.0)
        camera.fov = math.radians(FIELD_OF_VIEW)
        return position
