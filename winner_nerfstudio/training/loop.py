"""One step of the training loop; the callers (`fit` and the experiments) loop over the steps."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .initialize import Start, collect_parameters
from .optimizers import build_optimizer
from .sampling import Sampler


class Training:
    """The training of a field, one step at a time; the field may be used and measured between steps.

    A step does not wait for the device. Reading the value of `loss` does.

    Args:
        start: the field, which is trained in place, with the batches and the loss; what is fitted beside it is trained
            by the same steps.
        learning_rate: learning rate at the first step.
        factor: function from the number of finished steps to the factor of the learning rate for the next step.
        optimizer: name of the optimiser, see `build_optimizer`; or a function that builds one for parameters and the
            learning rate.

    Raises:
        ValueError: there is no optimiser of that name, or it cannot train this network.
    """

    def __init__(
        self,
        start: Start,
        learning_rate: float,
        factor: Callable[[int], float],
        optimizer: str | Callable[[Sequence[Tensor], float], torch.optim.Optimizer] = "adam",
    ) -> None:
        self.field = start.field
        self._members = [start] if start.companion is None else [start, start.companion]
        parameters = collect_parameters(start.field, start.companion_field)
        if isinstance(optimizer, str):
            self._optimizer = build_optimizer(parameters, optimizer, learning_rate)
        else:
            self._optimizer = optimizer(parameters, learning_rate)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(self._optimizer, factor)
        self.done = 0
        """Number of finished steps."""
        self.loss = torch.tensor(math.nan)
        """Loss of the field before the last step, on the device; NaN before the first step."""

    @property
    def samplers(self) -> list[Sampler]:
        """The samplers of the fields."""
        return [member.sampler for member in self._members]

    @torch.enable_grad()
    def step(self) -> None:
        """Do one training step; if it raises an exception, `done` stays as it was."""
        batches = [member.loss.select(member.field, member.sampler.batch(self.done)) for member in self._members]
        self._optimizer.zero_grad()
        terms: list[Tensor] = []
        for member, batch in zip(self._members, batches, strict=True):
            terms += member.loss.training_terms(member.field, batch).values()
        total = functools.reduce(torch.add, terms)
        total.backward()
        self._optimizer.step()
        self._schedule.step()
        self.loss, self.done = total.detach(), self.done + 1

    def state_dict(self) -> dict[str, Any]:
        """Return all that a further step depends on, tensors and plain values; the next step changes them in place."""
        return {
            "fields": [member.field.state_dict() for member in self._members],
            "optimizer": self._optimizer.state_dict(),
            "done": self.done,
            "loss": self.loss,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state of the same training."""
        for member, field in zip(self._members, state["fields"], strict=True):
            member.field.load_state_dict(field)
        self._optimizer.load_state_dict(state["optimizer"])
        self.done, self.loss = state["done"], state["loss"]
        self._schedule.last_epoch = self.done

    def run(self, steps: int) -> None:
        """Do the steps that are left of so many, and finish."""
        while self.done < steps:
            self.step()
        self.finish()

    def finish(self) -> None:
        """Release the gradients and set the field to evaluation mode."""
        self._optimizer.zero_grad(set_to_none=True)
        for member in self._members:
            member.field.eval()
