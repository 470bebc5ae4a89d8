"""Where shapes are looked at from, in a module of its own because the viewer's parts must load fast."""

VIEWPOINTS = {"x": (1.4, 1.9, 2.6), "y": (1.9, 1.4, 2.6), "z": (1.9, -2.6, 1.4)}
"""The first viewpoint, unit-cube coordinates, by the axis that points up: all of the shape is in the frame."""
