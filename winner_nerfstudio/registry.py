"""The registry of kinds of signals. Everything that depends on a signal's kind is defined by its `Kind`.

To add a kind, write a subclass of `Kind` (or, for regularly sampled signals, of
`winner_nerfstudio.kinds.grid.GridKind`) in a package that names the class in its entry points::

    [project.entry-points."winner_nerfstudio.kinds"]
    series = "my_package.series:SeriesKind"

    [project.entry-points."nerfstudio.method_configs"]
    winner-series = "winner_nerfstudio.nerfstudio.config.methods:winner_series"

Then `fit`, ``winner-inspect``, ``winner-export``, ``winner-analyze`` and `load_field` know the kind. The second group
of entry points belongs to nerfstudio and adds the method ``ns-train winner-series``. Within a single program, a call of
`register` is enough.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from .files import suffix_of
from .signals.errors import SPECIAL, is_special, remedy_for_folder
from .storage import RemotePath, local_copy, locate

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
_COMPANIONS = {"color": "winner_nerfstudio.kinds.color:ColorKind"}
"""Kinds of signals that are fitted beside others only, see `Kind.companion`; they are not listed."""


@dataclass(frozen=True)
class PartSize:
    """The size of a signal's parts and of the networks that fit them.

    Attributes:
        edge: number of samples of a part along each axis, about; 0 for shapes, whose cells the user counts.
        width: width of the layers.
        steps: number of training steps.
        rates: learning rate at the first step by optimiser, see `Recipe`.
    """

    edge: int
    width: int
    steps: int
    rates: Mapping[str, float] = field(default_factory=lambda: {"adam": 1.5e-3})


@dataclass(frozen=True)
class FewParts:
    """How signals are fitted that have few parts, for which more weights or steps take little time.

    Attributes:
        most: greatest number of samples of such a signal.
        size: name of the size of its parts if ``size`` is left out.
        steps: number of training steps.
    """

    most: int
    size: Literal["small", "medium", "large"]
    steps: int


@dataclass(frozen=True)
class PartRecipe:
    """How signals of many samples are divided into parts by default, each fitted by a small network of its own.

    Attributes:
        sizes: size of the parts by the option ``size``.
        most: greatest number of samples of a signal that is fitted by a single network.
        few: how signals are divided that have more samples than `most`, but few parts, the smallest first.
        batch_size: greatest number of samples per training step and part.
        between: share of the steps that fit the target half-way between its samples.
        exactness: exactness of the matched schedule; None for its default.
        lowers: whether parts of low frequencies begin with lower ones than SIREN's, see `NoiseSchedule.matched`.
        counts_channels: whether a part of several channels is as much shorter, so that it has as many values.
        num_layers: number of layers of the parts' networks where the parts are chosen; None for that of a single one.
    """

    sizes: Mapping[str, PartSize]
    most: int = 1 << 16
    few: tuple[FewParts, ...] = ()
    batch_size: int = 512
    between: float = 0.25
    exactness: float | None = None
    lowers: bool = True
    counts_channels: bool = False
    num_layers: int | None = None


@dataclass(frozen=True)
class SmallRecipe:
    """How signals of few samples are fitted, many at once, where there are many files, see `fit_many`.

    Attributes:
        most: greatest number of samples of such a signal.
        width: width of the networks' layers.
        steps: number of training steps.
        rates: learning rate at the first step by optimiser, see `Recipe`.
        batch_size: greatest number of samples per training step.
        between: share of the steps that fit the target half-way between its samples.
    """

    most: int
    width: int
    steps: int
    rates: Mapping[str, float]
    batch_size: int = 512
    between: float = 0.25


SMALL = (SmallRecipe(1280, 32, 200, {"muon": 4e-3}), SmallRecipe(4096, 64, 400, {"muon": 1.5e-3}))
"""The recipes of small pictures, sounds and volumes; docs/batch.md has what was measured."""


DERIVATIVE_RATES = {"muon": 1.5e-3, "adam": 5e-4}
"""The learning rates of fits to a gradient or a Laplacian; docs/derivatives.md has what was measured."""


@dataclass(frozen=True)
class Recipe:
    """What is done by default for a kind of signal.

    Attributes:
        steps: number of training steps.
        rates: learning rate at the first step by optimiser, adam, soap or muon; it falls along half a cosine. The first
            optimiser is the default, and its rate also that of optimisers which are not named.
        parts: how signals of many samples are divided into parts; None if they never are by default.
        small: how signals of few samples are fitted in a batch of files, those of the fewest first; each is fitted as
            if it were alone if there are none.
    """

    steps: int = 1000
    rates: Mapping[str, float] = field(default_factory=lambda: {"adam": 5e-4})
    parts: PartRecipe | None = None
    small: tuple[SmallRecipe, ...] = ()


def find_rate(rates: Mapping[str, float], optimizer: str) -> float:
    """Return the learning rate of an optimiser from those of a `Recipe`."""
    return rates.get(optimizer, next(iter(rates.values())))


@dataclass(frozen=True)
class Metrics:
    """The names of a kind's metrics.

    Attributes:
        names: all metrics that `Kind.metrics` can return.
        columns: metrics that a table of experiments shows by default.
        headline: metric that is printed for a fit when a run of an experiment has finished.
        curve: metric that is plotted over the steps of a run; the kind's monitor computes it.
        curve_label: label of the plot's axis for that metric.
    """

    names: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    headline: str = "psnr"
    curve: str = "psnr"
    curve_label: str = "PSNR, peak 1 (dB)"

    def find_curve(self, watched: Iterable[str]) -> str:
        """Return the metric to plot of those that runs watched: `curve`, else the first, as of fits by derivatives."""
        names = list(watched)
        return self.curve if self.curve in names or not names else names[0]


@dataclass(frozen=True)
class Monitor:
    """The metrics that are cheap enough to be computed during a run; greater values are better.

    Attributes:
        points: number of points at which the field is evaluated to compute them once.
        metrics: function that computes them from a field, by name.
    """

    points: int
    metrics: Callable[[Field], dict[str, float]]


@dataclass(frozen=True)
class Baseline:
    """What a fit must exceed to have learnt something of its target, and when it is told that it still improves.

    Attributes:
        metric: name of the metric that is compared.
        least: value that the metric must exceed.
        words: what a fit is that does not exceed it, such as "is not a decibel better than the target's mean".
        good: value of the kind's curve metric from which a fit is good, however fast it still improves.
        rise: gain of that metric in the second half of a run from which the fit still improves fast.
        curve: that metric, if it is not the kind's curve metric.
    """

    metric: str
    least: float
    words: str
    good: float
    rise: float
    curve: str | None = None


class Kind(ABC):
    """A kind of signal, which defines how such signals are loaded, fitted, measured, shown and written.

    A kind has no state. At the top of its module it imports only what imports fast, such as numpy; the built-in kinds
    import torch only where they need it, so that a command can refuse a file before that.
    """

    name: ClassVar[str]
    """The name that users give: ``fit(kind=NAME)``, ``ns-train winner-NAME``, the data parser ``NAME-data``."""
    title: ClassVar[str]
    """The words for one such signal, such as "a picture"."""
    axes: ClassVar[int]
    """The number of coordinates per point."""
    channels: ClassVar[int | None] = None
    """The number of values per point, or None if it differs between signals of this kind."""
    suffixes: ClassVar[tuple[str, ...]] = ()
    """The suffixes of files that are of this kind."""
    formats: ClassVar[str]
    """The suffixes of the most common files of this kind, for messages."""
    frequency_unit: ClassVar[str]
    """The unit of a frequency in the world's coordinates, such as "Hz"."""
    options: ClassVar[type[SignalOptions]]
    """The options of loading a signal."""
    sampling_options: ClassVar[tuple[str, ...]] = ()
    """The names of those options that say how points are drawn and do not change the signal."""
    record: ClassVar[type[Record]]
    """The record of a target that a checkpoint or a field file keeps."""
    recipe: ClassVar[Recipe] = Recipe()
    """The default number of steps and learning rate."""
    metric_names: ClassVar[Metrics] = Metrics()
    """The names of the metrics."""
    views: ClassVar[str]
    """The nerfstudio model that shows such a signal, as "MODULE:CLASS", see
    `winner_nerfstudio.nerfstudio.models.base.SignalModel`."""

    @property
    @abstractmethod
    def network(self) -> type[NetworkOptions]:
        """The options of the network, its initialisation and the loss; an attribute of the class will do."""

    @property
    @abstractmethod
    def batches(self) -> type[BatchOptions]:
        """The options of the batches; an attribute of the class will do."""

    @property
    def data_parser(self) -> str:
        """Return the name of the kind's data parser on the command line."""
        return f"{self.name}-data"

    @property
    def method(self) -> str:
        """Return the name of the kind's method for ``ns-train``."""
        return f"winner-{self.name}"

    @property
    def samples(self) -> Mapping[str, Callable[[], Any]]:
        """Return functions that make the built-in samples of this kind, by the samples' names."""
        return {}

    def claims(self, data: Any) -> bool:
        """Return whether an array, or another object that is not a path, is taken as a signal of this kind."""
        return False

    @abstractmethod
    def load(self, source: Any, options: Any) -> Signal:
        """Load a signal.

        Args:
            source: a file's path, ``sample:NAME``, or an array.
            options: an instance of `Kind.options`.

        Raises:
            SignalError: the source cannot be used; the message is one line.
        """

    @abstractmethod
    def loss(self, signal: Any, options: Any) -> Loss:
        """Return the loss that a field is fitted with; `options` is an instance of `Kind.network`."""

    @abstractmethod
    def metrics(self, field: Field, signal: Any, options: Any) -> dict[str, float]:
        """Compute the metrics of a fit; `options` is an instance of `Kind.network`."""

    def monitor(self, signal: Any, most: int = 1 << 16) -> Monitor:
        """Return the metrics that can be computed during a run; by default there are none.

        Args:
            signal: the target.
            most: greatest number of samples, approximately, at which a metric is computed.
        """
        return Monitor(0, lambda field: {})

    def companion(self, signal: Any) -> Signal | None:
        """Return what is fitted beside a signal by a field of its own, such as a shape's colours; None by default."""
        return None

    def count_parts(self, signal: Any, options: Any) -> tuple[int, ...] | None:
        """Return the number of parts along each axis of a signal whose user has not said it.

        Args:
            signal: the signal.
            options: an instance of `Kind.network`.

        Returns:
            (1,), the default, for a single network; None if as many parts as it should have would take too much memory.
        """
        return (1,)

    def baseline(self, signal: Any) -> Baseline | None:
        """Return what a fit of a signal must exceed, or None (the default) if that cannot be said."""
        return None

    def sample_count(self, signal: Any) -> int | None:
        """Return the number of samples that are fitted, or None (the default) if new points are drawn all the time."""
        return None

    def draw(self, axes: Axes, signal: Any, values: ndarray) -> None:
        """Draw the values at all samples of a signal, in the network's units; only for kinds that have samples."""
        raise NotImplementedError

    def solid(self, field: Field, resolution: int, level: float | None) -> tuple[Solid, float]:
        """Return the function that a surface is extracted from, and the value that it has on the surface.

        Args:
            field: a field of this kind.
            resolution: number of samples per axis with which the surface is to be extracted.
            level: level of the surface, in the units of the target; the level of the run if None.

        Raises:
            ValueError: a field of this kind has no surface.
        """
        raise ValueError(_describe_missing_result(self.name, "mesh"))

    @property
    def results(self) -> Mapping[str, Callable[..., Any]]:
        """Return the methods of a `FittedField` of this kind, such as ``image``; their first argument is the field."""
        return {}

    @property
    def exports(self) -> Mapping[str, type[Export]]:
        """Return the subcommands of ``winner-export`` for this kind; the last lines of a run name the first of them."""
        return {}


_registered: dict[str, Kind] = {}


def register(kind: type[Kind]) -> None:
    """Add a kind until the program ends; a kind of the same name is replaced."""
    _registered[kind.name] = kind()


def kind_named(name: str) -> Kind:
    """Return the kind with a name.

    Raises:
        ValueError: there is no such kind; the message lists all kinds.
    """
    if not isinstance(name, str):
        raise ValueError(f"kind={name!r} is not one of: {', '.join(kind_names())}")
    if name in _registered:
        return _registered[name]
    if name in (built_in := _BUILT_IN | _COMPANIONS):
        module, _, attribute = built_in[name].partition(":")
        kind: type[Kind] = getattr(import_module(module), attribute)
        if name in _COMPANIONS:
            return kind()
        register(kind)
    elif name in _find_entry_points():
        register(_find_entry_points()[name].load())
    else:
        raise ValueError(f"kind={name!r} is not one of: {', '.join(kind_names())}")
    return _registered[name]


def kind_names() -> list[str]:
    """Return the names of all kinds, the built-in ones first."""
    return list(dict.fromkeys([*_BUILT_IN, *_find_entry_points(), *_registered]))


def all_kinds() -> list[Kind]:
    """Return all kinds; a kind of another package that cannot be imported is left out with a warning."""
    kinds = []
    for name in kind_names():
        try:
            kinds.append(kind_named(name))
        except Exception as error:  # the import of another package may fail in any way
            if name in _BUILT_IN:
                raise
            warnings.warn(f"the kind {name!r} of another package cannot be imported: {error}", stacklevel=2)
    return kinds


def has_result(kind: str, result: str) -> bool:
    """Return whether fields of a kind have a result, such as "mesh", as a method or as an export; imports that kind."""
    return result in kind_named(kind).results or result in kind_named(kind).exports


def with_result(result: str) -> list[str]:
    """Return the names of the kinds that have a result, see `has_result`; imports all kinds."""
    return [kind.name for kind in all_kinds() if has_result(kind.name, result)]


def require_result(kind: str, result: str) -> None:
    """Check that fields of a kind have a result, such as "mesh".

    Args:
        kind: name of the kind.
        result: name of the method or the export.

    Raises:
        ValueError: they do not have it; the message names the kinds that have it.
    """
    if not has_result(kind, result):
        raise ValueError(_describe_missing_result(kind, result))


def export_for(kind: Kind, output: Path) -> type[Export]:
    """Return the export that writes a field of a kind to a file, as the file's suffix says.

    Raises:
        ValueError: nothing of this kind is written to such files; the message lists the suffixes.
    """
    from .export.field import FieldExport

    exports: list[type[Export]] = [FieldExport, *kind.exports.values()]
    for export in exports:
        if export.accepts(output):
            return export
    exports.append(exports.pop(0))  # the kind's own first
    suffixes = " ".join(dict.fromkeys(suffix for export in exports for suffix in export.suffixes))
    raise ValueError(f"{output}: a fit of {kind.title} is not written as {suffix_of(output) or 'this'}; use {suffixes}")


def kind_of(data: Any) -> Kind:
    """Find the kind of a file from its name, or the kind of an array, or of a file that holds one, from its shape.

    Arrays [n, 3] and [n, 6] are points, and [n], [n, 1] and [n, 2] are series. Other arrays of two axes are pictures,
    and so are those of three axes whose last axis is no longer than four. All other arrays of three and four axes are
    volumes.

    Args:
        data: a path, a URL as `locate` returns it, ``sample:NAME``, an array, or a mesh.

    Raises:
        ValueError: the kind cannot be determined.
    """
    if not isinstance(data, (str, Path, RemotePath)):
        return _find_claiming_kind(data)
    file = locate(data)
    if str(file).startswith("sample:"):
        return _find_kind_of_sample(str(file).removeprefix("sample:"))
    if isinstance(file, Path) and is_special(file):
        raise ValueError(f"{file}: {SPECIAL}")
    suffix = file.suffix.lower()
    for kind in all_kinds():
        if file.name.lower().endswith(kind.suffixes):  # ".nii.gz" is one suffix, too
            return kind
    if suffix in (".npy", ".npz"):
        from .signals.grid import read_shape

        with local_copy(file) as copy:
            return _find_claiming_kind(SimpleNamespace(shape=read_shape(copy)), f"{file}: ")
    from .signals.conversions import describe_conversion

    if (conversion := describe_conversion(suffix)) is not None:
        raise ValueError(f"{file}: {conversion}")
    if isinstance(file, Path) and file.is_dir():
        remedy = remedy_for_folder(file, "give a file, or fit all files of a folder by winner-batch")
        raise ValueError(f"{file}: is a folder; {remedy}")
    raise ValueError(
        f"{file}: cannot tell what a {suffix or 'file without suffix'} holds; say which kind it is, one of"
        f" {', '.join(kind_names())}, as in kind='image', or on the command line --kind image"
    )


def kind_of_grid(axes: int) -> Kind:
    """Return the kind of regularly sampled values of this many axes, channels not counted."""
    return _find_claiming_kind(SimpleNamespace(shape=(1 << 10,) * axes))


_MOST_CHANNELS, _LEAST_LENGTH = 4, 16
"""Lengths up to which a first axis may hold channels, and above which the other axes hold samples."""


def _find_claiming_kind(data: Any, name: str = "") -> Kind:
    """Return the first kind that claims an array or a mesh, which messages begin with if it has a name."""
    shape: tuple[int, ...] = getattr(data, "shape", ())
    # A short first axis before long ones is most likely that of the channels, which belongs last.
    channels_first = len(shape) > 1 and shape[0] <= _MOST_CHANNELS and min(shape[1:]) > _LEAST_LENGTH
    kind = next((kind for kind in all_kinds() if kind.claims(data)), None)
    if kind is None or channels_first:
        raise ValueError(
            f"{name}an array of shape {shape} may be anything; channels come last, [h, w, c] or [n, c]: turn it, or say"
            f" which kind it is, one of {', '.join(kind_names())}"
        )
    return kind


def _find_kind_of_sample(name: str) -> Kind:
    """Return the kind of a built-in sample."""
    kinds = all_kinds()
    for kind in kinds:
        if name in kind.samples:
            return kind
    known = sorted(sample for kind in kinds for sample in kind.samples)
    raise ValueError(f"sample:{name}: no such built-in sample; there are: {', '.join(known)}")


def _describe_missing_result(kind: str, result: str) -> str:
    """Return the message that a kind has no such result, with the names of the kinds that have it."""
    others = " or ".join(map(repr, with_result(result)))
    return f"a field of kind {kind!r} has no {result}; only one of kind {others} has"


@lru_cache(maxsize=1)
def _find_entry_points() -> dict[str, EntryPoint]:
    """Return the entry points of other packages' kinds, by the kinds' names."""
    return {point.name: point for point in entry_points(group=GROUP) if point.name not in _BUILT_IN}
