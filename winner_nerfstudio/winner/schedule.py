"""Rules for the noise as values: a name, and what it makes of a target."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite, sqrt
from typing import NamedTuple

import numpy as np
from torch import Tensor

from .matched import EXACTNESS, Axis, Start, matched_scales
from .method import checked, published_scales, spectral_centroid


class Target(NamedTuple):
    """What a rule may know: ``psi``, channels, the spatial axes (None: nothing but their number), the network."""

    centroid: float
    channels: int
    dim: int
    axes: tuple[Axis, ...] | None
    network: Start


class NoiseScales(NamedTuple):
    """Standard deviations, times omega_0, of the noise on the first and the second layer's weights.

    Attributes:
        s0: of the first; where it differs from axis to axis, the root of the mean square.
        s1: of the second.
        axes: s0 along each axis where they differ, by more than a hundredth, else nothing.
    """

    s0: float
    s1: float
    axes: tuple[float, ...] = ()


@dataclass(frozen=True)
class NoiseSchedule:
    """A named rule from the target's centroid to the two noise scales: an immutable value, made by a class method.

    Attributes:
        name: of the rule.
        rule: itself.
        hidden_biases: what SIREN's draws of the biases between the first and the last layer are multiplied by.
        flat: whether its ``psi`` is that of all samples in one line, row after row, see `centroid_of`.
    """

    name: str
    rule: Callable[[Target], NoiseScales]
    hidden_biases: float = 1.0
    flat: bool = False

    def centroid_of(self, signal: Tensor | np.ndarray, *, dim: int | None = None) -> float:
        """The centroid that the rule goes by: `spectral_centroid`, in one line if it is `flat`.

        Args:
            signal: as in `spectral_centroid`.
            dim: likewise.

        Raises:
            ValueError: as `spectral_centroid`.
        """
        if not self.flat:
            return spectral_centroid(signal, dim=dim)
        return spectral_centroid(checked(signal, dim).flatten(0, -2), dim=1)

    def __call__(
        self,
        centroid: float,
        *,
        channels: int = 1,
        samples: int | None = None,
        dim: int = 1,
        axes: Sequence[Axis] | None = None,
        network: Start | None = None,
    ) -> NoiseScales:
        """The noise scales for a target.

        Args:
            centroid: ``psi``, see `spectral_centroid`.
            channels: of the target.
            samples: along an axis, where all have as many and the same centroid.
            dim: spatial axes.
            axes: each of them, see `axes_of`, instead of `samples`.
            network: that is to be initialised; one of the usual size if left out.

        Raises:
            ValueError: arguments out of range, no rule for this `dim`, or samples that the rule needs and isn't told.
        """
        if not 0 <= centroid <= 1:
            raise ValueError(f"centroid={centroid} must lie in [0, 1], where 1 is the Nyquist frequency")
        if channels < 1 or dim < 1 or (samples is not None and samples < 1):
            raise ValueError(f"channels={channels}, dim={dim} and samples={samples} must be at least 1")
        if axes is not None and len(axes) != dim:
            raise ValueError(f"{len(axes)} axes do not fit dim={dim}")
        if axes is None and samples is not None:
            axes = [Axis(centroid, samples)] * dim
        axes = None if axes is None else tuple(axes)
        return self.rule(Target(centroid, channels, dim, axes, network or Start()))

    @classmethod
    def matched(cls, exactness: float = EXACTNESS) -> "NoiseSchedule":
        """Ours: the network begins with the frequencies that the target has, in one, two and three dimensions.

        Its root mean square frequency is ``nyquist * centroid^(2 (1 - exactness))`` along each axis; the hidden biases
        are 0. ``docs/noise-rule.md`` has the derivation and what was measured, `matched_scales` the formulas.

        Args:
            exactness: from 0, true between the samples, to 1, exact on the samples: 1/2 is the target's centroid, 1
                the highest frequency that the samples can hold.

        Raises:
            ValueError: an exactness outside [0, 1].
        """
        if not 0 <= exactness <= 1:
            raise ValueError(
                f"exactness={exactness} must lie in [0, 1], from true between the samples to exact on them"
            )
        return cls("matched", partial(_matched, exactness=float(exactness)), hidden_biases=0.0)

    @classmethod
    def reference(cls) -> "NoiseSchedule":
        """What the authors' code does, for sound and images: see `published_scales`.

        Their script for images hands the pixels over as one long line, row after row, so that the centroid is that of
        the line, not the mean over rows which their function has for images.
        """
        return cls("reference", _published, flat=True)

    @classmethod
    def paper(cls) -> "NoiseSchedule":
        """As `reference`, with the exponent that the paper's text has for sound, s0 = 3500 (1 - exp(-5 z)), and the
        centroid of images by rows.
        """
        return cls("paper", partial(_published, audio_rate=5.0))

    @classmethod
    def fixed(cls, s0: float, s1: float) -> "NoiseSchedule":
        """Hand-given scales, whatever the target; ``fixed(0, 0)`` is SIREN.

        Raises:
            ValueError: a scale that is negative or not finite.
        """
        scales = NoiseScales(float(s0), float(s1))
        if not all(isfinite(s) and s >= 0 for s in scales[:2]):
            raise ValueError(f"s0={s0} and s1={s1} must be finite and not negative")
        return cls("fixed", _Always(scales))


def _matched(target: Target, exactness: float) -> NoiseScales:
    if target.axes is None:
        raise ValueError("the matched schedule goes by the number of samples; pass samples=, or the target itself")
    if not target.network.takes_coordinates:
        raise ValueError(
            "the matched schedule doesn't know the frequencies of what stands before the network; give s0 and s1, or"
            " another schedule"
        )
    scales, s1 = matched_scales(target.axes, target.network, exactness)
    s0 = sqrt(sum(scale**2 for scale in scales) / len(scales))
    return NoiseScales(s0, s1, scales if max(scales) > 1.01 * min(scales) else ())


def _published(target: Target, audio_rate: float = 7.0) -> NoiseScales:
    # The authors' centroid is already psi / channels, and their rule divides once more.
    return NoiseScales(*published_scales(target.centroid / target.channels**2, target.dim, audio_rate))


@dataclass(frozen=True)
class _Always:
    scales: NoiseScales

    def __call__(self, target: Target) -> NoiseScales:
        return self.scales


SCHEDULES: dict[str, Callable[[], NoiseSchedule]] = {
    "matched": NoiseSchedule.matched,
    "paper": NoiseSchedule.paper,
    "reference": NoiseSchedule.reference,
}
"""The rules by name: one that is added here can be chosen wherever a rule can."""
