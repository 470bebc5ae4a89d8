"""Surfaces of fitted fields: extraction as meshes, level sets of volumes, sphere tracing."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .distance_grid import DistanceGrid
    from .extraction import EmptySurfaceError, extract_surface, pull_onto_level
    from .level_set import LevelSet, VolumeSolid
    from .mesh import extract_mesh
    from .sphere_tracing import Hits, box_interval, sphere_trace

_MODULES = {
    "DistanceGrid": "distance_grid",
    "EmptySurfaceError": "extraction",
    "Hits": "sphere_tracing",
    "LevelSet": "level_set",
    "VolumeSolid": "level_set",
    "box_interval": "sphere_tracing",
    "extract_mesh": "mesh",
    "extract_surface": "extraction",
    "pull_onto_level": "extraction",
    "sphere_trace": "sphere_tracing",
}
"""Modules by the names they export; imported when first asked for, as some need libigl, scipy and trimesh."""

__all__ = [
    "DistanceGrid",
    "EmptySurfaceError",
    "Hits",
    "LevelSet",
    "VolumeSolid",
    "box_interval",
    "extract_mesh",
    "extract_surface",
    "pull_onto_level",
    "sphere_trace",
]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
