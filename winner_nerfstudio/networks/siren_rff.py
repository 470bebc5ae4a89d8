"""SIREN on random Fourier features (Tancik et al., NeurIPS 2020, arXiv 2006.10739; compared in arXiv 2509.09719)."""

from math import pi

from torch import nn

from .encodings import FourierFeatures
from .siren import Siren


class SirenRff(nn.Sequential):
    """`FourierFeatures`, then the layers of a `Siren` that has these features for its inputs.

    Maps coordinates [..., in_dim] in [-1, 1] to values [..., out_dim]. `siren_init_` and `winner_init_` leave the
    features as they are and see a SIREN of ``2 num_features`` inputs; told a centroid, `winner_init_` needs ``dim``.

    Args:
        in_dim: coordinates per point.
        out_dim: values per point.
        hidden_dim: width of each sine layer.
        num_layers: number of sine layers.
        omega_0: frequency of the sine layers from the second on.
        first_omega_0: frequency of the first sine layer.
        num_features: random frequencies, each a cosine and a sine.
        sigma: their standard deviation, cycles per unit of coordinate. The default, 30 radians, is that of WINNER's
            comparison; 10 on [0, 1], as in Tancik et al. for images, would be 5 here.

    Raises:
        ValueError: a size below 1, or a frequency or deviation that is not positive.
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
        siren = Siren(2 * num_features, out_dim, hidden_dim, num_layers, omega_0, first_omega_0)
        super().__init__(features, *siren)
        self.omega_0 = siren.omega_0
