"""What our methods add to nerfstudio's viewer besides outputs and sliders."""

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


def upwards(cameras: Cameras) -> Float[Tensor, " 3"]:
    """The axis that is nearest to the first camera's up direction."""
    return torch.eye(3)[cameras.camera_to_worlds[0, :, 1].abs().argmax()]


class FirstView(ViewerControl):
    """Starts each viewer client at a camera's place, looking at the origin; nerfstudio would start inside the shape.

    Args:
        camera: where to start; the axis nearest to its up direction points up from then on.
    """

    def __init__(self, camera: Cameras) -> None:
        super().__init__()
        self.position, self.up = camera.camera_to_worlds[0, :, 3].cpu().numpy(), upwards(camera).cpu().numpy()

    def _setup(self, viewer: Any) -> None:
        super()._setup(viewer)
        # nerfstudio's own title bar fetches its logo from the internet.
        self.viser_server.gui.configure_theme(control_layout="collapsible", dark_mode=True, brand_color=(255, 211, 105))
        self.viser_server.scene.set_up_direction(tuple(self.up))

        @self.viser_server.on_client_connect
        def _(client: Any) -> None:
            client.camera.position = tuple(VISER_SCALE * self.position)
            client.camera.look_at = (0.0, 0.0, 0.0)
            client.camera.up_direction = tuple(self.up)
            client.camera.fov = math.radians(FIELD_OF_VIEW)


class Screen(ViewerControl):
    """Knows which outputs the viewer shows, so that the others need not be computed."""

    def names(self) -> set[str]:
        """The outputs on the page; none where there is no viewer."""
        if not hasattr(self, "viewer"):
            return set()
        panel = self.viewer.control_panel
        names = {"rgb" if panel.output_render == "not set" else panel.output_render}
        if panel.split:
            names.add(panel.split_output_render)
        if panel.layer_depth:
            names.add("depth")
        return names
