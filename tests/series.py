"""A kind of signal that the package does not know: two readings over time, in a file of its own."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from nerfstudio.data.dataparsers.base_dataparser import DataParserConfig

from winner_nerfstudio.nerfstudio.config.datamanager import ResidentDataManagerConfig, subcommand
from winner_nerfstudio.nerfstudio.config.dataparsers import SignalDataParser
from winner_nerfstudio.nerfstudio.config.methods import method
from winner_nerfstudio.nerfstudio.models.grid import GridModel, GridModelConfig
from winner_nerfstudio.signals.errors import SignalError
from winner_nerfstudio.signals.grid import Grid, Units
from winner_nerfstudio.signals.lattice import Lattice


class Series(Grid):
    kind: ClassVar[str] = "series"


@dataclass
class SeriesDataParserConfig(DataParserConfig):
    """Two readings over time."""

    _target: type = field(default_factory=lambda: SeriesDataParser)
    data: Path = Path()
    every: int = 1
    """Take each so-manieth reading."""


class SeriesDataParser(SignalDataParser):
    formats = ".csv"

    def load(self):
        if not self.config.data.is_file():
            raise SignalError(f"{self.config.data}: no such file; give a table of two columns")
        table = np.loadtxt(self.config.data, delimiter=",")[:: self.config.every]
        units = Units.spanning(table.min(), table.max())
        lattice = Lattice((len(table),))
        return Series("readings", units.to_unit(table), lattice.normalization(), units, notes=(f"{len(table)} rows",))


SeriesData = subcommand("series-data", SeriesDataParserConfig)


@dataclass
class SeriesDataManagerConfig(ResidentDataManagerConfig):
    dataparser: SeriesDataParserConfig = field(default_factory=SeriesDataParserConfig)
    short: SeriesData = field(default_factory=SeriesDataParserConfig)


@dataclass
class SeriesModelConfig(GridModelConfig):
    _target: type = field(default_factory=lambda: SeriesModel)


class SeriesModel(GridModel):
    exports = "series"

    def half_size(self):
        return 1.0, 0.5

    def paint(self, layer, place):
        return self.field(place[:, :1])[:, :1].expand(-1, 3)

    def own_figures(self, signal, fitted):
        return {"largest_error": float(np.abs(fitted - signal.truth).max())}

    def pictures(self, signal, camera):
        curves = torch.from_numpy(signal.values).T[..., None].expand(-1, -1, 3)
        return {"target": curves, "fit": curves}


series = method("winner-series", SeriesDataManagerConfig(), SeriesModelConfig(), "Fit two readings over time.")
