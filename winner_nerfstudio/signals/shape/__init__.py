"""Shapes given by a mesh: `load_shape` reads one, and `Shape` is the target made of it."""

from ..options import Mix, Sign
from ..sdf import CENTROID_GRID, MARGIN
from .shape import SHELL, Shape, load_shape
from .topology import count_holes

__all__ = ["CENTROID_GRID", "MARGIN", "SHELL", "Mix", "Shape", "Sign", "count_holes", "load_shape"]
