"""Derivatives of a network's values by its coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float


def compute_jacobian(values: Float[Tensor, "n c"], coords: Float[Tensor, "n d"], graph: bool) -> Float[Tensor, "n c d"]:
    """Return the derivatives of values by the coordinates that they were computed from.

    Args:
        values: the values, each of which depends on its own point only.
        coords: the coordinates, which require gradients.
        graph: whether the derivatives are to be differentiated in their turn.
    """
    return torch.stack([_differentiate(channel, coords, graph) for channel in values.unbind(1)], 1)


def compute_hessian(
    values: Float[Tensor, "n c"], coords: Float[Tensor, "n d"], graph: bool
) -> Float[Tensor, "n c d d"]:
    """Return the second derivatives of values, see `compute_jacobian`."""
    rows = []
    for channel in values.unbind(1):  # one at a time, because each keeps its graph in memory
        slopes = _differentiate(channel, coords, True)
        rows.append(torch.stack([_differentiate(slope, coords, graph) for slope in slopes.unbind(1)], 1))
    return torch.stack(rows, 1)


def _differentiate(values: Float[Tensor, " n"], by: Float[Tensor, "n d"], graph: bool) -> Float[Tensor, "n d"]:
    """Differentiate each value by its point; zero without a graph, as for second derivatives of ReLU networks."""
    if not values.requires_grad:
        return torch.zeros_like(by)
    (derivative,) = torch.autograd.grad(values.sum(), by, create_graph=graph, retain_graph=True, allow_unused=True)
    return torch.zeros_like(by) if derivative is None else derivative
