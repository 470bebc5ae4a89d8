"""The training loop's one step, for whoever counts them: `fit`, experiments."""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..fields import Field
from .loss import Loss
from .sampling import Sampler

ADAM_EPSILON = 1e-8


class Training:
    """A field on its way to a signal, step by step; between steps it may be measured at will.

    A step costs no synchronisation with the device: whoever looks at `loss` waits for it.

    Args:
        field: what is trained, in place.
        sampler: serves the batches, started.
        loss: what they are compared by.
        learning_rate: of Adam, at first.
        factor: from the number of steps done to the part of the learning rate that the next one takes.
    """

    def __init__(
        self, field: Field, sampler: Sampler, loss: Loss, learning_rate: float, factor: Callable[[int], float]
    ) -> None:
        self.field, self._sampler, self._loss = field, sampler, loss
        self._optimizer = torch.optim.Adam(field.network.parameters(), learning_rate, eps=ADAM_EPSILON)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, factor)
        self.done = 0
        """Steps so far."""
        self.loss = torch.tensor(math.nan)
        """That of the field as it was before the last step, on the device."""

    @torch.enable_grad()
    def step(self) -> None:
        """One more step; an exception on the way leaves the count as it was."""
        batch = self._loss.select(self.field, self._sampler.batch(self.done))
        self._optimizer.zero_grad()
        terms = self._loss.terms(self._loss.outputs(self.field, batch["coords"]), batch)
        total: Tensor = functools.reduce(torch.add, terms.values())
        total.backward()
        self._optimizer.step()
        self._schedule.step()
        self.loss, self.done = total.detach(), self.done + 1

    def finish(self) -> None:
        """Let go of the gradients and put the field into evaluation."""
        self._optimizer.zero_grad(set_to_none=True)
        self.field.eval()
