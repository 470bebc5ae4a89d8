"""SIREN on random Fourier features (Tancik et al., NeurIPS 2020, arXiv 2006.10739; compared in arXiv 2509.09719)."""

from math import pi

from .encodings import FourierFeatures
from .siren import SineChain


class SirenRff(SineChain):
    """`FourierFeatures`, then the layers of a `Siren` whose inputs these features are.

    Maps coordinates [..., in_dim] in [-1, 1] to values [..., out_dim]. `siren_init_` and `winner_init_` leave the
    features as they are and treat the rest as a SIREN of ``2 num_features`` inputs; `winner_init_` with a centroid
    therefore needs ``dim``.

    Args:
        in_dim: The coordinates per point.
        out_dim: The values per point.
        hidden_dim: The width of each sine layer.
        num_layers: The number of sine layers.
        omega_0: The frequency of the sine layers from the second on.
        first_omega_0: The frequency of the first sine layer.
        num_features: The count of random frequencies, each of which gives a cosine and a sine.
        sigma: The standard deviation of the frequencies, cycles per unit of coordinate. The default, 30 radians, is
            that of WINNER's comparison; 10 on [0, 1], as in Tancik et al. for images, would be 5 here.

    Raises:
        ValueError: A size is below 1, or a frequency or the deviation is not positive.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        hidden_dim: int = 256,
        num_layers: int = 4,
        omega_0: float = 30.0,
        first_omega_0: float = 30.0,
        num_features: int = 128,
        sigma: float = 30 / (2 * pi),
    ) -> None:
        features = FourierFeatures(in_dim, num_features, sigma)
        super().__init__(2 * num_features, out_dim, hidden_dim, num_layers, omega_0, first_omega_0, encoding=features)
