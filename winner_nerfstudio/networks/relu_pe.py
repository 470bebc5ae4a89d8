"""ReLU layers on positionally encoded coordinates, as in NeRF (Mildenhall et al., ECCV 2020, arXiv 2003.08934)."""

from torch import nn

from .chain import chain, check_sizes
from .encodings import PositionalEncoding


class ReluPe(nn.Sequential):
    """`PositionalEncoding`, then ReLU layers and a linear one (arXiv 2003.08934, eq. 4; arXiv 2006.10739).

    Maps coordinates [..., in_dim] in [-1, 1] to values [..., out_dim]. Weights start as Glorot's,
    ``U(-sqrt(6 / (fan_in + fan_out)), +)``, biases at 0, as in the authors' code.

    Args:
        in_dim: coordinates per point.
        out_dim: values per point.
        hidden_dim: width of each ReLU layer.
        num_layers: number of ReLU layers.
        num_frequencies: octaves of the encoding, ``L``.
        include_input: whether the encoding holds the coordinates too: NeRF's code has them, its eq. 4 has not.

    Raises:
        ValueError: a size below 1.
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
        check_sizes(in_dim=in_dim, out_dim=out_dim, hidden_dim=hidden_dim, num_layers=num_layers)
        include_input = bool(include_input)
        encoding = PositionalEncoding(num_frequencies, include_input)
        relus = [nn.ReLU() for _ in range(num_layers)]
        super().__init__(encoding, *chain((2 * num_frequencies + include_input) * in_dim, out_dim, hidden_dim, relus))
        for layer in self:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
