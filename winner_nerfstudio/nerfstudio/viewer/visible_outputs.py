"""Which of a model's outputs the viewer shows at the moment."""

from nerfstudio.viewer.viewer_elements import ViewerControl


class VisibleOutputs(ViewerControl):
    """Tells a model which outputs the viewer shows, so that the others need not be computed."""

    def names(self) -> set[str]:
        """Return the names of the outputs that the viewer shows; without a viewer there are none."""
        if not hasattr(self, "viewer"):
            return set()
        panel = self.viewer.control_panel
        names = {"rgb" if panel.output_render == "not set" else panel.output_render}
        if panel.split:
            names.add(panel.split_output_render)
        if panel.layer_depth:
            names.add("depth")
        return names
