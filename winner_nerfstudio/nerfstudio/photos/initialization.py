"""The options of the initialisation from photographs, and the noise scales that they lead to."""

from dataclasses import dataclass, field
from math import inf
from typing import Literal

from ...training.options import NoiseOptions
from ...winner import Initialization
from ...winner.photos import SceneFrequency


def check_least(options: object, prefix: str, **least: int) -> None:
    """Check that options, whose names on the command line begin with a prefix, are not less than some values.

    Raises:
        ValueError: one is; the message is one line.
    """
    for name, limit in least.items():
        value = getattr(options, name)
        if value < limit:
            raise ValueError(f"--{prefix}.{name.replace('_', '-')} {value} must be at least {limit}")


def check_frequency(omega_0: float, prefix: str) -> None:
    """Check the frequency of the sine layers.

    Raises:
        ValueError: it is not positive or not finite; the message is one line.
    """
    if not 0 < omega_0 < inf:
        raise ValueError(f"--{prefix}.omega-0 {omega_0} must be positive and finite")


@dataclass
class PhotoInitializationOptions:
    """How the sine networks of a scene are initialised."""

    init: Literal["winner", "siren"] = "winner"
    """Initialisation: "winner" is SIREN's with WINNER's noise, "siren" is SIREN's alone."""
    noise: NoiseOptions = field(default_factory=NoiseOptions)
    """WINNER's noise. Its scales are computed from the photographs and their cameras unless s0 and s1 are set."""

    def check(self) -> None:
        """Check the options.

        Raises:
            ValueError: they don't go together, in one line.
        """
        if self.init == "siren" and self.noise != NoiseOptions():
            raise ValueError(
                "--pipeline.model.init siren adds no noise; leave the options --pipeline.model.noise.* out, or use"
                " --pipeline.model.init winner"
            )
        if self.noise.schedule not in ("matched", "fixed"):
            raise ValueError(
                f"--pipeline.model.noise.schedule {self.noise.schedule} is for signals, not for photographs; leave it"
                " out, or use fixed with --pipeline.model.noise.s0 and --pipeline.model.noise.s1"
            )
        if (self.noise.exactness, self.noise.hidden_biases, self.noise.denoise) != (None, None, False):
            raise ValueError(
                "--pipeline.model.noise.exactness, --pipeline.model.noise.hidden-biases and"
                " --pipeline.model.noise.denoise are for signals, not for photographs; leave them out"
            )
        self.noise.check("--pipeline.model.noise.")

    def choose_initialization(self, frequency: SceneFrequency, unit: float, omega_0: float) -> Initialization:
        """Return the initialisation of a network that learns the colours of the photographs.

        Args:
            frequency: the frequency that the photographs resolve.
            unit: length of the network's unit of coordinate, scene units.
            omega_0: frequency of the network's sine layers.
        """
        if self.init == "siren":
            return Initialization(frequency.centroid, "siren", s0=0.0, s1=0.0)
        if self.noise.s0 is not None and self.noise.s1 is not None:
            return Initialization(None, "fixed", self.noise.s0, self.noise.s1)
        return Initialization(frequency.centroid, "photos", *frequency.scales(unit, omega_0))
