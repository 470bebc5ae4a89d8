"""A fitted field as its user sees it: a function of the world's coordinates, in the target's own units."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ..registry import kind_named, require_result, with_result
from ..signals.records import Record
from ..signals.units import Units
from .field import BLOCK, Field

if TYPE_CHECKING:
    from jaxtyping import Float

Points = TypeVar("Points", Tensor, np.ndarray)
R = TypeVar("R", bound=Record)


class FittedField(nn.Module):
    """A function of points of the world, in the units of the target: call it.

    Points are [n, d] or of any shape [..., d], in doubles where the world is large; of a sound, [n] seconds or one will
    do. A tensor gives a tensor, anything else an array, of the points' own type. Values are [...] where the target has
    one channel, and [..., c] where it has c; derivatives likewise, [..., d] or [..., c, d].

    | kind | points | values |
    |---|---|---|
    | sdf | x, y, z of the mesh | signed distance in the mesh's units, negative inside |
    | image | row, column; a pixel's centre is its index | as in the file, such as 0 to 255 |
    | audio | seconds | amplitude |
    | volume | x, y, z; the first sample lies at the origin, neighbours `spacing` apart | as in the array |

    The target fills a box of the world; nothing was learnt beyond it.

    What else a field can give depends on its kind (see `Kind.results`): ``mesh(resolution, level)`` of a shape or a
    volume, ``image(size)``, ``audio(rate)``, ``volume(size)``; ``dir(field)`` lists them.

    Args:
        field: the network and its normalisation.
        provenance: where it comes from: plain strings, numbers, lists and dicts.
    """

    def __init__(self, field: Field, provenance: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.field, self.provenance = field, dict(provenance or {})
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> FittedField:
        """Nothing: it stays as in evaluation, where every network's derivatives are its own."""
        return super().train(False)

    @property
    def kind(self) -> str:
        """What its values mean: "sdf", "image", "audio", "volume"."""
        return self.field.kind

    @property
    def dim(self) -> int:
        """Coordinates per point, d."""
        return int(self.field.spec["in_dim"])

    @property
    def channels(self) -> int:
        """Values per point, c."""
        return int(self.field.spec["out_dim"])

    @property
    def units(self) -> Units:
        """The way from the network's values to the target's."""
        return self.field.record.units(self.field.normalization.scale)

    def record_as(self, wanted: type[R]) -> R:
        """Return what is kept of the target, which must be of that type.

        Raises:
            ValueError: the field is of another kind.
        """
        record = self.field.record
        if not isinstance(record, wanted):
            raise ValueError(f"a field of kind {self.kind!r} has no {wanted.__name__}")
        return record

    def __getattr__(self, name: str) -> Any:
        """The results that fields have, as methods; those of other kinds raise a ValueError when they are called."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("_") or not with_result(name):
                raise
        return partial(self._result, name)

    def _result(self, name: str, *arguments: Any, **options: Any) -> Any:
        require_result(self.kind, name)
        return kind_named(self.kind).results[name](self, *arguments, **options)

    def __dir__(self) -> list[str]:
        names: list[str] = super().__dir__()  # type: ignore[no-untyped-call]
        return [*names, *kind_named(self.kind).results]

    def forward(self, points: Points) -> Points:
        """Values at points; differentiable by them where they ask for it, else without a graph.

        Raises:
            ValueError: points of another number of coordinates.
        """
        units = self.units

        def values(unit: Float[Tensor, "m d"]) -> Float[Tensor, "m c"]:
            return self.field(unit).double() * units.amplitude + units.offset

        wanted = isinstance(points, Tensor) and points.requires_grad and torch.is_grad_enabled()
        with torch.set_grad_enabled(wanted):
            return self._at(points, values, ())

    def gradient(self, points: Points) -> Points:
        """Derivatives of the values by the world's coordinates, [..., d] or [..., c, d], detached."""
        factor = self.units.amplitude * self.field.normalization.scale
        return self._at(points, lambda unit: factor * self._jacobian(unit).double(), (self.dim,))

    def hessian(self, points: Points) -> Points:
        """Second derivatives, [..., d, d] or [..., c, d, d], detached."""
        factor = self.units.amplitude * self.field.normalization.scale**2
        return self._at(points, lambda unit: factor * self._hessian(unit).double(), (self.dim, self.dim))

    def laplacian(self, points: Points) -> Points:
        """The trace of the Hessian, [...] or [..., c], detached."""
        factor = self.units.amplitude * self.field.normalization.scale**2

        def trace(unit: Float[Tensor, "m d"]) -> Float[Tensor, "m c"]:
            return factor * self._hessian(unit).diagonal(dim1=-2, dim2=-1).sum(-1).double()

        return self._at(points, trace, ())

    def save(self, path: str | Path) -> None:
        """Write it as a field file (safetensors), see `load_field`; a failure leaves what stood there as it was.

        Raises:
            OSError: the file cannot be written.
            ImportError: safetensors is missing.
        """
        from .file import save_field

        save_field(self, Path(path))

    def extra_repr(self) -> str:
        """What ``print(field)`` shows first."""
        return f"kind={self.kind!r}, dim={self.dim}, channels={self.channels}"

    def _at(self, points: Points, function: Callable[[Tensor], Tensor], more: tuple[int, ...]) -> Points:
        """A function of unit coordinates [m, d] at points of the world, in blocks, as the points are.

        Its results are [m, c, ...] with axes of size `more` behind.
        """
        if not isinstance(points, Tensor):
            points = np.asarray(points)
        if points.is_complex() if isinstance(points, Tensor) else points.dtype.kind not in "buif":
            raise ValueError(f"points of type {points.dtype} are no coordinates; real numbers are needed")
        given: Tensor = points if isinstance(points, Tensor) else torch.from_numpy(np.array(points, float, order="C"))
        dim = self.dim
        if dim == 1 and given.ndim <= 1:
            given = given[..., None]
        if given.ndim == 0 or given.shape[-1] != dim:
            raise ValueError(f"points of shape {tuple(points.shape)} do not fit; [..., {dim}] is needed")
        center, kind = self.field.center, next(self.field.network.parameters()).dtype
        kind = torch.empty((), dtype=kind).abs().dtype  # of a complex network the real one
        parts = []
        for block in given.reshape(-1, dim).split(BLOCK):
            unit = (block.to(center.device).double() - center) * self.field.scale
            parts.append(function(unit.to(kind)))
        channels: tuple[int, ...] = (self.channels,) * (self.channels > 1)
        empty = torch.zeros(0, self.channels, *more, dtype=torch.float64, device=center.device)
        shape: tuple[int, ...] = (*given.shape[:-1], *channels, *more)
        result = (torch.cat(parts) if parts else empty).reshape(shape)
        if isinstance(points, Tensor):
            return result.to(points.device, points.dtype if points.is_floating_point() else kind)
        return result.cpu().numpy().astype(points.dtype if points.dtype.kind == "f" else np.float64)

    def _jacobian(self, unit: Float[Tensor, "m d"]) -> Float[Tensor, "m c d"]:
        with torch.enable_grad():
            unit = unit.detach().requires_grad_(True)
            values = self.field(unit)
            rows = [_derivative(values[:, channel], unit, False) for channel in range(self.channels)]
        return torch.stack(rows, 1)

    def _hessian(self, unit: Float[Tensor, "m d"]) -> Float[Tensor, "m c d d"]:
        with torch.enable_grad():
            unit = unit.detach().requires_grad_(True)
            values, rows = self.field(unit), []
            for channel in range(self.channels):  # one at a time, for each keeps a graph of its own
                slopes = _derivative(values[:, channel], unit, True)
                rows.append(torch.stack([_derivative(slope, unit, False) for slope in slopes.unbind(1)], 1))
        return torch.stack(rows, 1)


def _derivative(values: Float[Tensor, " m"], by: Float[Tensor, "m d"], graph: bool) -> Float[Tensor, "m d"]:
    """Of each value by its own point; zero where there is none, as for the second derivatives of ReLU networks."""
    if not values.requires_grad:
        return torch.zeros_like(by)
    (found,) = torch.autograd.grad(values.sum(), by, create_graph=graph, retain_graph=True, allow_unused=True)
    return torch.zeros_like(by) if found is None else found
