"""Which of a model's outputs the viewer shows at the moment."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from nerfstudio.viewer.viewer_elements import ViewerControl

from .hold import hold_training


class VisibleOutputs(ViewerControl):
    """Tells a model which outputs the viewer shows, so that the others need not be computed."""

    def names(self) -> set[str]:
        """Return the names of the outputs that the viewer shows; without a viewer there are none."""
        if not hasattr(self, "viewer"):
            return set()
        return self._list_pictures() | ({"depth"} if self.viewer.control_panel.layer_depth else set())

    def hold(self) -> AbstractContextManager[Any]:
        """Return a context in which no step is trained; without a viewer nothing is shown meanwhile."""
        return hold_training(self.viewer) if hasattr(self, "viewer") else nullcontext()

    def are_composited(self) -> bool:
        """Return whether the depth is there only to put a viewer's own things in front of the picture or behind it."""
        is_layer = hasattr(self, "viewer") and self.viewer.control_panel.layer_depth
        return is_layer and "depth" not in self._list_pictures()

    def _list_pictures(self) -> set[str]:
        """Return the names of the outputs that are seen as pictures."""
        panel = self.viewer.control_panel
        names = {"rgb" if panel.output_render == "not set" else panel.output_render}
        return names | {panel.split_output_render} if panel.split else names
