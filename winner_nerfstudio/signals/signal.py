"""The interface that every signal has, whatever its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np

from .normalization import Normalization
from .records import Record

if TYPE_CHECKING:
    from jaxtyping import Float

    from ..winner import Axis


class Signal(Protocol):
    """A target to fit: loaded, checked and normalised to [-1, 1]^d."""

    kind: ClassVar[str]
    """What its values mean: "sdf", "image", "audio", "volume"."""

    @property
    def name(self) -> str:
        """What messages call the signal."""
        ...

    @property
    def dim(self) -> int:
        """The number of coordinates per point."""
        ...

    @property
    def channels(self) -> int:
        """The number of values per point."""
        ...

    @property
    def normalization(self) -> Normalization:
        """The map from the input's coordinates to [-1, 1]^d."""
        ...

    @property
    def record(self) -> Record:
        """What is needed to write a fit back in the input's format.

        It also identifies the target: a checkpoint with another record belongs to another target.
        """
        ...

    @property
    def suffix(self) -> str:
        """The suffix of a file that a fit can be written to."""
        ...

    @property
    def centroid(self) -> float:
        """The spectral centroid ``psi`` in [0, 1]; computing it may take seconds the first time."""
        ...

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The spectral centroid and the number of samples along each axis; it may take seconds the first time."""
        ...

    def describe(self) -> list[str]:
        """Return lines that tell the user about the input."""
        ...

    def facts(self) -> dict[str, str]:
        """Return further facts about the signal, by name."""
        ...


class Drawable(Signal, Protocol):
    """A signal from which any number of new training samples can be drawn."""

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, Float[np.ndarray, "n k"]]:
        """Draw training samples in random order; this is called from a thread.

        Args:
            rng: the source of randomness.
            count: count of samples, n.

        Returns:
            ``coords`` [n, d] and ``values`` [n, c], float32.
        """
        ...
