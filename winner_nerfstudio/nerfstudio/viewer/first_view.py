"""The view that each client of the viewer starts with."""

import math
from typing import Any

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
        self.viser_server.on_client_connect(self._move_camera)
        # nerfstudio writes the step into the panel during training only, and leaves 0 there for a finished run.
        self.viser_server.on_client_connect(lambda client: viewer.update_step(viewer.step))

    def _move_camera(self, client: Any) -> None:
        """Move a client's camera to the first view."""
        client.camera.position = tuple(VISER_SCALE * self.position)
        client.camera.look_at = (0.0, 0.0, 0.0)
        client.camera.up_direction = tuple(self.up)
        client.camera.fov = math.radians(FIELD_OF_VIEW)
