"""WINNER: sine networks initialised with knowledge of their target, as a library and as a nerfstudio plugin.

What the package exports is imported when it is first asked for, so that commands can refuse a wrong request before they
import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .batch.many import fit_many
    from .fields.file import load_field
    from .fields.fitted import FittedField
    from .fields.pack import load_fields
    from .networks import Siren
    from .training.fit import fit
    from .training.groups import fit_groups
    from .winner import Initialization, NoiseSchedule, siren_init_, spectral_centroid, winner_init_

__all__ = [
    "FittedField",
    "Initialization",
    "NoiseSchedule",
    "Siren",
    "__version__",
    "fit",
    "fit_groups",
    "fit_many",
    "load_field",
    "load_fields",
    "siren_init_",
    "spectral_centroid",
    "winner_init_",
]

_MODULES = {
    "FittedField": "fields.fitted",
    "Initialization": "winner",
    "NoiseSchedule": "winner",
    "Siren": "networks",
    "fit": "training.fit",
    "fit_groups": "training.groups",
    "fit_many": "batch.many",
    "load_field": "fields.file",
    "load_fields": "fields.pack",
    "siren_init_": "winner",
    "spectral_centroid": "winner",
    "winner_init_": "winner",
}


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
