"""WINNER: sine networks initialised with knowledge of their target, as a library and as a nerfstudio plugin."""

from typing import TYPE_CHECKING, Any

from .fields.file import load_field
from .fields.fitted import FittedField
from .networks import Siren
from .version import __version__
from .winner import Initialization, NoiseSchedule, siren_init_, spectral_centroid, winner_init_

if TYPE_CHECKING:
    from .training.fit import fit

__all__ = [
    "FittedField",
    "Initialization",
    "NoiseSchedule",
    "Siren",
    "__version__",
    "fit",
    "load_field",
    "siren_init_",
    "spectral_centroid",
    "winner_init_",
]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name == "fit":  # brings libraries that nothing else here needs
        from .training.fit import fit

        return fit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
