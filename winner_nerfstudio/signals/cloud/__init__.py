"""Shapes given by points: `load_surface` reads them (and meshes), and `PointCloud` is the target made of them."""

from .cloud import PointCloud, load_surface

__all__ = ["PointCloud", "load_surface"]
