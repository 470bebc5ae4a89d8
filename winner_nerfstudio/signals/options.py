"""The options of each kind of signal: the one place where their defaults and help texts stand.

The command line, the data parsers and `fit` are made from these classes; the loaders take them.
"""

from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Literal

import numpy as np

from .errors import SignalError

Sign = Literal["auto", "watertight", "winding", "unsigned"]
Axis = Literal["x", "y", "z"]
NoData = float | tuple[float, ...] | Literal["auto", "keep"]
"""The value of samples that hold no data, or several; or "auto", what the file says; or "keep", every value is data."""


@dataclass
class SignalOptions:
    """The options of a kind of signal."""

    def check(self) -> None:
        """Check the options as far as they can be without the data.

        Raises:
            SignalError: an option is out of its range, in one line.
        """


@dataclass
class Mix(SignalOptions):
    """How a mesh's training points are distributed, as fractions of a batch."""

    surface_fraction: float = 0.3
    """Fraction of a mesh's training points that lie on the surface; of a point cloud's, half do."""
    near_fraction: float = 0.5
    """Fraction of a mesh's training points that lie near the surface; the rest fills the cube."""
    near_sigmas: tuple[float, ...] = (0.02, 0.004)
    """Standard deviations of their offsets from the surface, in half edges of the cube; as many points for each."""

    def check(self) -> None:
        """Check the fractions and the standard deviations."""
        on, near = self.surface_fraction, self.near_fraction
        if not (on >= 0 and near >= 0 and on + near <= 1):
            raise SignalError(
                f"surface_fraction={on} and near_fraction={near} must not be negative, and their sum at most 1"
            )
        if not self.near_sigmas or not all(0 < sigma < float("inf") for sigma in self.near_sigmas):
            raise SignalError(f"near_sigmas={tuple(self.near_sigmas)} must hold at least one positive, finite length")


@dataclass
class ShapeOptions(Mix):
    """A shape: a mesh, or points on its surface."""

    reference: Path | None = None
    """Mesh file of what the points were taken from, in their coordinates; metrics are computed against it."""
    sign: Sign = "auto"
    """How inside and outside are determined: for watertight meshes only, by the winding number, which closes holes, or
    not at all, for open surfaces; auto takes the first that the mesh allows."""
    up: Axis = "y"
    """Axis that points up in pictures and in the viewer; the data stays as it is."""
    nodata: NoData = "auto"
    """Of points: coordinate of those that hold no data, such as -9999 or nan, or several, which are dropped. With auto,
    points that seem to be such are refused; with keep they are fitted."""
    colour: Literal["auto", "off"] = "auto"
    """Whether the colours of a texture, of vertices or of points are fitted beside the distance, by a network of their
    own; with off they are left out."""

    def check(self) -> None:
        """Check how points are distributed, the value that means no data, the reference and the colours."""
        _check_nodata(self.nodata)
        if isinstance(self.reference, np.ndarray):
            raise SignalError("reference: an array is no mesh; give a mesh, or a file of one")
        if self.colour not in ("auto", "off"):
            raise SignalError(f"colour={self.colour!r} must be auto or off")
        super().check()


@dataclass
class GridOptions(SignalOptions):
    """What can be done to any regularly sampled signal in order to measure something."""

    noise_std: float = 0.0
    """Standard deviation of Gaussian noise that is added to the target, which spans [-1, 1]; metrics are computed
    against the clean target."""
    reference: Path | None = None
    """File of the clean signal, if the target is noisy; metrics are computed against it."""
    train_fraction: float = 1.0
    """Fraction of the samples that is fitted, selected at random; metrics for the others are reported apart."""
    data_seed: int = 0
    """Seed of the noise and of that selection; the seed of the run changes neither."""
    nodata: NoData = "auto"
    """Value of samples that hold no data, such as -9999 or nan, or several; they are not fitted and count in no metric.
    With auto it is what the file says, and values that seem to mean it are refused; with keep every value is data."""

    def check(self) -> None:
        """Check noise, fraction, seed and the value that means no data."""
        _check_nodata(self.nodata)
        if not 0 <= self.noise_std < float("inf"):
            raise SignalError(f"noise_std={self.noise_std} must be finite and not negative; the target spans [-1, 1]")
        if not 0 < self.train_fraction <= 1:
            raise SignalError(f"train_fraction={self.train_fraction} must be above 0 and at most 1")
        if self.noise_std > 0 and self.reference is not None:
            raise SignalError(
                "noise_std adds noise to a clean target, reference names the clean one of a noisy target; give one"
            )
        if self.data_seed < 0:
            raise SignalError(f"data_seed={self.data_seed} must not be negative")


@dataclass
class SupervisedOptions(GridOptions):
    """A signal that may be given by its derivatives instead of its values."""

    supervise: Literal["values", "gradient", "laplacian"] = "values"
    """What the data are: the values; or their gradient, with an axis more, the last, for its components along the other
    axes; or their Laplacian. The values themselves are fitted in each case; a picture of three channels is taken for
    the normals of a height if its gradient is asked for."""
    known: Path | None = None
    """With a gradient or a Laplacian: array file of the values where they are known, nan elsewhere. If left out, the
    mean is 0, and with a Laplacian the slope across the border."""

    def check(self) -> None:
        """Check that derivatives come without what is done to values."""
        super().check()
        if self.supervise not in ("values", "gradient", "laplacian"):
            raise SignalError(f"supervise={self.supervise!r} must be values, gradient or laplacian")
        if self.supervise == "values" and self.known is not None:
            raise SignalError("known holds values beside derivatives; it needs supervise=gradient or laplacian")
        if self.supervise != "values" and (self.noise_std > 0 or self.train_fraction < 1):
            raise SignalError(
                f"supervise={self.supervise} goes without noise_std and train_fraction, which are for values; add noise"
                " to the derivatives, or set some of them to nan with nodata=nan"
            )


@dataclass
class ImageOptions(SupervisedOptions):
    """A picture."""

    max_pixels: int = 200_000_000
    """Larger pictures are refused before they are decoded."""
    max_side: int | None = None
    """Reduce the picture, by averaging, until its longer side has no more pixels than this."""
    spacing: float | tuple[float, float] | None = None
    """With a gradient or a Laplacian: distance between neighbouring pixels in the unit of length that the derivatives
    are per, or one down and one to the right; 1 if left out. The fit's own coordinates are pixels."""

    def check(self) -> None:
        """Check the limits on its size, and the spacing."""
        super().check()
        _check_spacing(self.spacing, self.spacings, 2)
        if self.supervise != "values" and self.max_side is not None:
            raise SignalError("max_side reduces a picture of values; derivatives are fitted as they are")
        if self.max_pixels < 1 or (self.max_side is not None and self.max_side < 1):
            raise SignalError(f"max_pixels={self.max_pixels} and max_side={self.max_side} must be at least 1")

    @property
    def spacings(self) -> tuple[float, ...] | None:
        """The distance between neighbouring pixels along each axis, or None if it is left out."""
        return _spread_spacing(self.spacing, 2)


@dataclass
class AudioOptions(GridOptions):
    """A sound or another series."""

    start: float = 0.0
    """Seconds to skip."""
    duration: float | None = None
    """Seconds to fit; all that follow if left out."""
    max_samples: int | None = None
    """Fit no more samples than this."""
    mono: bool = False
    """Fit the mean of the channels."""
    sample_rate: float | None = None
    """Samples per second of an array, which doesn't say so itself; 1 if left out."""

    def check(self) -> None:
        """Check the excerpt."""
        super().check()
        if not 0 <= self.start < float("inf"):
            raise SignalError(f"start={self.start} must be finite and not negative (seconds)")
        if self.duration is not None and not self.duration > 0:
            raise SignalError(f"duration={self.duration} must be positive (seconds)")
        if self.max_samples is not None and self.max_samples < 1:
            raise SignalError(f"max_samples={self.max_samples} must be at least 1")


@dataclass
class VolumeOptions(SupervisedOptions):
    """A scalar field that is sampled in three dimensions."""

    spacing: float | tuple[float, float, float] | None = None
    """Distance between neighbouring samples in the world, or one along each axis, such as 1 1 2.5; if left out the
    file's, or 1 where it states none."""
    origin: tuple[float, float, float] | None = None
    """Coordinates of the first sample in the world; if left out the file's, or 0 0 0 where it states none."""
    dataset: str | None = None
    """Name of the array in a file that has names for arrays (.h5 .hdf5 .nc .zarr .vti .vtk); the only one if left
    out."""
    level: float | None = None
    """Value at the surface. If left out: half-way between the two values of an array that has only two, else 0 where
    values have both signs, else the middle of their range."""
    inside: Literal["above", "below"] = "above"
    """Side of the level that is inside: below for signed distances."""
    smooth: Literal["none", "gaussian", "constrained"] = "none"
    """Smooth an array of two values before it is fitted, so that its surface is no staircase; what is exported has the
    two values again."""
    max_samples: int = 200_000_000
    """Larger arrays are refused before they are read."""
    up: Axis = "z"
    """Axis that points up in pictures and in the viewer; the data stays as it is."""

    def check(self) -> None:
        """Check spacing, side and the limit on its size."""
        super().check()
        if self.max_samples < 1:
            raise SignalError(f"max_samples={self.max_samples} must be at least 1")
        _check_spacing(self.spacing, self.spacings, 3)
        if self.origin is not None and not (len(self.origin) == 3 and np.isfinite(self.origin).all()):
            raise SignalError(f"origin={self.origin} must be finite: one number for each of 3 axes")
        if self.inside not in ("above", "below"):
            raise SignalError(f"inside={self.inside!r} must be above or below")
        if self.smooth not in ("none", "gaussian", "constrained"):
            raise SignalError(f"smooth={self.smooth!r} must be none, gaussian or constrained")
        if self.supervise != "values" and self.smooth != "none":
            raise SignalError(f"smooth={self.smooth} is for arrays of two values; leave it out with derivatives")

    @property
    def spacings(self) -> tuple[float, ...] | None:
        """The distance between neighbouring samples in the world along each axis, or None if it is left out."""
        return _spread_spacing(self.spacing, 3)


def _spread_spacing(spacing: float | tuple[float, ...] | None, axes: int) -> tuple[float, ...] | None:
    """Return the spacing along each axis, from one for all or one for each; None if it is left out."""
    if spacing is None:
        return None
    steps = tuple(float(step) for step in np.atleast_1d(spacing))
    return steps * axes if len(steps) == 1 else steps


def _check_spacing(spacing: float | tuple[float, ...] | None, steps: tuple[float, ...] | None, axes: int) -> None:
    if steps is not None and not (len(steps) == axes and all(0 < step < float("inf") for step in steps)):
        raise SignalError(f"spacing={spacing} must be positive and finite: one number, or one for each of {axes} axes")


def nodata_values(nodata: NoData) -> tuple[float, ...]:
    """Return the values that the user says hold no data; none for "auto" and "keep"."""
    if isinstance(nodata, str):
        return ()
    return tuple(float(value) for value in (nodata if isinstance(nodata, (tuple, list)) else (nodata,)))


def nodata_flag(nodata: NoData, value: float) -> str:
    """Return the option with which samples of one more value hold no data, such as ``--nodata -9999 nan``."""
    return " ".join(["--nodata", *(f"{each:.9g}" for each in (*nodata_values(nodata), value))])


def _check_nodata(nodata: NoData) -> None:
    values = nodata if isinstance(nodata, (tuple, list)) else (nodata,)
    if nodata not in ("auto", "keep") and not (values and all(isinstance(value, Real) for value in values)):
        raise SignalError(f"nodata={nodata!r} must be a number or several, nan, auto or keep")
