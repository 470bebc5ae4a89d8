"""Training protocols of other papers: their points, loss and optimiser in place of the kind's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..signals.errors import SignalError
from ..training.initialize import Start, build_field, describe_initialization, initialize_
from ..training.loss import SquareLoss
from ..training.prepare import FitOptions
from ..training.sampling import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jaxtyping import Float
    from numpy import ndarray

    from ..signals.shape import Shape
    from ..signals.signal import Signal

PROTOCOLS = ("bacon",)
"""The names of the protocols."""
BACON_SCALES = (0.2, 0.002)
"""Scales of the Laplace distributions of the coarse and the fine offsets, in half edges of the cube. The authors' cube
has the edge 1 and their scales are .1 and .001; their shapes fill nine tenths of it, as ours do."""
COARSE_WEIGHT = 0.01
"""Weight of the square errors at the coarse points, where those at the fine ones have weight 1."""
CLIP = 1.0
"""The greatest norm of the gradient by all weights; longer ones are shortened to it."""


@dataclass(frozen=True)
class BaconPoints:
    """The points that BACON is trained with (arXiv 2112.04645, `MeshSDF` in its code), and FINER after it.

    All lie off the surface: half of them with coarse offsets from it, half with fine ones. What leaves the cube comes
    back on its other side. The authors estimate the distance from the three nearest points of a cloud; here it is that
    from the mesh.

    Attributes:
        shape: the shape.
    """

    shape: Shape

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, Float[ndarray, "n k"]]:
        """Return fresh samples, float32: ``coords`` [n, 3], ``values`` [n, 1] and the errors' ``weights`` [n, 1]."""
        points, _ = self.shape.sample_surface(rng, count)
        scales = np.resize(BACON_SCALES, (count, 1))
        points = (points + rng.laplace(size=(count, 3)) * scales + 1) % 2 - 1
        samples = {
            "coords": points,
            "values": self.shape.signed_distance(points)[:, None],
            "weights": np.resize([COARSE_WEIGHT, 1.0], (count, 1)),
        }
        return {name: values.astype(np.float32) for name, values in samples.items()}


class WeightedSquares(SquareLoss):
    """The sum of the square errors, each times its weight in the batch (`overfit_sdf` in BACON's code)."""

    def terms(self, outputs: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Return the only term, ``squares``."""
        return {"squares": (batch["weights"] * (outputs["values"] - batch["values"]).square()).sum()}


class ClippedAdam(torch.optim.Adam):
    """Adam in its AMSGrad variant, on gradients that are no longer than `CLIP` (`training.train` in BACON's code)."""

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        super().__init__(parameters, lr, amsgrad=True)

    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Clip the gradients, then do Adam's step."""
        torch.nn.utils.clip_grad_norm_([weight for group in self.param_groups for weight in group["params"]], CLIP)
        return super().step(closure)


def start_bacon(signal: Signal, options: FitOptions, device: torch.device, seed: int) -> Start:
    """Return what `start` does, with BACON's points and loss; train it with `ClippedAdam`.

    Raises:
        SignalError: the signal is no mesh.
    """
    from ..signals.shape import Shape

    if not isinstance(signal, Shape):
        raise SignalError(f"{signal.name}: protocol bacon fits meshes; leave it out for points")
    sampler = options.batches.sampler(BaconPoints(signal), device, seed)
    sampler.start()
    field = build_field(signal, options.network, seed)
    initialization = describe_initialization(initialize_(field, signal, options.network, seed), options.network)
    return Start(field.to(device), sampler, WeightedSquares(), initialization)
