"""The method: spectral centroid, noise schedules, in-place initialisation. Needs torch and numpy only."""

from .init import Initialization, siren_init_, winner_init_
from .matched import EXACTNESS, Axis, axes_of
from .method import spectral_centroid
from .schedule import SCHEDULES, NoiseScales, NoiseSchedule

__all__ = [
    "EXACTNESS",
    "SCHEDULES",
    "Axis",
    "Initialization",
    "NoiseScales",
    "NoiseSchedule",
    "axes_of",
    "siren_init_",
    "spectral_centroid",
    "winner_init_",
]
