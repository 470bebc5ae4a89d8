"""What a single network is fitted to, sampled: a signal, or the part of one that belongs to a member of a bank."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..networks import CellBank
from ..networks.bank import Tiling
from ..signals.grid import Grid
from ..signals.lattice import Lattice
from ..winner import spectral_centroid

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from numpy.typing import NDArray

    from ..signals.cloud import PointCloud
    from ..signals.shape import Shape

    Array = NDArray[Any]

CELL_SAMPLES = 32
"""Samples along each axis of a shape's cell."""


@dataclass(frozen=True)
class Target:
    """What a single network is fitted to, in the network's own coordinates and units.

    Attributes:
        name: What messages call it.
        kind: The kind of the signal.
        channels: The values per sample.
        is_sampled: Whether the samples are all that is known, so that a PSNR can be computed.
        psi: The spectral centroid of all samples.
        lattice: The samples in the network's coordinates.
        scale: The network's units of length per unit of length of the world, along the last axis.
        evaluate: From positions of samples [k, n, d] to the target's values there, float32 [k, n, c].
        missing: Where samples hold no data, or None; they have the value of the nearest that do.
    """

    name: str
    kind: str
    channels: int
    is_sampled: bool
    psi: float
    lattice: Lattice
    scale: float
    evaluate: Callable[[Int[Array, "k n d"]], Float[Array, "k n c"]]
    missing: Bool[Array, "*axes"] | None = None


def target_of(signal: Grid[Any] | Shape | PointCloud) -> Target:
    """Return a whole signal as a target; shapes are sampled on the grid that their centroid is computed on."""
    scale = signal.normalization.scale
    if isinstance(signal, Grid):
        lattice, evaluate = signal.lattice, _look_up(signal.values)
    else:
        from ..signals.shape import CENTROID_GRID

        lattice = Lattice((CENTROID_GRID,) * 3)
        evaluate = _measure_distances(signal, lattice, np.zeros(3), 1.0)
    return Target(
        signal.name,
        signal.kind,
        signal.channels,
        isinstance(signal, Grid),
        signal.centroid,
        lattice,
        scale,
        evaluate,
        signal.missing if isinstance(signal, Grid) else None,
    )


def target_of_box(signal: Grid[Any], box: Tiling) -> Target:
    """Return the part of a regularly sampled signal that belongs to the only box of a tiling that is held."""
    values = signal.values[box.extent]
    return Target(
        _name_part(signal.name, box.first),
        signal.kind,
        signal.channels,
        True,
        spectral_centroid(values, dim=signal.dim),
        Lattice(box.box),
        signal.normalization.scale * box.spacing / signal.lattice.spacings[-1],
        _look_up(values),
        None if signal.missing is None else signal.missing[box.extent],
    )


def target_of_cell(shape: Shape, bank: CellBank, cell: tuple[int, ...]) -> Target:
    """Return the distance in a cell of a shape, in the cell's coordinates and units."""
    lattice = Lattice((CELL_SAMPLES,) * 3)
    center = (np.array(cell) + 0.5) * (2 / bank.parts) - 1
    evaluate = _measure_distances(shape, lattice, center, bank.half_width)
    positions = np.stack(np.meshgrid(*[np.arange(CELL_SAMPLES)] * 3, indexing="ij"), -1)
    values = evaluate(positions.reshape(CELL_SAMPLES**2, CELL_SAMPLES, 3)).reshape(*lattice.shape, 1)
    return Target(
        _name_part(shape.name, cell),
        shape.kind,
        1,
        False,
        spectral_centroid(values, dim=3),
        lattice,
        shape.normalization.scale / bank.half_width,
        evaluate,
    )


def _name_part(name: str, index: tuple[int, ...]) -> str:
    """Return what messages call a part of a signal."""
    return f"{name}, part {' '.join(map(str, index))}"


def _look_up(values: Float[Array, "*axes c"]) -> Callable[[Int[Array, "k n d"]], Float[Array, "k n c"]]:
    """Return the function from positions to samples."""
    return lambda positions: values[tuple(positions.transpose(2, 0, 1))]


def _measure_distances(
    shape: Shape | PointCloud, lattice: Lattice, center: Float[Array, " 3"], unit: float
) -> Callable[[Int[Array, "k n 3"]], Float[Array, "k n 1"]]:
    """Return the function from positions on a lattice, whose middle and unit are given in the cube, to distances."""

    def evaluate(positions: Int[Array, "k n 3"]) -> Float[Array, "k n 1"]:
        import torch

        local = lattice.at(torch.from_numpy(positions.reshape(-1, 3))).numpy()
        values = shape.signed_distance(center + unit * local) / unit
        distances: Array = values.astype(np.float32).reshape(*positions.shape[:2], 1)
        return distances

    return evaluate
