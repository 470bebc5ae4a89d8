"""Compare fits: their metrics, steps, time and size side by side, how they were learnt, and pictures of them."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ..files import replacing
from ..metrics.descriptions import describe_metric, label_metric, name_metric
from ..registry import has_result, kind_named
from ..signals.messages import escape
from ..storage import check_is_here
from .start import running

if TYPE_CHECKING:
    from ..fields.fitted import FittedField

PROGRAM = "winner-compare"
SUFFIXES = (".png", ".csv", ".md")
MOST_PIXELS = 1024
"""Greatest number of pixels of the longer side of a picture in the strip."""
SURFACE_RESOLUTION = 128
"""Samples per axis of the cube around a surface in the strip, for volumes, whose values are no distance."""


@dataclass(frozen=True)
class Entry:
    """A fit that is compared.

    Attributes:
        name: what it is called in the comparison.
        fitted: the field with its provenance.
        history: the monitored metrics during the run: step, loss and metrics by name; empty if they were not kept.
        size: bytes of the weights.
    """

    name: str
    fitted: "FittedField"
    history: list[Any]
    size: int

    def values(self) -> dict[str, float]:
        """Return the metrics, the steps, the seconds and the size, by name."""
        from ..fields.checkpoint import select_numbers

        provenance = self.fitted.provenance
        more = {"steps": provenance.get("steps"), "train_seconds": provenance.get("seconds"), "bytes": self.size}
        return select_numbers(provenance.get("figures")) | select_numbers(more)


@dataclass(frozen=True)
class Row:
    """A row of the table: a number of every fit, NaN where there is none.

    Attributes:
        name: name of the number, such as "psnr".
        values: the number of each fit.
    """

    name: str
    values: list[float]

    @property
    def cells(self) -> list[str]:
        """The name and the values as they are shown, with their unit."""
        described = describe_metric(self.name)
        shown = ["" if math.isnan(value) else described.format(value) for value in self.values]
        return [name_metric(self.name), *shown]


def _shorten_names(paths: tuple[Path, ...]) -> list[str]:
    """Return names for paths, without the folders that all of them are in."""
    parents = {path.absolute().parent for path in paths}
    for folder in paths[0].absolute().parents:
        if all(folder in (parent, *parent.parents) for parent in parents):
            return [path.absolute().relative_to(folder).as_posix() for path in paths]
    return list(map(str, paths))  # on different drives


def load_entry(path: Path, name: str) -> Entry:
    """Load a fit from a run's folder, its config.yml, a field file or the folder of a fit in groups, without its data.

    Args:
        path: the folder or the file.
        name: what the fit is called in the comparison.

    Raises:
        ValueError: there is no fit; the message is one line.
    """
    from ..fields.checkpoint import check_progress, load_fit
    from ..results import measure_sizes

    if not path.exists() and path.suffix.lower() != ".safetensors":
        raise ValueError(f"{path}: no run; give a run's folder with its config.yml, or a .safetensors file")
    fitted = load_fit(path)
    try:
        history = check_progress({"history": fitted.provenance.get("history")}).get("history") or []
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return Entry(name, fitted, history, measure_sizes(fitted.field, fitted.companion, "")["weights"])


def make_rows(entries: list[Entry]) -> list[Row]:
    """Return the rows of the table: all metrics, the steps, the seconds and the bytes of the weights."""
    values = [entry.values() for entry in entries]
    last = ("steps", "train_seconds", "bytes")
    names = [name for name in dict.fromkeys(name for each in values for name in each) if name not in last]
    return [Row(name, [each.get(name, math.nan) for each in values]) for name in (*names, *last)]


def _draw_surface(fitted: "FittedField") -> Any:
    """Return a picture of a fitted surface, with its colours if it has some, [h, w, 3] with values in [-1, 1]."""
    from ..fields.field import evaluate_colors
    from ..surfaces.portrait import draw_portrait

    kind, painting = kind_named(fitted.kind), fitted.companion
    solid, level = kind.solid(fitted.field, SURFACE_RESOLUTION, None)
    paint = None if painting is None else lambda points: evaluate_colors(painting, points)
    return 2 * draw_portrait(solid, level, getattr(kind.options(), "up", "y"), paint).cpu().numpy() - 1


def _write_csv(entries: list[Entry], rows: list[Row], path: Path) -> None:
    """Write a line for each fit, with the metrics in full precision."""
    with path.open("w", encoding="utf8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["run", *(row.name for row in rows)])
        for index, entry in enumerate(entries):
            values = [row.values[index] for row in rows]
            writer.writerow([escape(entry.name), *("" if math.isnan(value) else repr(value) for value in values)])


def _write_markdown(entries: list[Entry], rows: list[Row], path: Path) -> None:
    """Write the table as Markdown, with a column for each fit."""
    names = [escape(entry.name).replace("|", "\\|") for entry in entries]
    lines = [["metric", *names], ["---", *["---:"] * len(names)], *(row.cells for row in rows)]
    path.write_text("".join(f"| {' | '.join(line)} |\n" for line in lines), "utf8")


@dataclass
class Compare:
    """Compare fits of one kind side by side: winner-compare RUN RUN --output compare.png compare.csv"""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")]
    """Folders of runs, with their config.yml, field files (.safetensors), or folders of fits in groups."""
    output: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="[FILE [FILE ...]]")] = ()
    """Files to write: .png the learning curves and, of pictures, shapes and volumes, a strip of the fits; .csv or .md
    the table."""
    target: Path | None = None
    """Of pictures: the file that was fitted, to stand first in the strip."""

    def run(self) -> None:
        """Print the table and write the outputs.

        Raises:
            ValueError: a run or an output cannot be used; the message is one line.
            OSError: an output cannot be written.
        """
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        if not self.runs:
            raise ValueError("no runs given; name folders with a config.yml, or .safetensors files")
        self._check_outputs()
        names = _shorten_names(self.runs)
        entries = [load_entry(path, name) for path, name in zip(self.runs, names, strict=True)]
        kinds = {entry.fitted.kind for entry in entries}
        if len(kinds) > 1:
            raise ValueError(
                f"the runs are of different kinds, {' and '.join(sorted(kinds))}; compare those of one kind"
            )
        if self.target is not None and not has_result(next(iter(kinds)), "image"):
            raise ValueError("--target is for pictures; the strip of other kinds shows the fits alone")
        rows = make_rows(entries)
        table = Table("")
        for entry in entries:
            table.add_column(Text(escape(entry.name), overflow="fold"), justify="right")
        for row in rows:
            table.add_row(*map(escape, row.cells))
        console = Console()
        console.print(table)
        writers = {".png": self._draw, ".csv": _write_csv, ".md": _write_markdown}
        for output in self.output:
            with replacing(output) as path:
                writers[output.suffix.lower()](entries, rows, path)
            console.print(escape(output), markup=False, highlight=False, soft_wrap=True)

    def _check_outputs(self) -> None:
        """Check the outputs' names, and that a target is of use."""
        for output in self.output:
            check_is_here(output)
            if output.suffix.lower() not in SUFFIXES:
                raise ValueError(f"{output}: a comparison is written as {', '.join(SUFFIXES)}; name it so")
            if self.target is not None and output.is_file() and self.target.is_file() and output.samefile(self.target):
                raise ValueError(f"{output}: is the target; choose another name for the output")
        if self.target is not None and not self.target.exists() and not str(self.target).startswith("sample:"):
            raise ValueError(f"{self.target}: no such file; --target takes the file that was fitted")

    def _draw(self, entries: "list[Entry]", rows: "list[Row]", path: Path) -> None:
        """Draw the learning curves, and below them the strip of pictures or surfaces if the kind has such."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        strip = self._collect_pictures(entries)
        figure = Figure(figsize=(max(8.0, 3.2 * len(strip)), 4.0 + 3.4 * bool(strip)), layout="constrained")
        FigureCanvasAgg(figure)
        parts: Any = figure.subfigures(1 + bool(strip), 1, squeeze=False)[:, 0]
        names = (name for entry in entries for _, _, metrics in entry.history for name in metrics)
        watched = kind_named(entries[0].fitted.kind).metric_names.find_curve(names)
        plot = parts[0].subplots()
        for entry in entries:
            points = [(step, metrics[watched]) for step, _, metrics in entry.history if watched in metrics]
            label = entry.name if points else f"{entry.name} (no curve was kept)"
            plot.plot(*zip(*points, strict=True) if points else ([], []), label=label, marker=".", markersize=3)
        plot.set(xlabel="step", ylabel=label_metric(watched))
        plot.grid(alpha=0.3)
        plot.legend(fontsize="small")
        if strip:
            kind = kind_named(entries[0].fitted.kind if has_result(entries[0].fitted.kind, "image") else "image")
            for plot, (name, values) in zip(parts[1].subplots(1, len(strip), squeeze=False)[0], strip, strict=True):
                kind.draw(plot, SimpleNamespace(dim=values.ndim - 1, missing=None), values)
                plot.set_title(name, fontsize="small")
        figure.savefig(path, dpi=120)

    def _collect_pictures(self, entries: "list[Entry]") -> list[tuple[str, Any]]:
        """Return the target, if it is given, and the fits, [h, w, c] with values in [-1, 1], each with its name."""
        import numpy as np

        from ..metrics.grid import evaluate_grid

        kind = kind_named(entries[0].fitted.kind)
        if not has_result(kind.name, "image"):
            return [(entry.name, _draw_surface(entry.fitted)) for entry in entries if has_result(kind.name, "mesh")]
        pictures = []
        if self.target is not None:
            values = kind.load(str(self.target), kind.options()).values  # type: ignore[attr-defined]
            self._check_target(values.shape, entries)
            step = -(-max(values.shape[:2]) // MOST_PIXELS)
            pictures.append(("target", values[::step, ::step]))
        for entry in entries:
            field = entry.fitted.field
            lattice = field.record.lattice  # type: ignore[attr-defined]
            step = -(-max(lattice.shape) // MOST_PIXELS)
            rows, columns = (np.arange(0, size, step) for size in lattice.shape)
            index = rows[:, None] * lattice.shape[1] + columns
            values = evaluate_grid(field.evaluate, lattice, index.reshape(-1))
            pictures.append((entry.name, values.reshape(*index.shape, -1)))
        return pictures

    def _check_target(self, shape: tuple[int, ...], entries: "list[Entry]") -> None:
        """Check that a target may be what one of the fits was fitted to, perhaps reduced."""
        found = [(*entry.fitted.field.record.lattice.shape, entry.fitted.field.spec["out_dim"]) for entry in entries]  # type: ignore[attr-defined]
        height, width, channels = shape
        if not any(abs(height / width * w - h) <= 1 and c == channels for h, w, c in found):
            h, w, c = found[0]
            raise ValueError(
                f"{self.target}: has {width} x {height} pixels of {channels} channels, but {entries[0].name} was fitted"
                f" to {w} x {h} of {c}; --target takes the file that was fitted"
            )


def main() -> None:
    """Run ``winner-compare``; end with status 1 and a message of one line if the request cannot be met."""
    with running():
        tyro.cli(Compare, prog=PROGRAM, description=__doc__).run()


if __name__ == "__main__":
    main()
