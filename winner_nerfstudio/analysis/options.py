"""The options of an analysis."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from dataclasses import field as dataclass_field
from typing import Any, Literal

from ..training.options import NoiseOptions

Init = Literal["siren", "winner", "weight-scaling", "gradient-control", "matched-scaling"]
RANKS = {"lowest": 0.0, "median": 0.5, "highest": 1.0}
"""The members of a bank that are looked at, by their rank in the order of their targets' centroids."""
SINGLE_BATCH = 1024
"""The points per training step of a single network if they are left open."""


@dataclass
class Study:
    """What to measure, and how the networks are fitted in between."""

    init: tuple[Init, ...] = ("siren", "winner")
    """Initialisations to compare: SIREN's, SIREN's with WINNER's noise, and SIREN's with the scales of others."""
    noise: NoiseOptions = dataclass_field(default_factory=NoiseOptions)
    """WINNER's noise."""
    parts: tuple[int, ...] | Literal["auto"] = "auto"
    """Number of parts into which the target is divided, as of a fit: along its longest axis or along each axis, of a
    mesh the cells along each axis; 1 is a single network, and auto divides what a fit divides."""
    size: Literal["small", "medium", "large"] | None = None
    """Size of the parts and their networks, as of a fit."""
    hidden_dim: int | None = None
    """Width of each hidden layer; if left out, as of a fit: 256 of a single network."""
    num_layers: int | None = None
    """Number of hidden layers; if left out, as of a fit: 4 of a single network."""
    omega_0: float | None = None
    """Frequency of the layers from the second on; 30 if left out."""
    first_omega_0: float | None = None
    """Frequency of the first layer; 30 if left out."""
    steps: int = 200
    """Training steps between the two measurements of each network; 0 measures only after initialisation."""
    batch_size: int | None = None
    """Points per training step; if left out, 1024 of a single network, and as of a fit of the networks of parts."""
    learning_rate: float | None = None
    """First learning rate; that of a fit if left out."""
    seed: int = 42
    """Seed of the networks and the batches."""
    samples: int = 8192
    """Samples of the target, at most, along whose lines the spectra are computed."""
    kernel_points: int = 512
    """Neighbouring samples of one line, at most, for the tangent kernel; time grows with their square."""

    def check(self) -> None:
        """Check the options.

        Raises:
            ValueError: one of them is out of its range, in one line.
        """
        if not self.init or len(set(self.init)) < len(self.init):
            raise ValueError(
                f"init {' '.join(self.init) or 'of none'} must name one or more initialisations, each once"
            )
        if self.noise != NoiseOptions() and "winner" not in self.init:
            raise ValueError(f"init {' '.join(self.init)} has no noise; leave noise out, or add winner to init")
        if self.steps < 0 or self.seed < 0:
            raise ValueError(f"steps={self.steps} and seed={self.seed} must not be negative")
        if not 256 <= self.samples <= 1 << 17:
            raise ValueError(f"samples={self.samples} must lie between 256 and 131072")
        if not 16 <= self.kernel_points <= 4096:
            raise ValueError(
                f"kernel_points={self.kernel_points} must lie between 16 and 4096; the kernel has their square"
            )

    def network(self, init: Init) -> dict[str, Any]:
        """Return the options of a fit for the network, its initialisation and its batches."""
        noise = asdict(self.noise) if init == "winner" else {}
        names = ("parts", "size", "hidden_dim", "num_layers", "omega_0", "first_omega_0")
        batches = {} if self.batch_size is None else {"batch_size": self.batch_size}
        return {"init": init, **{name: getattr(self, name) for name in names}, **noise, **batches}
