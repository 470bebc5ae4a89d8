"""The empirical neural tangent kernel of a network (Jacot et al. 2018, arXiv 1806.07572), and its eigenbasis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

if TYPE_CHECKING:
    from jaxtyping import Float

BLOCK_BYTES = 1 << 28
"""Of a block of the Jacobian, at most; two are held at a time, and about as much is used while one is computed."""
CELLS = 64
"""Groups of eigenvectors, and bands of frequencies, at most, that the eigenbasis' spectrum is told in."""


@dataclass(frozen=True)
class Eigenbasis:
    """The eigenbasis of a kernel on m points, the greatest eigenvalue first. Frequencies: 1 is Nyquist.

    Attributes:
        eigenvalues: [m], negative ones, which are rounding, as 0.
        frequency: mean frequency of each eigenvector, weighted by power, [m].
        spectrum: power of groups of eigenvectors by bands of frequency, each row's sum 1, [g, b].
        energy: part of the target's variance that lies in each eigenvector, [m]; 0 of a constant target.
    """

    eigenvalues: Float[Tensor, " m"]
    frequency: Float[Tensor, " m"]
    spectrum: Float[Tensor, "g b"]
    energy: Float[Tensor, " m"]

    @property
    def effective_rank(self) -> float:
        """The exponential of the entropy of the eigenvalues' shares in their sum (Roy and Vetterli 2007)."""
        share = self.eigenvalues / self.eigenvalues.sum()
        return float(torch.special.entr(share).sum().exp())

    @property
    def condition_number(self) -> float:
        """Greatest by least eigenvalue; the least counts for no less than double precision resolves."""
        return float(self.eigenvalues[0] / self.eigenvalues[-1].clamp(min=self._least))

    @property
    def resolved(self) -> int:
        """Eigenvalues that double precision tells from 0; the eigenvectors of the others are any that are left."""
        return int((self.eigenvalues > self._least).sum())

    def energy_in_top(self, part: float) -> float:
        """Part of the target's variance in that part of the eigenvectors, the first ones, as far as resolved."""
        return float(self.energy[: min(max(1, round(part * len(self.energy))), self.resolved)].sum())

    def energy_within(self, ratio: float) -> float:
        """Part of the target's variance in eigenvectors whose eigenvalue is at least `ratio` of the greatest."""
        return float(self.energy[self.eigenvalues >= max(ratio * float(self.eigenvalues[0]), self._least)].sum())

    @property
    def _least(self) -> float:
        return float(self.eigenvalues[0]) * len(self.eigenvalues) * torch.finfo(torch.float64).eps


def tangent_kernel(network: nn.Module, coords: Float[Tensor, "m d"], block_bytes: int = BLOCK_BYTES) -> Tensor:
    """``K = J J^T`` by all parameters, in double precision, on the CPU, [m, m].

    Of c channels their sum over ``sqrt(c)``, as of a picture's grey: one function, whose kernel is about the channels'
    mean one, since the gradients of channels with layers of their own at the end have little in common at the start.
    Memory: K and about three times `block_bytes`, or three rows of the largest parameter's gradients where they are
    more.

    Args:
        network: coordinates [..., d] to values [..., c].
        coords: the points.
        block_bytes: of a block of the Jacobian: some of the points by one of the parameters.
    """
    held = {name: parameter.detach().double() for name, parameter in network.named_parameters()}
    held |= {name: value.double() for name, value in network.named_buffers()}
    points = coords.to(next(network.parameters()).device, torch.float64)
    kernel = torch.zeros(len(points), len(points), dtype=torch.float64)
    for name, parameter in network.named_parameters():

        def output(value: Tensor, point: Tensor, name: str = name) -> Tensor:
            outputs = functional_call(network, held | {name: value}, (point,))
            return outputs.sum() / outputs.shape[-1] ** 0.5

        gradients = vmap(grad(output), (None, 0))
        rows = max(1, block_bytes // (8 * parameter.numel()))
        blocks = torch.arange(len(points)).split(rows)
        for number, left in enumerate(blocks):
            first = gradients(held[name], points[left]).flatten(1)
            for right in blocks[number:]:
                second = first if right is left else gradients(held[name], points[right]).flatten(1)
                kernel[left[:, None], right] += (first @ second.T).cpu()
    return kernel.triu() + kernel.triu(1).T


def eigenbasis(kernel: Float[Tensor, "m m"], target: Float[Tensor, "m c"]) -> Eigenbasis:
    """What frequencies the eigenvectors of a kernel have along a line, and what of the target lies in each.

    Args:
        kernel: on neighbouring samples of a line.
        target: there.
    """
    count = len(kernel)
    eigenvalues, vectors = torch.linalg.eigh(kernel)
    eigenvalues, vectors = eigenvalues.flip(0).clamp(min=0), vectors.flip(1)
    window = torch.hann_window(count, periodic=True, dtype=torch.float64)
    power = torch.fft.rfft(vectors.T * window).abs().square()
    power /= power.sum(1, keepdim=True)
    frequency = torch.arange(power.shape[1], dtype=torch.float64) * 2 / count
    cells = torch.nn.functional.adaptive_avg_pool2d(power[None], (min(CELLS, count), min(CELLS, power.shape[1])))
    values = target.double().sum(-1)
    energy = (vectors.T @ (values - values.mean())).square()
    return Eigenbasis(
        eigenvalues, power @ frequency, cells[0] / cells[0].sum(1, keepdim=True), energy / energy.sum().clamp(min=1e-30)
    )
