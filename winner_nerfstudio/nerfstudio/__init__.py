"""The nerfstudio plugin, and the sine networks that it offers to other methods of nerfstudio's.

nerfstudio imports the modules in `config` while it is itself only half imported, and they import this package first.
So nothing of nerfstudio's may be imported here; what the package exports is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .photos.frequency import photographed_frequency
    from .photos.sdf_field import WinnerSDFField, WinnerSDFFieldConfig
    from .photos.sine_mlp import WinnerMLP

__all__ = ["WinnerMLP", "WinnerSDFField", "WinnerSDFFieldConfig", "photographed_frequency"]

_MODULES = {
    "WinnerMLP": "photos.sine_mlp",
    "WinnerSDFField": "photos.sdf_field",
    "WinnerSDFFieldConfig": "photos.sdf_field",
    "photographed_frequency": "photos.frequency",
}


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
