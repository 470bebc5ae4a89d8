"""The optimisers of ``ns-train``, by name."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
import tyro
from nerfstudio.engine.optimizers import OptimizerConfig
from torch.nn import Parameter

from ...training.optimizers import EPSILON, OptimizerName, build_optimizer


@dataclass
class FieldOptimizerConfig(OptimizerConfig):
    """The optimiser of a network, see `build_optimizer`."""

    _target: Any = field(default_factory=lambda: build_optimizer)
    name: Annotated[OptimizerName, tyro.conf.arg(name="")] = "adam"
    """The optimiser; soap and muon treat the weights between hidden layers as matrices, and the others as adam does."""
    eps: float = EPSILON
    """The epsilon of adam, and of what soap and muon do like adam."""
    weight_decay: float = 0.0
    """What the weights, times this, add to their gradients."""

    def setup(self, params: Iterable[Parameter]) -> torch.optim.Optimizer:
        """Build the optimiser; end the program with one line if it cannot train these parameters."""
        try:
            return super().setup(params)
        except ValueError as error:
            raise SystemExit(f"error: --optimizers.fields.optimizer: {error}") from None


@dataclass
class SignalOptimizerConfig(FieldOptimizerConfig):
    """The optimiser of a network that is fitted to a signal, see `build_optimizer`."""

    lr: float | None = None  # type: ignore[assignment]
    """Learning rate at the first step; if left out, it depends on the kind and the size of the signal."""
    name: Annotated[OptimizerName | None, tyro.conf.arg(name="")] = None  # type: ignore[assignment]
    """The optimiser; if left out, it depends on them as well. soap and muon treat the weights between hidden layers as
    matrices, and the others as adam does."""
