"""ReLU layers on positionally encoded coordinates, as in NeRF (Mildenhall et al., ECCV 2020, arXiv 2003.08934)."""

from torch import nn

from .chain import CoordinateNetwork, check_sizes
from .encodings import PositionalEncoding


class ReluPe(CoordinateNetwork):
    """`PositionalEncoding`, then ReLU layers and a linear one (arXiv 2003.08934, eq. 4; arXiv 2006.10739).

    Maps coordinates [..., in_dim] in [-1, 1] to values [..., out_dim]. Weights begin as Glorot's,
    ``U(-sqrt(6 / (fan_in + fan_out)), +)``, biases at 0, as in the authors' code.

    Args:
        in_dim: The coordinates per point.
        out_dim: The values per point.
        hidden_dim: The width of each ReLU layer.
        num_layers: The number of ReLU layers.
        num_frequencies: The octaves of the encoding, ``L``.
        include_input: Whether the encoding holds the coordinates too: NeRF's code has them, its eq. 4 has not.

    Raises:
        ValueError: A size is below 1.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        hidden_dim: int = 256,
        num_layers: int = 4,
        num_frequencies: int = 10,
        include_input: bool = True,
    ) -> None:
        check_sizes(in_dim=in_dim)
        encoding = PositionalEncoding(num_frequencies, bool(include_input))
        features = encoding.count_features(in_dim)
        super().__init__(features, out_dim, hidden_dim, num_layers, lambda index: nn.ReLU(), encoding)
        for layer in self:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
