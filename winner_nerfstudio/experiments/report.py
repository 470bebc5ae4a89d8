"""Everything that is written of an experiment's runs: tables and plots."""

from pathlib import Path
from typing import Any

from . import plots
from .config import Experiment
from .fronts import find_fronts, format_gaps
from .runs import Done
from .sweeps import find_sweeps, format_sweeps
from .tables import (
    Records,
    format_best,
    format_csv,
    format_markdown,
    format_relative,
    group_records,
    make_rows,
    write_text,
)


def write_report(experiment: Experiment, done: Done, folder: Path) -> str:
    """Write ``table.csv``, ``table.md`` and the plots of runs to a folder; return the text of ``table.md``."""
    records = group_records(done)
    rows = make_rows(experiment, records)
    write_text(folder, "table.csv", format_csv(rows))
    parts = [format_markdown(rows, experiment.digits), format_relative(experiment, records)]
    parts.append(format_best(experiment, records))
    if experiment.front is not None:
        found = find_fronts(experiment, records)
        plots.draw_fronts(experiment, found, folder)
        parts.append(format_gaps(experiment, found))
    if experiment.sweep:
        sweeps = find_sweeps(experiment, records)
        plots.draw_sweeps(experiment, sweeps, folder)
        parts.append(format_sweeps(experiment, sweeps))
    text = "\n".join(part for part in parts if part)
    write_text(folder, "table.md", text)
    for signal in dict.fromkeys(run.signal for run, _ in done):
        _draw_signal(experiment, done, records, signal, folder)
    return text


def _draw_signal(experiment: Experiment, done: Done, records: Records, signal: str, folder: Path) -> None:
    """Draw the curves of a signal's runs and, where it has samples, the fits and the spectra of their errors."""
    if experiment.seconds is None:
        plots.draw_curves(experiment, records, signal, folder)
    values = plots.load_values(done, signal)
    if values:
        target: Any = next(run.target for run, _ in done if run.signal == signal)
        plots.draw_spectra(experiment, signal, target, values, folder)
        plots.draw_fits(experiment, signal, target, values, folder)
