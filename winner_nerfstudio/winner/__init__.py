"""The method: spectral centroid, noise schedules, in-place initialisation. Needs torch and numpy only."""

from .init import Initialization, siren_init_, winner_init_
from .method import SCHEDULES, NoiseScales, NoiseSchedule, spectral_centroid

__all__ = [
    "SCHEDULES",
    "Initialization",
    "NoiseScales",
    "NoiseSchedule",
    "siren_init_",
    "spectral_centroid",
    "winner_init_",
]
