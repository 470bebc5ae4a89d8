"""WINNER: sine networks initialised with knowledge of their target, as a library and as a nerfstudio plugin."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .fields.file import load_field
from .fields.fitted import FittedField
from .networks import Siren
from .version import __version__
from .winner import Initialization, NoiseSchedule, siren_init_, spectral_centroid, winner_init_

if TYPE_CHECKING:
    from .training.fit import fit
    from .training.groups import fit_groups

__all__ = [
    "FittedField",
    "Initialization",
    "NoiseSchedule",
    "Siren",
    "__version__",
    "fit",
    "fit_groups",
    "load_field",
    "siren_init_",
    "spectral_centroid",
    "winner_init_",
]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name in ("fit", "fit_groups"):  # they bring libraries that nothing else here needs
        module = import_module(".training.groups" if name == "fit_groups" else ".training.fit", __name__)
        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
