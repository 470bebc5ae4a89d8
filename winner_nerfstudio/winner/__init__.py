"""The method: spectral centroid, noise schedules, initialisation in place. It needs torch and numpy only.

`winner_init_` does it all in one call. Its two steps are public as well: `compute_noise_scales` goes from a target and
a network to the noise scales, `initialize_` and `add_noise_` apply scales to a network.
"""

from .init import add_noise_, initialize_, siren_init_, winner_init_
from .matched import EXACTNESS, Axis, NetworkTraits, axes_of, estimate_noise
from .method import spectral_centroid
from .scaled import SCALED, SirenScales, gradient_control, match_weight_scaling, scaled_init_, weight_scaling
from .scales import Initialization, compute_noise_scales
from .schedule import SCHEDULES, NoiseScales, NoiseSchedule, TargetTraits
from .sines import SineNetwork, describe_network, find_network_to_perturb

__all__ = [
    "EXACTNESS",
    "SCALED",
    "SCHEDULES",
    "Axis",
    "Initialization",
    "NetworkTraits",
    "NoiseScales",
    "NoiseSchedule",
    "SineNetwork",
    "SirenScales",
    "TargetTraits",
    "add_noise_",
    "axes_of",
    "compute_noise_scales",
    "describe_network",
    "estimate_noise",
    "find_network_to_perturb",
    "gradient_control",
    "initialize_",
    "match_weight_scaling",
    "scaled_init_",
    "siren_init_",
    "spectral_centroid",
    "weight_scaling",
    "winner_init_",
]
