"""A kind of signal that the package does not know: two readings over time, in a file of its own."""

from dataclasses import dataclass

import numpy as np
import torch

from winner_nerfstudio.export.command import Export
from winner_nerfstudio.fields.resample import resample
from winner_nerfstudio.files import replacing
from winner_nerfstudio.kinds.grid import GridKind
from winner_nerfstudio.registry import Recipe
from winner_nerfstudio.signals.errors import SignalError
from winner_nerfstudio.signals.grid import Grid
from winner_nerfstudio.signals.lattice import Lattice
from winner_nerfstudio.signals.options import SignalOptions
from winner_nerfstudio.signals.records import GridRecord
from winner_nerfstudio.signals.units import Units


@dataclass
class SeriesOptions(SignalOptions):
    """Two readings over time."""

    every: int = 1
    """Take each so-manieth reading."""

    def check(self):
        if self.every < 1:
            raise SignalError(f"every={self.every} must be at least 1")


class Series(Grid[GridRecord]):
    kind = "series"


class SeriesKind(GridKind):
    name = "series"
    title = "two readings over time"
    axes = 1
    suffixes = (".readings",)
    formats = ".readings"
    frequency_unit = "cycles per reading"
    options = SeriesOptions
    recipe = Recipe(100)
    views = f"{__name__}:SeriesModel"

    def load(self, source, options):
        try:
            table = np.loadtxt(source, delimiter=",", ndmin=2)[:: options.every]
        except (OSError, ValueError):
            raise SignalError(f"{source}: no such file; give a table of two columns") from None
        units, lattice = Units.spanning(table.min(), table.max()), Lattice((len(table),))
        draft = GridRecord(shape=lattice.shape, offset=units.offset, amplitude=units.amplitude, digest="")
        normalization, notes = lattice.normalization(), (f"{len(table)} rows",)
        return Series(str(source), units.to_unit(table), normalization, units, draft, ".readings", notes=notes)

    def special_metrics(self, signal, fitted):
        return {"largest_error": float(np.abs(fitted - signal.truth).max())}

    @property
    def results(self):
        return {"series": series}

    @property
    def exports(self):
        return {"series": SeriesExport}


def series(fitted):
    """Return the readings, [n, 2]."""
    (count,) = fitted.record_as(GridRecord).shape
    return resample(fitted.field, [np.arange(float(count))])


@dataclass
class SeriesExport(Export):
    """Write the readings as a table."""

    result = "series"
    digits: int = 4
    """Digits behind the point."""

    def write(self, fitted, progress):
        values = fitted.series()
        with replacing(self.output) as path:
            np.savetxt(path, values, delimiter=",", fmt=f"%.{self.digits}f")
        return f"{len(values)} readings"


def __getattr__(name):
    """The model, which is all that needs nerfstudio."""
    if name != "SeriesModel":
        raise AttributeError(name)
    from winner_nerfstudio.nerfstudio.models.grid import GridModel

    class SeriesModel(GridModel):
        def half_size(self):
            return 1.0, 0.5

        def paint(self, layer, place):
            return (self.field(place[:, :1])[:, :1].expand(-1, 3) + 1) / 2

        def pictures(self, signal, camera):
            curves = torch.from_numpy(signal.values).T[..., None].expand(-1, -1, 3)
            return {"target": curves, "fit": curves}

    globals()[name] = SeriesModel
    return SeriesModel
