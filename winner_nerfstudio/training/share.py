"""The shares of several processes in a batch that all of them draw, and the sums of what each makes of its share.

Every process draws the whole batch, which depends on the seed and the step only, and computes the loss of its share.
The shares' losses are weighted such that they and their gradients add up to those of the whole batch, and so each
process takes the step that one process alone would take, to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Share:
    """The share of one of several processes, by default of the only one.

    Attributes:
        rank: index of the process.
        count: number of processes.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def of_process(cls) -> Share:
        """Return the share of this process in its group of `torch.distributed`, if it has joined one."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()

    def rows(self, length: int) -> slice:
        """Return which of so many rows are this process's; of fewer rows than processes some have none."""
        return slice(self.rank * length // self.count, (self.rank + 1) * length // self.count)

    def split(self, batch: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], float]:
        """Return this process's rows of a batch, and the weight of their mean in the mean over all rows.

        A batch with fewer rows than processes is not split; each process gets all of it.
        """
        length = len(next(iter(batch.values())))
        if length < self.count:
            return dict(batch), 1 / self.count
        rows = self.rows(length)
        return {name: values[rows] for name, values in batch.items()}, (rows.stop - rows.start) / length

    def gather(self, values: Float[Tensor, " own"], length: int) -> Float[Tensor, " length"]:
        """Return the values of all processes, each of which gives those of its `rows`."""
        if self.count == 1:
            return values
        whole = values.new_zeros(length)
        whole[self.rows(length)] = values
        dist.all_reduce(whole)
        return whole

    def add(self, values: Tensor) -> Tensor:
        """Return the sum of all processes' values, without gradients."""
        total = values.detach().clone()
        if self.count > 1:
            dist.all_reduce(total)
        return total

    def add_terms(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return terms with the values of the sums over all processes, and the gradients of this process's own."""
        if self.count == 1:
            return terms
        sums = self.add(torch.stack([term.detach() for term in terms.values()]))
        return {name: term + (sums[index] - term.detach()) for index, (name, term) in enumerate(terms.items())}

    def add_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace the gradients of parameters by their sums over all processes.

        The same parameters must have a gradient in each process.
        """
        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        gradients = [torch.view_as_real(each) if each.is_complex() else each for each in gradients]
        if not gradients:
            return
        joined = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(joined)
        for gradient, total in zip(gradients, joined.split([each.numel() for each in gradients]), strict=True):
            gradient.copy_(total.view_as(gradient))

    def copy_first(self, weights: Iterable[Tensor]) -> None:
        """Replace weights by those of the first process, in place."""
        if self.count > 1:
            for weight in weights:
                dist.broadcast(torch.view_as_real(weight.detach()) if weight.is_complex() else weight.detach(), 0)
