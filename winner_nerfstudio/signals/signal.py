"""What the pipeline asks of a target, whatever its kind."""

from typing import Protocol

import numpy as np
from jaxtyping import Float

from .normalization import Normalization


class Signal(Protocol):
    """A target to fit: loaded, checked and normalised to [-1, 1]^d."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def normalization(self) -> Normalization:
        """The way from the input's coordinates to [-1, 1]^d."""
        ...

    @property
    def centroid(self) -> float:
        """The spectral centroid ``psi`` in [0, 1]; may take seconds the first time."""
        ...

    def describe(self) -> list[str]:
        """What the user should know of the input, a line each."""
        ...

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, Float[np.ndarray, "n k"]]:
        """Training samples in random order: ``coords`` [n, d], ``values`` [n, c], float32; called from a thread."""
        ...
