"""Rules for the noise as values: a name, and how a target and a network give the noise scales."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import NamedTuple

from .checks import read_count, read_number
from .matched import EXACTNESS, Axis, NetworkTraits, compute_matched_scales, read_span
from .method import compute_published_scales, spectral_centroid
from .samples import Samples, check_samples


class TargetTraits(NamedTuple):
    """What a rule may know of the target.

    Attributes:
        centroid: ``psi``, see `spectral_centroid`.
        channels: The values per sample.
        dim: The number of spatial axes.
        axes: The spatial axes, see `axes_of`; None where nothing but their number is known.
    """

    centroid: float
    channels: int
    dim: int
    axes: tuple[Axis, ...] | None


class NoiseScales(NamedTuple):
    """The standard deviations, times omega_0, of the noise on the first two layers' weights.

    Attributes:
        s0: That on the first layer; where it differs from axis to axis, the root of the mean square.
        s1: That on the second layer.
        axes: ``s0`` along each axis where they differ by more than a hundredth, else empty.
        factors: What SIREN's draws of the first layer's weights are multiplied by along each axis, where its
            frequencies are to be lowered, else empty.
    """

    s0: float
    s1: float
    axes: tuple[float, ...] = ()
    factors: tuple[float, ...] = ()


@dataclass(frozen=True)
class NoiseSchedule:
    """A named rule from a target and a network to the two noise scales: an immutable value.

    The class methods make the rules that there are. A rule of your own is a function:

        >>> from winner_nerfstudio import NoiseSchedule
        >>> from winner_nerfstudio.winner import SCHEDULES, NoiseScales
        >>> def scale_with_centroid(target, network):
        ...     return NoiseScales(s0=100 * target.centroid, s1=0.1)
        >>> SCHEDULES["linear"] = lambda: NoiseSchedule("linear", scale_with_centroid)
        >>> SCHEDULES["linear"]()(0.25)
        NoiseScales(s0=25.0, s1=0.1, axes=(), factors=())

    Attributes:
        name: The rule's name.
        rule: The rule: a function of the target and the network.
        hidden_biases: What SIREN's draws of the biases between the first and the last layer are multiplied by.
        flat: Whether the rule's ``psi`` is that of all samples in one line, row after row, see `centroid_of`.
    """

    name: str
    rule: Callable[[TargetTraits, NetworkTraits], NoiseScales]
    hidden_biases: float = 1.0
    flat: bool = False

    def centroid_of(self, signal: Samples, *, dim: int | None = None) -> float:
        """Compute the centroid that the rule uses: `spectral_centroid`, of all samples in one line if `flat`.

        Args:
            signal: The samples, as in `spectral_centroid`.
            dim: The number of spatial axes, as in `spectral_centroid`.

        Raises:
            ValueError: As `spectral_centroid`.
        """
        if not self.flat:
            return spectral_centroid(signal, dim=dim)
        return spectral_centroid(check_samples(signal, dim).flatten(0, -2), dim=1)

    def __call__(
        self,
        centroid: float,
        *,
        channels: int = 1,
        samples: int | None = None,
        dim: int = 1,
        axes: Sequence[Axis] | None = None,
        network: NetworkTraits | None = None,
    ) -> NoiseScales:
        """Compute the noise scales for a target.

        Args:
            centroid: ``psi``, see `spectral_centroid`.
            channels: The target's values per sample.
            samples: The samples along an axis, if all axes have as many and the same centroid.
            dim: The number of spatial axes.
            axes: The spatial axes, see `axes_of`, instead of `samples`.
            network: The network that is to be initialised; `Siren` with its defaults if left out.

        Raises:
            ValueError: An argument is out of range, the rule does not cover this `dim`, or needs samples that are left
                out.
        """
        centroid = read_number("centroid", centroid, 1)
        channels, dim = read_count("channels", channels), read_count("dim", dim)
        if samples is not None:
            samples = read_count("samples", samples)
        known = None if samples is None else (Axis(centroid, samples),) * dim
        if axes is not None:
            known = _read_axes(axes, dim)
        return self.rule(TargetTraits(centroid, channels, dim, known), network or NetworkTraits())

    @classmethod
    def matched(cls, exactness: float = EXACTNESS, *, lowers: bool = False) -> "NoiseSchedule":
        """Return this package's rule: the network begins with the target's frequencies, in one to three dimensions.

        The network's root mean square frequency is ``nyquist * centroid^(2 (1 - exactness))`` along each axis; the
        hidden biases are 0. ``docs/noise-rule.md`` has the derivation and what was measured, `compute_matched_scales`
        the formulas.

        Args:
            exactness: From 0, true between the samples, to 1, exact on the samples. At 1/2 the network begins with the
                target's centroid, at 1 with the highest frequency that the samples can hold.
            lowers: Whether SIREN's own frequencies are lowered, down to a tenth, where they are above the target's, by
                factors on the first layer's weights; if not, such a network begins as SIREN along that axis. The small
                networks of a signal's parts are initialised so, see docs/noise-rule.md.

        Raises:
            ValueError: The exactness lies outside [0, 1].
        """
        exactness = read_number("exactness", exactness, 1)
        rule = partial(_apply_matched_rule, exactness=exactness, lowers=lowers)
        return cls("matched", rule, hidden_biases=0.0)

    @classmethod
    def reference(cls) -> "NoiseSchedule":
        """Return the rule of the authors' code, for sound and images: see `compute_published_scales`.

        Their script for images hands the pixels over as one long line, row after row. So the centroid is that of the
        line, not the mean over rows, although their function has that for images.
        """
        return cls("reference", _apply_published_rule, flat=True)

    @classmethod
    def paper(cls) -> "NoiseSchedule":
        """Return the rule of the paper's text (arXiv 2509.09719).

        It differs from `reference` in the exponent for sound, ``s0 = 3500 (1 - exp(-5 z))``, and takes the centroid of
        images by rows.
        """
        return cls("paper", partial(_apply_published_rule, audio_rate=5.0))

    @classmethod
    def fixed(cls, s0: float, s1: float) -> "NoiseSchedule":
        """Return a rule that gives these two scales, whatever the target; ``fixed(0, 0)`` is SIREN.

        Raises:
            ValueError: A scale is no number, negative, or too great for weights in single precision.
        """
        scales = NoiseScales(read_number("s0", s0), read_number("s1", s1))
        return cls("fixed", _FixedRule(scales))


def _read_axes(axes: Sequence[Axis], dim: int) -> tuple[Axis, ...]:
    """Return the axes of a target, checked.

    Raises:
        ValueError: There are others than `dim`, or one has no such centroid, count of samples or span.
    """
    if not isinstance(axes, Sequence) or not all(isinstance(axis, Axis) for axis in axes):
        raise ValueError(f"axes={axes!r} must be a list of Axis, such as axes_of returns")
    if len(axes) != dim:
        raise ValueError(f"{len(axes)} axes do not fit dim={dim}")
    return tuple(_read_axis(*axis) for axis in axes)


def _read_axis(centroid: float, samples: int, span: float) -> Axis:
    samples = read_count("samples", samples)
    return Axis(read_number("centroid", centroid, 1), samples, read_span(span, samples))


def _apply_matched_rule(target: TargetTraits, network: NetworkTraits, exactness: float, lowers: bool) -> NoiseScales:
    if target.axes is None:
        raise ValueError("the matched schedule goes by the number of samples; pass samples=, or the target itself")
    if not network.takes_coordinates:
        raise ValueError(
            "the matched schedule doesn't know the frequencies of what stands before the network; give s0 and s1, or"
            " another schedule"
        )
    scales, s1, factors = compute_matched_scales(target.axes, network, exactness)
    s0 = sqrt(sum(scale**2 for scale in scales) / len(scales))
    axes = scales if max(scales) > 1.01 * min(scales) else ()
    return NoiseScales(s0, s1, axes, factors if lowers and min(factors) < 1 else ())


def _apply_published_rule(target: TargetTraits, network: NetworkTraits, audio_rate: float = 7.0) -> NoiseScales:
    # The authors' centroid is already psi / channels, and their rule divides once more.
    return NoiseScales(*compute_published_scales(target.centroid / target.channels**2, target.dim, audio_rate))


@dataclass(frozen=True)
class _FixedRule:
    scales: NoiseScales

    def __call__(self, target: TargetTraits, network: NetworkTraits) -> NoiseScales:
        return self.scales


SCHEDULES: dict[str, Callable[[], NoiseSchedule]] = {
    "matched": NoiseSchedule.matched,
    "paper": NoiseSchedule.paper,
    "reference": NoiseSchedule.reference,
}
"""The schedules by name: each entry makes one.

One of your own is added by ``SCHEDULES["name"] = make_schedule`` and can then be chosen wherever a schedule can; see
`NoiseSchedule` for an example.
"""
