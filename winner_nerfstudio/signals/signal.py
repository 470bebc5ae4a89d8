"""What the pipeline asks of a target, whatever its kind."""

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
        """What messages call it."""
        ...

    @property
    def dim(self) -> int:
        """Coordinates per point."""
        ...

    @property
    def channels(self) -> int:
        """Values per point."""
        ...

    @property
    def normalization(self) -> Normalization:
        """The way from the input's coordinates to [-1, 1]^d."""
        ...

    @property
    def record(self) -> Record:
        """What it takes to write a fit back as the input was.

        A checkpoint whose record is another belongs to another target.
        """
        ...

    @property
    def suffix(self) -> str:
        """Of a file that a fit can be written to."""
        ...

    @property
    def centroid(self) -> float:
        """The spectral centroid ``psi`` in [0, 1]; may take seconds the first time."""
        ...

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Centroid and samples along each axis; likewise."""
        ...

    def describe(self) -> list[str]:
        """What the user should know of the input, a line each."""
        ...

    def facts(self) -> dict[str, str]:
        """What else there is to know of it, by name."""
        ...


class Drawable(Signal, Protocol):
    """A signal that is sampled anew for ever."""

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, Float[np.ndarray, "n k"]]:
        """Training samples in random order: ``coords`` [n, d], ``values`` [n, c], float32; called from a thread."""
        ...
