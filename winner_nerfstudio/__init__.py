"""WINNER: sine networks initialised with knowledge of their target, as a library and as a nerfstudio plugin."""

from .networks import Siren
from .winner import Initialization, NoiseSchedule, siren_init_, spectral_centroid, winner_init_

__version__ = "0.1.0"

__all__ = [
    "Initialization",
    "NoiseSchedule",
    "Siren",
    "__version__",
    "siren_init_",
    "spectral_centroid",
    "winner_init_",
]
