"""A fitted network together with the way from the user's coordinates to its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..networks import build_network
from ..registry import kind_named
from ..signals.normalization import Normalization
from ..signals.records import Record

if TYPE_CHECKING:
    from jaxtyping import Float

BLOCK = 1 << 13
"""Points per pass outside training: what fits into the cache of a CPU, which makes it half as fast again as 2^16."""


class Field(nn.Module):
    """A network over [-1, 1]^d and the normalisation that leads there.

    Everything needed to rebuild it travels in its ``state_dict``: weights, network specification, normalisation.

    Args:
        kind: what its values mean: the name of a kind of signal, such as "sdf" or "image".
        network: the registered name and the keyword arguments of the network, see `build_network`.
        normalization: from the world to [-1, 1]^d.
        record: what is kept of the target, see `Signal.record`.
    """

    center: Float[Tensor, " d"]
    scale: Float[Tensor, ""]

    def __init__(self, kind: str, network: dict[str, Any], normalization: Normalization, record: Record) -> None:
        super().__init__()
        self.kind, self.record = kind, record
        self.spec = dict(network)
        with torch.device("cpu"):
            self.network = build_network(**network)
        self.register_buffer("center", torch.tensor(normalization.center, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(normalization.scale, dtype=torch.float64))

    @classmethod
    def from_state_dict(cls, state: dict[str, Any], prefix: str = "") -> Field:
        """Rebuild a field from a state dict in which its entries start with `prefix`.

        Raises:
            ValueError: no field is stored under that prefix.
        """
        own = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
        try:
            extra = own["_extra_state"]
            normalization = Normalization(tuple(own["center"].tolist()), float(own["scale"]))
            record = kind_named(extra["kind"]).record.from_json(extra["record"])
            with torch.random.fork_rng(devices=[]):
                field = cls(extra["kind"], extra["network"], normalization, record)
            field.load_state_dict(own)
        except (KeyError, TypeError, RuntimeError) as error:
            raise ValueError(f"holds no field that this version can rebuild ({error})") from error
        return field.eval()

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> Field:
        """Move or cast what it holds; its place in the world stays in doubles."""
        place = self.center, self.scale
        super()._apply(function, recurse)  # type: ignore[no-untyped-call]
        self.center, self.scale = (own.to(self.center.device) for own in place)
        return self

    @property
    def normalization(self) -> Normalization:
        """The way from the world to the network's cube and back."""
        return Normalization(tuple(self.center.tolist()), float(self.scale))

    def forward(self, coords: Float[Tensor, "*n d"]) -> Float[Tensor, "*n c"]:
        """Values at coordinates in [-1, 1]^d, in unit-cube measure."""
        return self.network(coords)

    @torch.no_grad()
    def evaluate(self, coords: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        """As `forward`, in blocks of `BLOCK` points and without a graph; coordinates may lie on any device."""
        parts = [self(block.to(self.center.device)) for block in coords.split(BLOCK)]
        return torch.cat(parts) if parts else coords.new_zeros((0, self.spec["out_dim"]))

    def gradient(self, coords: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Gradient of the first value by the coordinates, detached; an SDF's outward normal times its slope."""
        return self.value_and_gradient(coords)[1]

    def value_and_gradient(self, coords: Float[Tensor, "n d"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n d"]]:
        """The first value at the coordinates and its gradient by them, detached, in blocks of `BLOCK` points."""
        values, gradients = [coords.new_zeros(0)], [coords[:0]]
        for block in coords.split(BLOCK):
            with torch.enable_grad():
                x = block.detach().to(self.center.device).requires_grad_(True)
                value = self(x)[..., 0]
                gradients += torch.autograd.grad(value.sum(), x)
            values.append(value.detach())
        return torch.cat(values), torch.cat(gradients)

    def get_extra_state(self) -> dict[str, Any]:
        """What a rebuild needs besides tensors: plain strings and numbers, so that safe loading accepts them."""
        return {"kind": self.kind, "network": self.spec, "record": self.record.to_json()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Refuse weights of another kind of field, network or target."""
        own = self.get_extra_state()
        differing = [key for key in own if state.get(key) != own[key]]
        if differing == ["record"]:
            raise ValueError(
                "these weights belong to another target, or to this one with other noise or held-out samples"
            )
        if differing:
            theirs, ours = ({key: each.get(key) for key in differing} for each in (state, own))
            raise ValueError(f"these weights belong to {str(theirs)[:300]}, not to {str(ours)[:300]}")
