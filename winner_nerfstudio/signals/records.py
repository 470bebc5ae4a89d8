"""Records: what a checkpoint or a field file keeps of the target that its field was fitted to.

A record is an immutable value of plain numbers and strings. Checkpoints and field files hold it as JSON, and both read
it back by `Record.from_json`, which believes nothing that it has not checked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from .lattice import Lattice, pitch_of
from .units import Units

if TYPE_CHECKING:
    from typing_extensions import Self

MOST_SAMPLES = 1 << 34
"""No grid has more samples than this."""
MOST_RESOLUTION = 8192
"""No surface is extracted with more samples per axis than this."""
LEAST_RATE, GREATEST_RATE = 1e-100, 1e100
"""The range of the sample rate of a series, per second."""
ANY_CHANNELS: tuple[int, ...] = ()
IMAGE_MODES = {
    "1": (1,),
    "L": (1,),
    "LA": (2,),
    "La": (2,),
    "L+": ANY_CHANNELS,
    "P": (3, 4),
    "RGB": (3,),
    "RGBA": (4,),
    "RGBa": (4,),
    "RGB+": ANY_CHANNELS,
    "CMYK": (4,),
    "CMYK+": ANY_CHANNELS,
    "array": ANY_CHANNELS,
}
"""The meanings that a picture's channels can have, with their numbers of channels.

The names are Pillow's: A is alpha, a is alpha by which the colours are premultiplied, + is further bands, P is a
palette, 1 is black or white.
"""
STRAIGHT_ALPHA = ("LA", "RGBA", "P")
"""The modes whose last of two or four channels is alpha by which the colours are not premultiplied."""
PREMULTIPLIED = ("La", "RGBa")
"""The modes whose colours are premultiplied by their last channel."""
SIDES = ("above", "below")
"""The sides of a volume's level on which its inside can lie."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is kept of a target, whatever its kind."""

    @classmethod
    def from_json(cls, entries: object) -> Self:
        """Return the record that JSON entries describe.

        Args:
            entries: what `to_json` has returned, possibly read from a file that nobody vouches for.

        Raises:
            ValueError: the entries are not an object, one is missing, unknown or of another type, or a value is out of
                its range; the message says which.
        """
        if not isinstance(entries, Mapping):
            raise ValueError("its record is not a JSON object")
        types = get_type_hints(cls)
        if unknown := sorted(str(name) for name in entries if name not in types):
            raise ValueError(f"its record has an unknown entry {unknown[0][:40]!r}")
        for entry in fields(cls):
            if entry.default is MISSING and entries.get(entry.name) is None:
                raise ValueError(f"its record has no {entry.name}")
        record = cls(**{name: _typed(name, value, types[name]) for name, value in entries.items()})
        record.check()
        return record

    def to_json(self) -> dict[str, Any]:
        """Return the entries as strings, numbers and lists; those that are None are left out."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: _plain(value) for name, value in values.items() if value is not None}

    def check(self) -> None:
        """Check that the values are in their ranges.

        Raises:
            ValueError: one of them is not; the message says which.
        """

    @property
    def dim(self) -> int | None:
        """The number of coordinates per point, where the record says it."""
        return None

    def units(self, scale: float) -> Units:
        """Return the way from the target's own units to those of the network.

        Args:
            scale: unit-cube lengths per length of the world.
        """
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ShapeRecord(Record):
    """What is kept of a shape; its field and normalisation say all else.

    Attributes:
        level: the distance at which the surface lies, in unit-cube lengths; None stands for 0. It is positive where the
            distance has no sign: then the surface is that of a thin shell.
    """

    level: float | None = None

    def check(self) -> None:
        """Check that the level is finite and not negative."""
        if self.level is not None and not 0 <= self.level < math.inf:
            raise ValueError(f"its record's level is {self.level}; it must be finite and not negative")

    def units(self, scale: float) -> Units:
        """Return the units of distances: lengths of the world."""
        return Units(0.0, 1 / scale)


@dataclass(frozen=True, kw_only=True)
class ColorRecord(Record):
    """What is kept of a surface's colours, which are sRGB values.

    Attributes:
        bits: bits of a channel in the input.
        digest: of some of the colours; it tells one target from another.
    """

    bits: int
    digest: str

    def check(self) -> None:
        """Check that the bits are those of a picture."""
        if self.bits not in (8, 16):
            raise ValueError(f"its record's bits are {self.bits}; they must be 8 or 16")

    def units(self, scale: float) -> Units:
        """Return the units of colours: 0 to 1 for the network's -1 to 1."""
        return Units(0.5, 0.5)


@dataclass(frozen=True, kw_only=True)
class GridRecord(Record):
    """What is kept of a regularly sampled signal.

    Attributes:
        shape: samples per axis.
        offset: the value that the network's 0 stands for.
        amplitude: the difference in value that the network's 1 stands for.
        digest: of the target's samples; it tells one target from another.
    """

    shape: tuple[int, ...]
    offset: float
    amplitude: float
    digest: str

    def check(self) -> None:
        """Check that sizes and units are finite and in range."""
        if not self.shape or min(self.shape) < 1 or math.prod(self.shape) > MOST_SAMPLES:
            raise ValueError(f"its record's shape {str(self.shape)[:60]} is out of range")
        if not math.isfinite(self.offset):
            raise ValueError(f"its record's offset is {self.offset}; it must be finite")
        _check_positive("amplitude", self.amplitude)

    @property
    def dim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def lattice(self) -> Lattice:
        """The lattice on which the samples lie."""
        return Lattice(self.shape)

    def units(self, scale: float = 1.0) -> Units:
        """Return the units of values; lengths don't matter."""
        return Units(self.offset, self.amplitude)


@dataclass(frozen=True, kw_only=True)
class _ArrayRecord(GridRecord):
    dtype: str | None = None
    ndim: int | None = None

    def check(self) -> None:
        super().check()
        if self.dtype is not None:
            try:
                known = np.dtype(self.dtype).kind in "buif"
            except (TypeError, ValueError, SyntaxError):
                known = False
            if not known:
                raise ValueError(f"its record's dtype {self.dtype[:20]!r} is not a type of real numbers")
        if self.ndim is not None and self.ndim not in (self.dim, self.dim + 1):
            raise ValueError(f"its record's ndim is {self.ndim}; {self.dim} or {self.dim + 1} is possible")


@dataclass(frozen=True, kw_only=True)
class ImageRecord(_ArrayRecord):
    """What is kept of a picture.

    Attributes:
        dtype: of the pixels, as numpy spells it; a bilevel picture has 0 and 255 of "|u1".
        ndim: axes of an array, channels included; None for a picture file.
        mode: the meaning of the channels, one of `IMAGE_MODES`.
        icc_profile: the colour profile, its bytes as latin-1.
        palette: colours of a picture with a palette, each red, green, blue and possibly alpha.
    """

    mode: str
    icc_profile: str | None = None
    palette: tuple[tuple[int, ...], ...] | None = None

    def check(self) -> None:
        """Check sizes, units, the mode and the palette."""
        super().check()
        if self.dtype is None:
            raise ValueError("its record has no dtype")
        if self.mode not in IMAGE_MODES:
            raise ValueError(f"its record's mode {self.mode[:20]!r} is none of {' '.join(IMAGE_MODES)}")
        entries = self.palette or ()
        if not all(len(entry) in (3, 4) and all(0 <= level <= 255 for level in entry) for entry in entries):
            raise ValueError("its record's palette is not one of colours from 0 to 255")
        if self.mode == "P" and (not entries or len({len(entry) for entry in entries}) > 1 or len(entries) > 256):
            raise ValueError("its record's palette must have from 1 to 256 colours, all with alpha or none")

    @property
    def pixel_dtype(self) -> str:
        """The data type of the pixels, as numpy spells it."""
        assert self.dtype is not None, "checked on the way in"
        return self.dtype

    @property
    def label(self) -> str:
        """The mode and the data type, for the user."""
        dtype = np.dtype(self.pixel_dtype).newbyteorder("=")
        if self.mode == "array":
            return str(dtype)
        more = {"uint8": "", "uint16": ", 16 bits a channel"}.get(str(dtype), f", {dtype}")
        return f"{self.mode}{more}"


@dataclass(frozen=True, kw_only=True)
class AudioRecord(_ArrayRecord):
    """What is kept of a sound.

    Attributes:
        dtype: of the samples of an array, as numpy spells it; None for a sound file, whose subtype says it.
        ndim: axes of such an array, channels included.
        sample_rate: samples per second.
        format: libsndfile's name of the file format, or "array".
        subtype: libsndfile's name of the encoding.
    """

    sample_rate: float
    format: str
    subtype: str | None = None

    def check(self) -> None:
        """Check sizes, units and the sample rate."""
        super().check()
        if not LEAST_RATE <= self.sample_rate <= GREATEST_RATE:
            raise ValueError(
                f"its record's sample_rate is {self.sample_rate}; it must be from {LEAST_RATE:g} to {GREATEST_RATE:g}"
            )
        if (self.dtype if self.format == "array" else self.subtype) is None:
            raise ValueError(f"its record has no {'dtype' if self.format == 'array' else 'subtype'}")


@dataclass(frozen=True, kw_only=True)
class VolumeRecord(_ArrayRecord):
    """What is kept of a volume.

    Attributes:
        dtype: of the array's values, as numpy spells it.
        ndim: axes of the array, 3 or 4.
        spacing: lengths of the world between neighbouring samples along each axis.
        level: the value at the surface.
        inside: the side of the level on which the inside lies, "above" or "below".
        slope: the mean length of the values' gradient at the surface, per least spacing.
        smoothed: True where the array has two values only, between which it was smoothed before it was fitted.
    """

    spacing: tuple[float, ...]
    level: float
    inside: str
    slope: float
    smoothed: bool | None = None

    def check(self) -> None:
        """Check sizes, units, spacing, slope and level."""
        super().check()
        if self.dtype is None:
            raise ValueError("its record has no dtype")
        if self.inside not in SIDES:
            raise ValueError(f"its record's inside is {self.inside[:20]!r}, not {' or '.join(SIDES)}")
        if len(self.spacing) != self.dim:
            raise ValueError(f"its record's spacing has {len(self.spacing)} lengths; {self.dim} are needed")
        for step in self.spacing:
            _check_positive("spacing", step)
        _check_positive("slope", self.slope)
        if not math.isfinite(self.level):
            raise ValueError(f"its record's level is {self.level}; it must be finite")

    @property
    def lattice(self) -> Lattice:
        """The lattice on which the samples lie."""
        return Lattice(self.shape, pitch_of(self.spacing))


def _check_positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise ValueError(f"its record's {name} is {value}; it must be positive and finite")


def _plain(value: Any) -> Any:
    """Return tuples as lists, as JSON has them."""
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


def _typed(name: str, value: object, expected: Any) -> Any:
    """A value of JSON as the annotated type; True is no number."""
    if get_origin(expected) in (UnionType, Union):
        expected = next(option for option in get_args(expected) if option is not type(None))
    if get_origin(expected) is tuple:
        if isinstance(value, (list, tuple)):
            return tuple(_typed(name, part, get_args(expected)[0]) for part in value)
    elif expected is float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if not abs(value) < 1e300:
                raise ValueError(f"its record's {name} is {str(value)[:40]}, which is out of range")
            return float(value)
    elif type(value) is expected:
        return value
    raise ValueError(f"its record's {name} is {str(value)[:40]!r}, which is of the wrong type")
