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
"""Size of a block of the Jacobian, at most; two are held at a time, and about as much is used to compute one."""
CELLS = 64
"""Groups of eigenvectors, and bands of frequencies, at most, that the eigenbasis' spectrum is averaged in."""


@dataclass(frozen=True)
class Eigenbasis:
    """The eigenbasis of a kernel on m points, the greatest eigenvalue first. Frequencies are parts of Nyquist's.

    Attributes:
        eigenvalues: The eigenvalues, [m]; negative ones, which are rounding errors, are set to 0.
        frequency: The mean frequency of each eigenvector, weighted by power, [m].
        spectrum: The power of groups of eigenvectors by bands of frequency, each row's sum 1, [g, b].
        energy: The part of the target's variance that lies in each eigenvector, [m]; 0 of a constant target.
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
        """The greatest eigenvalue over the least, which counts for no less than double precision resolves."""
        return float(self.eigenvalues[0] / self.eigenvalues[-1].clamp(min=self._least))

    @property
    def resolved(self) -> int:
        """How many eigenvalues double precision distinguishes from 0; eigenvectors of the others are arbitrary."""
        return int((self.eigenvalues > self._least).sum())

    def energy_in_top(self, part: float) -> float:
        """Return the part of the target's variance in the first `part` of the eigenvectors, as far as resolved."""
        return float(self.energy[: min(max(1, round(part * len(self.energy))), self.resolved)].sum())

    def energy_within(self, ratio: float) -> float:
        """Return the part of the target's variance in eigenvectors with at least `ratio` of the greatest eigenvalue."""
        return float(self.energy[self.eigenvalues >= max(ratio * float(self.eigenvalues[0]), self._least)].sum())

    @property
    def _least(self) -> float:
        """Return the size of an eigenvalue that rounding leaves in place of 0."""
        return float(self.eigenvalues[0]) * len(self.eigenvalues) * torch.finfo(torch.float64).eps


def compute_tangent_kernel(network: nn.Module, coords: Float[Tensor, "m d"], block_bytes: int = BLOCK_BYTES) -> Tensor:
    """Return ``K = J J^T`` by all parameters, in double precision, on the CPU, [m, m].

    c channels are summed and divided by ``sqrt(c)``, like a picture's grey value. The kernel of that one function is
    about the mean of the channels' kernels, for the gradients of channels, which have weights of their own in the last
    layer, have little in common after initialisation.
    Memory: K and about three times `block_bytes`, or three rows of the largest parameter's gradients where they are
    more.

    Args:
        network: From coordinates [..., d] to values [..., c].
        coords: The coordinates of the m points.
        block_bytes: Size of a block of the Jacobian: some of the points by one of the parameters.
    """
    constants = {name: parameter.detach().double() for name, parameter in network.named_parameters()}
    constants |= {name: value.double() for name, value in network.named_buffers()}
    points = coords.to(next(network.parameters()).device, torch.float64)
    kernel = torch.zeros(len(points), len(points), dtype=torch.float64)
    for name, parameter in network.named_parameters():

        def output(value: Tensor, point: Tensor, name: str = name) -> Tensor:
            outputs = functional_call(network, constants | {name: value}, (point,))
            total: Tensor = outputs.sum() / outputs.shape[-1] ** 0.5
            return total

        gradients = vmap(grad(output), (None, 0))
        rows = max(1, block_bytes // (8 * parameter.numel()))
        blocks = torch.split(torch.arange(len(points)), rows)
        for index, left in enumerate(blocks):
            first = gradients(constants[name], points[left]).flatten(1)
            for right in blocks[index:]:
                second = first if right is left else gradients(constants[name], points[right]).flatten(1)
                kernel[left[:, None], right] += (first @ second.T).cpu()
    return kernel.triu() + kernel.triu(1).T


def compute_eigenbasis(kernel: Float[Tensor, "m m"], target: Float[Tensor, "m c"]) -> Eigenbasis:
    """Return the eigenvectors' frequencies along a line, and how the target is distributed over them.

    Args:
        kernel: The kernel on m neighbouring samples of a line.
        target: The target's values at these samples.
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
    spectrum = cells[0] / cells[0].sum(1, keepdim=True)
    return Eigenbasis(eigenvalues, power @ frequency, spectrum, energy / energy.sum().clamp(min=1e-30))
