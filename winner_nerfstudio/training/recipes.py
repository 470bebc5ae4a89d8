"""What each kind of signal is fitted with if nothing else is said."""

from dataclasses import dataclass

from ..signals.signal import Signal
from .loss import DistanceLoss, Loss, SquareLoss
from .options import DistanceOptions, DrawnOptions, NetworkOptions, ResidentOptions, VolumeOptions

ADAM_EPSILON = 1e-8


@dataclass(frozen=True)
class Recipe:
    """How a kind of signal is fitted.

    Attributes:
        steps: of training.
        learning_rate: of Adam, at first; it falls as `cosine_decay` says.
        network: the class of its network's options.
        batches: the class of its batches' options.
    """

    steps: int = 1000
    learning_rate: float = 5e-4
    network: type[NetworkOptions] = NetworkOptions
    batches: type[ResidentOptions] | type[DrawnOptions] = ResidentOptions


RECIPES = {
    "sdf": Recipe(2500, network=DistanceOptions, batches=DrawnOptions),
    "image": Recipe(3000),
    # The published noise for sound is large: a higher rate leaves the highest targets where they started.
    "audio": Recipe(3000, 2e-4),
    "volume": Recipe(network=VolumeOptions),
}
"""By kind; any other is fitted as `Recipe()` says."""


def loss_of(signal: Signal, options: NetworkOptions) -> Loss:
    """What drives the fit of a signal."""
    if not isinstance(options, DistanceOptions):
        return SquareLoss()
    from ..signals.cloud import PointCloud

    return DistanceLoss(options, isinstance(signal, PointCloud))
