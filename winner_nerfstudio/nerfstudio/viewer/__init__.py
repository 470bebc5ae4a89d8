"""The drawing of pictures and controls for the viewer."""
