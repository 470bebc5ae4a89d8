"""The registry of kinds of signals: everything that depends on a signal's kind is asked of its `Kind`.

A kind of your own is a subclass of `Kind` (or, for regularly sampled signals, of
`winner_nerfstudio.kinds.grid.GridKind`) in a package that names it in its entry points::

    [project.entry-points."winner_nerfstudio.kinds"]
    series = "my_package.series:SeriesKind"

    [project.entry-points."nerfstudio.method_configs"]
    winner-series = "winner_nerfstudio.nerfstudio.config.methods:winner_series"

Then `fit`, ``winner-inspect``, ``winner-export``, ``winner-analyze`` and `load_field` know it; the second group, which
is nerfstudio's, makes ``ns-train winner-series`` of it. Within one program `register` does as well.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy import ndarray

    from .export.command import Export
    from .fields import Field
    from .signals.options import SignalOptions
    from .signals.records import Record
    from .signals.signal import Signal
    from .surfaces.extraction import Solid
    from .training.loss import Loss
    from .training.options import BatchOptions, NetworkOptions

GROUP = "winner_nerfstudio.kinds"
"""The group of entry points by which other packages register their kinds."""
_BUILT_IN = {
    "sdf": "winner_nerfstudio.kinds.shape:ShapeKind",
    "image": "winner_nerfstudio.kinds.image:ImageKind",
    "audio": "winner_nerfstudio.kinds.audio:AudioKind",
    "volume": "winner_nerfstudio.kinds.volume:VolumeKind",
}


@dataclass(frozen=True)
class Recipe:
    """How long and how fast a kind of signal is trained if nothing else is said.

    Attributes:
        steps: of training.
        learning_rate: of Adam at first; it falls along half a cosine.
    """

    steps: int = 1000
    learning_rate: float = 5e-4


@dataclass(frozen=True)
class Metrics:
    """The names of a kind's metrics.

    Attributes:
        names: all that `Kind.metrics` can return.
        columns: those that a table of experiments has if nothing else is said.
        headline: the one that stands for the fit when a run of an experiment has finished.
        curve: the one that is drawn over the steps of a run; the kind's monitor computes it.
        curve_label: the label of the axis that it is drawn along.
    """

    names: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    headline: str = "psnr"
    curve: str = "psnr"
    curve_label: str = "PSNR, peak 1 (dB)"


@dataclass(frozen=True)
class Monitor:
    """Metrics that are cheap enough to be computed while a run goes on; the greater, the better.

    Attributes:
        points: how many points of the field one look at them evaluates.
        metrics: computes them.
    """

    points: int
    metrics: Callable[[Field], dict[str, float]]


class Kind(ABC):
    """What a kind of signal is: how it is loaded, fitted, measured, shown and written.

    A kind has no state, and its module imports only what is light at its top: torch and numpy.
    """

    name: ClassVar[str]
    """What users call it: ``fit(kind=NAME)``, ``ns-train winner-NAME``, the data parser ``NAME-data``."""
    title: ClassVar[str]
    """One of them, such as "a picture"."""
    axes: ClassVar[int]
    """Coordinates per point."""
    channels: ClassVar[int | None] = None
    """Values per point, where all signals of this kind have as many."""
    suffixes: ClassVar[tuple[str, ...]] = ()
    """Suffixes by which a file is known to be of this kind."""
    formats: ClassVar[str]
    """Suffixes of the usual files, for messages."""
    frequency_unit: ClassVar[str]
    """What a frequency is in the world's coordinates, such as "Hz"."""
    options: ClassVar[type[SignalOptions]]
    """The options of the data."""
    sampling_options: ClassVar[tuple[str, ...]] = ()
    """Those of them that say how points are drawn, and leave the signal as it is."""
    record: ClassVar[type[Record]]
    """What a checkpoint or a field file keeps of a target."""
    network: ClassVar[type[NetworkOptions]]
    """The options of the network, its initialisation and the loss."""
    batches: ClassVar[type[BatchOptions]]
    """The options of the batches."""
    recipe: ClassVar[Recipe] = Recipe()
    """Steps and learning rate."""
    metric_names: ClassVar[Metrics] = Metrics()
    """The names of the metrics."""
    views: ClassVar[str]
    """What it looks like: the nerfstudio model that shows it, as "MODULE:CLASS", see
    `winner_nerfstudio.nerfstudio.models.base.SignalModel`."""

    @property
    def data_parser(self) -> str:
        """The name of its data parser on the command line."""
        return f"{self.name}-data"

    @property
    def method(self) -> str:
        """The name of its method for ``ns-train``."""
        return f"winner-{self.name}"

    @property
    def samples(self) -> Mapping[str, Callable[[], Any]]:
        """The built-in samples of this kind by name; each is made by calling its value."""
        return {}

    def claims(self, data: Any) -> bool:
        """Return whether an array, or another object that is no path, is taken for a signal of this kind."""
        return False

    @abstractmethod
    def load(self, source: Any, options: Any) -> Signal:
        """Load a signal.

        Args:
            source: a file's path, ``sample:NAME``, or an array.
            options: an instance of `Kind.options`.

        Raises:
            SignalError: the source cannot be used, in one line.
        """

    @abstractmethod
    def loss(self, signal: Any, options: Any) -> Loss:
        """Return the loss that a field is fitted with; `options` is an instance of `Kind.network`."""

    @abstractmethod
    def metrics(self, field: Field, signal: Any, options: Any) -> dict[str, float]:
        """Compute the metrics of a fit; `options` is an instance of `Kind.network`."""

    def monitor(self, signal: Any, most: int = 1 << 16) -> Monitor:
        """Return the metrics that can be computed while a run goes on; none by default.

        Args:
            signal: the target.
            most: samples, about, at which each is computed at most.
        """
        return Monitor(0, lambda field: {})

    def sample_count(self, signal: Any) -> int | None:
        """Return the number of samples that are fitted; None, by default, where points are drawn all the time."""
        return None

    def draw(self, axes: Axes, signal: Any, values: ndarray) -> None:
        """Draw values at all samples of a signal, in the network's units, where a kind has samples."""
        raise NotImplementedError

    def solid(self, field: Field, resolution: int, level: float | None) -> tuple[Solid, float]:
        """Return what a surface is extracted from, and at which of its values.

        Args:
            field: of this kind.
            resolution: samples per axis that the surface is to be extracted at.
            level: of the surface, in the units of the target; that of the run if None.

        Raises:
            ValueError: a field of this kind has no surface.
        """
        raise ValueError(_lacks(self.name, "mesh"))

    @property
    def results(self) -> Mapping[str, Callable[..., Any]]:
        """The methods that a `FittedField` of this kind has, such as ``image``; each is called with the field first."""
        return {}

    @property
    def exports(self) -> Mapping[str, type[Export]]:
        """The subcommands of ``winner-export`` for this kind; a run's closing lines name the first."""
        return {}


_registered: dict[str, Kind] = {}


def register(kind: type[Kind]) -> None:
    """Add a kind for the rest of this program; one of the same name is replaced."""
    _registered[kind.name] = kind()


def kind_named(name: str) -> Kind:
    """Return the kind of that name.

    Raises:
        ValueError: there is none; the message lists those that there are.
    """
    if name in _registered:
        return _registered[name]
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        register(getattr(import_module(module), attribute))
    elif name in _foreign():
        register(_foreign()[name].load())
    else:
        raise ValueError(f"kind={name!r} is not one of: {', '.join(kind_names())}")
    return _registered[name]


def kind_names() -> list[str]:
    """Return the names of all kinds, the built-in ones first."""
    return list(dict.fromkeys([*_BUILT_IN, *_foreign(), *_registered]))


def all_kinds() -> list[Kind]:
    """Return all kinds; one of another package that cannot be imported is left out with a warning."""
    found = []
    for name in kind_names():
        try:
            found.append(kind_named(name))
        except Exception as error:  # somebody else's package may fail in any way
            if name in _BUILT_IN:
                raise
            warnings.warn(f"the kind {name!r} of another package cannot be imported: {error}", stacklevel=2)
    return found


def with_result(result: str) -> list[str]:
    """Return the names of the kinds that have a result of that name, such as "mesh"."""
    return [kind.name for kind in all_kinds() if result in kind.results or result in kind.exports]


def require_result(kind: str, result: str) -> None:
    """Check that a field of some kind has a result of that name.

    Raises:
        ValueError: it has not; the message names the kinds that have it.
    """
    if kind not in with_result(result):
        raise ValueError(_lacks(kind, result))


def kind_of(data: Any) -> Kind:
    """Return the kind of a file by its name, or of an array, or of a file with an array, by its shape.

    [n, 3] and [n, 6] are points; [n] and [n, 1 or 2] series; other arrays of two axes, and of three with up to four
    values in the last, pictures; the others of three and four axes volumes.

    Args:
        data: a path, ``sample:NAME``, an array, or a mesh.

    Raises:
        ValueError: the kind cannot be determined.
    """
    if not isinstance(data, (str, Path)):
        return _claiming(data)
    file = Path(data)
    if str(file).startswith("sample:"):
        return _of_sample(str(file).removeprefix("sample:"))
    suffix = file.suffix.lower()
    for kind in all_kinds():
        if suffix in kind.suffixes:
            return kind
    if suffix in (".npy", ".npz"):
        from .signals.grid import read_array

        return _claiming(read_array(file, lambda shape: None))
    raise ValueError(
        f"{file}: cannot tell what a {suffix or 'file without suffix'} holds; say which kind it is, as in"
        " kind='sdf', or on the command line --kind sdf"
    )


_FEW, _MANY = 4, 16


def _claiming(data: Any) -> Kind:
    shape: tuple[int, ...] = getattr(data, "shape", ())
    # A few rows of many values are most likely channels that stand first.
    channels_first = len(shape) > 1 and shape[0] <= _FEW and min(shape[1:]) > _MANY
    found = next((kind for kind in all_kinds() if kind.claims(data)), None)
    if found is None or channels_first:
        raise ValueError(
            f"an array of shape {shape} may be anything; channels come last, [h, w, c] or [n, c]: turn it, or say"
            " which kind it is"
        )
    return found


def _of_sample(name: str) -> Kind:
    kinds = all_kinds()
    for kind in kinds:
        if name in kind.samples:
            return kind
    known = sorted(sample for kind in kinds for sample in kind.samples)
    raise ValueError(f"sample:{name}: no such built-in sample; there are: {', '.join(known)}")


def _lacks(kind: str, result: str) -> str:
    others = " or ".join(map(repr, with_result(result)))
    return f"a field of kind {kind!r} has no {result}; only one of kind {others} has"


@lru_cache(maxsize=1)
def _foreign() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP) if point.name not in _BUILT_IN}
