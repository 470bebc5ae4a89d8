"""A fitted network together with the map from the world's coordinates to its cube."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from ..networks import Bank, GroupedBank, build_network, complete_arguments
from ..signals.messages import shorten
from ..signals.normalization import Normalization
from ..signals.records import Record
from .stored import check_stored, compute_digest

if TYPE_CHECKING:
    from jaxtyping import Float

BLOCK = 1 << 13
"""Points per pass outside training. They fit into the cache of a CPU, which is 1.5 times as fast as 2^16 points."""
MOST_TOLD = 4
"""The most differences between two networks that are told."""
P = ParamSpec("P")
R = TypeVar("R")
_UNUSABLE = (ValueError, TypeError, KeyError, AttributeError, RuntimeError, OverflowError, ImportError)
"""What networks and kinds raise, other packages' among them, for arguments that they cannot take."""


def in_plain_mode(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that ignores torch's default device and inference mode, in which nothing is differentiated."""

    @wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> R:
        with ExitStack() as stack:
            # Only where they are needed: the former makes each call of torch's slower, the latter enables gradients.
            if torch.get_default_device().type != "cpu":
                stack.enter_context(torch.device("cpu"))
            if torch.is_inference_mode_enabled():
                stack.enter_context(torch.inference_mode(False))
            return function(*arguments, **options)

    return call


class Field(nn.Module):
    """A network over [-1, 1]^d and the normalisation from the world to that cube.

    Its ``state_dict`` holds all that is needed to rebuild it: weights, network specification, normalisation and record.

    Args:
        kind: the name of the target's kind, such as "sdf" or "image".
        network: the registered name and the keyword arguments of the network, see `build_network`.
        normalization: the map from the world to [-1, 1]^d.
        record: the record of the target, see `Signal.record`.
    """

    center: Float[Tensor, " d"]
    scale: Float[Tensor, ""]

    def __init__(self, kind: str, network: dict[str, Any], normalization: Normalization, record: Record) -> None:
        super().__init__()
        self.kind, self.record = kind, record
        self.spec = complete_arguments(**network)
        with torch.device("cpu"):
            self.network = build_network(**self.spec)
        self.register_buffer("center", torch.tensor(normalization.center, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(normalization.scale, dtype=torch.float64))

    @classmethod
    def from_state_dict(cls, state: dict[str, Any], prefix: str = "") -> Field:
        """Rebuild a field from a state dict in which its entries start with `prefix`, after checks of all of them.

        No network is built that is larger than the state dict, see `check_stored`.

        Raises:
            ValueError: no field is stored under that prefix, or it was altered; the message is one line.
        """
        tensors = {name[len(prefix) :]: value for name, value in state.items() if str(name).startswith(prefix)}
        extra = tensors.pop("_extra_state", None)
        try:
            record = check_stored(extra, tensors)
            normalization = Normalization(tuple(tensors["center"].tolist()), float(tensors["scale"]))
            with torch.random.fork_rng(devices=[]):
                field = cls(extra["kind"], extra["network"], normalization, record)
            field.load_state_dict(tensors | {"_extra_state": extra})
        except _UNUSABLE as error:
            raise ValueError(f"holds no field that this version can rebuild: {shorten(error)}") from error
        return field.eval()

    def _apply(self, function: Callable[[Tensor], Tensor], recurse: bool = True) -> Field:
        """Move or cast the field's tensors; the normalisation stays in double precision."""
        normalization = self.center, self.scale
        super()._apply(function, recurse)  # type: ignore[no-untyped-call]
        self.center, self.scale = (value.to(self.center.device) for value in normalization)
        return self

    @property
    def normalization(self) -> Normalization:
        """The map between the world and the network's cube."""
        return Normalization(tuple(self.center.tolist()), float(self.scale))

    def to_own(self, distance: float) -> float:
        """Return a length of the network's cube as one of the world."""
        return distance / self.normalization.scale

    def forward(self, coords: Float[Tensor, "*n d"]) -> Float[Tensor, "*n c"]:
        """Compute the network's values at coordinates in [-1, 1]^d, in the network's units."""
        return self.network(coords if isinstance(self.network, (Bank, GroupedBank)) else coords.to(self.dtype))

    @property
    def dtype(self) -> torch.dtype:
        """The data type of the network's coordinates: the real type of its weights."""
        # A network that loads its weights when they are needed has none, and single precision.
        dtype = next(self.network.parameters(), torch.empty(0, dtype=torch.float32)).dtype
        return torch.empty((), dtype=dtype).abs().dtype if dtype.is_complex else dtype

    @torch.no_grad()
    def evaluate(self, coords: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        """Compute values as `forward` does, in blocks and without a graph; `coords` may be on any device."""
        parts = [self(block.to(self.center.device)) for block in coords.split(BLOCK)]
        return torch.cat(parts) if parts else coords.new_zeros((0, self.spec["out_dim"]), device=self.center.device)

    def gradient(self, coords: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Compute the gradient of the first value by the coordinates, detached; for an sdf it points outward."""
        return self.value_and_gradient(coords)[1]

    def value_and_gradient(self, coords: Float[Tensor, "n d"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n d"]]:
        """Compute the first value at coordinates and its gradient by them, detached, in blocks of `BLOCK` points."""
        coords = coords.detach().to(self.center.device)
        values, gradients = [coords.new_zeros(0)], [coords[:0]]
        for block in coords.split(BLOCK):
            with torch.enable_grad():
                x = block.detach().requires_grad_(True)
                value = self(x)[..., 0]
                gradients += torch.autograd.grad(value.sum(), x)
            values.append(value.detach())
        return torch.cat(values), torch.cat(gradients)

    def get_extra_state(self) -> dict[str, Any]:
        """Return what rebuilding needs besides tensors, as plain values that torch's safe loading accepts."""
        state = self.network.state_dict(prefix="network.") | {"center": self.center, "scale": self.scale}
        tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
        return {**self.entries, "digest": compute_digest(self.entries, tensors)}

    @property
    def entries(self) -> dict[str, Any]:
        """The kind, the network's arguments and the record, as plain values."""
        return {"kind": self.kind, "network": self.spec, "record": self.record.to_json()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Check that loaded weights belong to the same kind of field, network and target.

        Raises:
            ValueError: they do not.
        """
        expected, found = self.entries, []
        if state.get("kind") != expected["kind"]:
            raise ValueError(f"these weights belong to a fit of kind {state.get('kind')!r}, not {expected['kind']!r}")
        if state.get("record") != expected["record"]:
            found.append("another target, or to this one with other noise or held-out samples")
        theirs, ours = (dict(each.get("network") or {}) for each in (state, expected))
        if others := [name for name in dict.fromkeys([*ours, *theirs]) if theirs.get(name) != ours.get(name)]:
            told = (f"{name}={theirs.get(name)!r:.40}, not {ours.get(name)!r:.40}" for name in others[:MOST_TOLD])
            found.append(f"a network with {', '.join(told)}")
        if found:
            raise ValueError(f"these weights belong to {', and to '.join(found)}")


def evaluate_colors(field: Field, coords: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """Return the sRGB values in [0, 1] of a field of colours at coordinates in its cube, without a graph."""
    units = field.record.units(field.normalization.scale)
    return (field.evaluate(coords) * units.amplitude + units.offset).clamp(0, 1)
