"""The values of target and fit at a pixel that is clicked in the viewer."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Float
from nerfstudio.viewer.viewer_elements import ViewerClick, ViewerControl
from numpy import ndarray

from .hold import hold_training

Values = dict[str, Float[ndarray, " c"]]
"""Values of a pixel's channels, by what has them."""


class PixelReader(ViewerControl):
    """A folder in the viewer's control panel that tells the values of the pixel that was clicked last.

    Args:
        find: function from a point of the picture's plane, x to the right and y up, to a pixel's row and column, or
            None beside the picture.
        read: function from a row and a column to the pixel's values.
    """

    def __init__(
        self, find: Callable[[float, float], tuple[int, int] | None], read: Callable[[int, int], Values]
    ) -> None:
        self.find, self.read = find, read

    def _setup(self, viewer: Any) -> None:
        """Add the folder when a viewer starts; nerfstudio calls this."""
        super()._setup(viewer)
        with self.viser_server.gui.add_folder("Pixel"):
            self.note = self.viser_server.gui.add_markdown("Click a pixel to read its values.")
        self.register_pointer_cb("click", self.show)

    def show(self, click: ViewerClick) -> None:
        """Show the values where the ray of a click meets the plane z = 0."""
        (x, y, z), (along_x, along_y, along_z) = click.origin, click.direction
        if z * along_z >= 0:
            return
        pixel = self.find(x - z / along_z * along_x, y - z / along_z * along_y)
        if pixel is None:
            self.note.content = "No pixel there."
            return
        with hold_training(self.viewer):
            values = self.read(*pixel)
        rows = [f"| {name} | {', '.join(f'{value:.4g}' for value in each)} |" for name, each in values.items()]
        self.note.content = "\n".join([f"| row {pixel[0]}, column {pixel[1]} | |", "|---|---|", *rows])
