"""A fitted field as a function of the world's coordinates, with values in the target's units."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ..registry import has_result, kind_named, require_result, with_result
from ..signals.records import Record
from ..signals.units import Units
from ..storage import AnyPath, locate
from .derivatives import compute_hessian, compute_jacobian
from .field import BLOCK, Field, in_plain_mode

if TYPE_CHECKING:
    from jaxtyping import Float

Points = TypeVar("Points", Tensor, np.ndarray)
R = TypeVar("R", bound=Record)


class FittedField(nn.Module):
    """A function of points of the world, in the units of the target: call it.

    Points have any shape [..., d], and should be in double precision if the world is large; for a sound, [n] seconds or
    a single number will do. A tensor gives a tensor and anything else an array, of the points' data type. Values are
    [...] if the target has one channel, and [..., c] if it has c; their derivatives are [..., d] or [..., c, d].

    | kind | points | values |
    |---|---|---|
    | sdf | x, y, z of the mesh | signed distance in the mesh's units, negative inside |
    | image | row, column; a pixel's centre is its index | as in the file, such as 0 to 255 |
    | audio | seconds | amplitude |
    | volume | x, y, z; the first sample lies at the origin, neighbours `spacing` apart | as in the array |

    The target fills a box of the world; values outside the box mean nothing.

    The other results of a field depend on its kind (see `Kind.results`): ``mesh(resolution, level)`` of a shape or a
    volume, ``image(size)``, ``audio(rate)``, ``volume(size)``; ``dir(field)`` lists them.

    Args:
        field: the network and its normalisation.
        provenance: a description of the field's origin, made of plain strings, numbers, lists and dicts.
        companion: a field that was fitted beside it, such as that of a shape's colours.

    Raises:
        ValueError: `field` is no `Field`.
    """

    companion: Field | None

    def __init__(self, field: Field, provenance: dict[str, Any] | None = None, companion: Field | None = None) -> None:
        super().__init__()
        if not isinstance(field, Field):
            raise ValueError(f"a {type(field).__name__} is no Field; fit() and load_field() return a fitted field")
        self.field, self.provenance, self.companion = field, dict(provenance or {}), companion
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> FittedField:
        """Stay in evaluation mode, whatever `mode` says, because only there are the derivatives exact."""
        return super().train(False)

    @property
    def kind(self) -> str:
        """The name of the target's kind: "sdf", "image", "audio" or "volume"."""
        return self.field.kind

    @property
    def dim(self) -> int:
        """The number of coordinates per point, d."""
        return int(self.field.spec["in_dim"])

    @property
    def channels(self) -> int:
        """The number of values per point, c."""
        return int(self.field.spec["out_dim"])

    @property
    def units(self) -> Units:
        """The map between the network's values and the target's."""
        return self.field.record.units(self.field.normalization.scale)

    def record_as(self, expected: type[R]) -> R:
        """Return the record of the target, which must be of the type `expected`.

        Raises:
            ValueError: the field is of another kind.
        """
        record = self.field.record
        if not isinstance(record, expected):
            raise ValueError(f"a field of kind {self.kind!r} has no {expected.__name__}")
        return record

    def __getattr__(self, name: str) -> Any:
        """Return a kind's result as a method; one of another kind raises a ValueError when it is called."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            # First the field's own kind, for then no other needs to be imported.
            if name.startswith("_") or not (has_result(self.kind, name) or with_result(name)):
                raise
        return partial(self._compute_result, name)

    @in_plain_mode
    def _compute_result(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Return one of the results of this field's kind, see `Kind.results`."""
        require_result(self.kind, name)
        return kind_named(self.kind).results[name](self, *arguments, **options)

    def __dir__(self) -> list[str]:
        names: list[str] = super().__dir__()  # type: ignore[no-untyped-call]
        return [*names, *kind_named(self.kind).results]

    def forward(self, points: Points) -> Points:
        """Compute values at points; they can be differentiated if the points require gradients.

        Raises:
            ValueError: the points have another number of coordinates.
        """
        units = self.units

        def values(unit: Float[Tensor, "m d"]) -> Float[Tensor, "m c"]:
            return self.field(unit).double() * units.amplitude + units.offset

        needs_graph = isinstance(points, Tensor) and points.requires_grad and torch.is_grad_enabled()
        with torch.set_grad_enabled(needs_graph):
            return self._evaluate_at(points, values, ())

    def gradient(self, points: Points) -> Points:
        """Compute the derivatives of the values by the world's coordinates, [..., d] or [..., c, d], detached."""
        factor = self.units.amplitude * self.field.normalization.scale
        return self._evaluate_at(points, lambda unit: factor * self._compute_jacobian(unit).double(), (self.dim,))

    def hessian(self, points: Points) -> Points:
        """Compute the second derivatives, [..., d, d] or [..., c, d, d], detached."""
        factor = self.units.amplitude * self.field.normalization.scale**2
        return self._evaluate_at(
            points, lambda unit: factor * self._compute_hessian(unit).double(), (self.dim, self.dim)
        )

    def laplacian(self, points: Points) -> Points:
        """Compute the trace of the Hessian, [...] or [..., c], detached."""
        factor = self.units.amplitude * self.field.normalization.scale**2

        def trace(unit: Float[Tensor, "m d"]) -> Float[Tensor, "m c"]:
            return factor * self._compute_hessian(unit).diagonal(dim1=-2, dim2=-1).sum(-1).double()

        return self._evaluate_at(points, trace, ())

    def color(self, points: Points) -> Points:
        """Compute the fitted colours of a shape at points on its surface or close to it, sRGB values in [0, 1].

        Args:
            points: of the world, [..., 3]; a tensor gives a tensor, and anything else an array.

        Raises:
            ValueError: the shape had no colours, or the points have another number of coordinates.
        """
        if self.companion is None:
            raise ValueError("this field has no colours: its shape had none, or they were left out")
        return FittedField(self.companion)(points).clip(0, 1)

    def save(self, path: str | AnyPath) -> None:
        """Write a field file (safetensors), see `load_field`; a failure leaves an existing file unchanged.

        Args:
            path: the file, or its URL.

        Raises:
            ValueError: the file's suffix is that of another format.
            OSError: the file cannot be written.
            ImportError: safetensors is missing.
        """
        from .file import save_field

        file = locate(path)
        if file.suffix.lower() not in ("", ".safetensors"):
            result = next(iter(kind_named(self.kind).results))
            raise ValueError(f"{file}: a field is saved as .safetensors; field.{result}() returns its {result}")
        save_field(self, file)

    def extra_repr(self) -> str:
        """Return what ``print(field)`` shows first."""
        return f"kind={self.kind!r}, dim={self.dim}, channels={self.channels}"

    @in_plain_mode
    def _evaluate_at(self, points: Points, function: Callable[[Tensor], Tensor], more: tuple[int, ...]) -> Points:
        """Evaluate a function of coordinates [m, d] in the network's cube at points of the world, in blocks.

        The function's results are [m, c, ...], with further axes of sizes `more`.
        """
        if not isinstance(points, Tensor):
            points = np.asarray(points)
        if points.is_complex() if isinstance(points, Tensor) else points.dtype.kind not in "buif":
            raise ValueError(f"points of type {points.dtype} are no coordinates; real numbers are needed")
        world: Tensor = points if isinstance(points, Tensor) else torch.from_numpy(np.array(points, float, order="C"))
        dim = self.dim
        if dim == 1 and world.ndim <= 1:
            world = world[..., None]
        if world.ndim == 0 or world.shape[-1] != dim:
            raise ValueError(f"points of shape {tuple(points.shape)} do not fit; [..., {dim}] is needed")
        center, dtype = self.field.center, self.field.dtype
        parts = []
        for block in world.reshape(-1, dim).split(BLOCK):
            unit = (block.to(center.device).double() - center) * self.field.scale
            parts.append(function(unit))
        channels: tuple[int, ...] = (self.channels,) * (self.channels > 1)
        empty = torch.zeros(0, self.channels, *more, dtype=torch.float64, device=center.device)
        shape: tuple[int, ...] = (*world.shape[:-1], *channels, *more)
        result = (torch.cat(parts) if parts else empty).reshape(shape)
        if isinstance(points, Tensor):
            return result.to(points.device, points.dtype if points.is_floating_point() else dtype)
        return result.cpu().numpy().astype(points.dtype if points.dtype.kind == "f" else np.float64)

    def _compute_jacobian(self, unit: Float[Tensor, "m d"]) -> Float[Tensor, "m c d"]:
        with torch.enable_grad():
            unit = unit.detach().requires_grad_(True)
            return compute_jacobian(self.field(unit), unit, False)

    def _compute_hessian(self, unit: Float[Tensor, "m d"]) -> Float[Tensor, "m c d d"]:
        with torch.enable_grad():
            unit = unit.detach().requires_grad_(True)
            return compute_hessian(self.field(unit), unit, False)
