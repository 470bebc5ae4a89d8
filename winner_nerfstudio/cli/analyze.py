"""Show what a network can represent and learn first, by spectra of its layers and its tangent kernel."""

import json
import sys
import warnings
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro

from ..analysis.options import RANKS, Study
from ..analysis.plots import draw_kernel, draw_parts, draw_spectra, label_of, name_of
from ..files import find_obstacle, replacing, stem_of
from ..registry import all_kinds, kind_named
from ..signals.messages import escape
from ..storage import check_is_here
from ..training.options import NoiseOptions
from .kinds import parse_command, parse_data_options
from .start import running

if TYPE_CHECKING:
    from rich.table import Table

    from ..training.prepare import FitOptions

NUMBERS, SPECTRA, KERNEL, PARTS = "analysis.json", "spectra{}.png", "ntk{}.png", "parts.png"
NAMES = (
    NUMBERS,
    PARTS,
    *(name.format(rank) for rank in ("", *(f"-{rank}" for rank in RANKS)) for name in (SPECTRA, KERNEL)),
)
"""All files that the command may write, of a single network and of one that is divided into parts."""
FITS = (".safetensors", ".ckpt", ".yml", ".yaml", ".onnx")
"""Suffixes of files that hold a fit, or say where it is."""
PROGRAM = "winner-analyze"
SHOWN = "0.001"
"""Part of the greatest eigenvalue that a direction's eigenvalue must exceed to count in the table's column "reach"."""


@dataclass
class Analyze:
    """Compare SIREN's and WINNER's initialisation by spectra and tangent kernel, before and after a short fit of each.

    The options of the data's kind may be given too: winner-analyze --data FILE --help lists them.
    """

    data: Path
    """A mesh, points, a picture, a sound, an array, or sample:NAME."""
    output: Path | None = None
    """Folder for analysis.json and the plots; if left out, outputs/NAME/winner-analyze."""
    kind: str | None = None
    """Kind of signal: sdf, image, audio, volume or another; if left out, it is found from the file's name or the
    array's shape."""
    study: Annotated[Study, tyro.conf.arg(name="")] = field(default_factory=Study)

    @property
    def folder(self) -> Path:
        """Return the folder that the result is written to."""
        return self.output or Path("outputs") / stem_of(self.data) / PROGRAM

    def run(self, options: "FitOptions") -> None:
        """Analyse the networks, write the numbers and plots, and print a table.

        Raises:
            ValueError: the data or an option cannot be used, or the folder holds other files of the same names; the
                message is one line.
            OSError: the output cannot be written.
        """
        from rich.console import Console

        from ..analysis.study import study

        self.study.check()
        check_is_here(self.folder)
        if problem := _find_conflict(self.folder):
            raise ValueError(problem)
        console = Console()
        with Console(stderr=True).status("loading") as status, warnings.catch_warnings(record=True) as recorded:
            warnings.simplefilter("always")
            target = options.kind.load(str(self.data), options.data)
            for line in target.describe():
                console.print(escape(line), markup=False, emoji=False, highlight=False, soft_wrap=True)
            result = study(target, self.study, status.update)
            status.update("drawing")
            written = self._write(result)
        for warning in recorded:
            if "winner_nerfstudio" in warning.filename:
                print(f"warning: {escape(warning.message)}", file=sys.stderr)
        if "parts" in result:
            console.print(_build_summary(result))
        for study_of_one in _list_studies(result).values():
            console.print(_build_table(study_of_one))
        for line in [*_build_notes(result), f"{self.folder}: {', '.join(written)}"]:
            console.print(escape(line), markup=False, emoji=False, highlight=False, soft_wrap=True)

    def _write(self, result: dict[str, Any]) -> list[str]:
        """Write all files, or none if one of them cannot be written, and remove those of an earlier run.

        Returns:
            The names of the files.
        """
        written = [NUMBERS]
        with ExitStack() as stack:

            def open_file(name: str) -> Path:
                if name != NUMBERS:
                    written.append(name)
                return stack.enter_context(replacing(self.folder / name))

            open_file(NUMBERS).write_text(json.dumps({"program": PROGRAM} | result) + "\n", "utf8")
            if "parts" in result:
                draw_parts(result, open_file(PARTS))
            for suffix, study_of_one in _list_studies(result).items():
                draw_spectra(study_of_one, open_file(SPECTRA.format(suffix)))
                draw_kernel(study_of_one, open_file(KERNEL.format(suffix)))
        for name in NAMES:
            if name not in written:
                (self.folder / name).unlink(missing_ok=True)
        return written


def _list_studies(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the studies of single networks by the suffix of their files' names: of some members, or the only one."""
    if "parts" not in result:
        return {"": result}
    return {f"-{rank}": member for rank, member in result["members"].items()}


def _find_conflict(folder: Path) -> str | None:
    """Return in one line why nothing may be written to a folder, or None if it may be written to."""
    if obstacle := find_obstacle(folder):
        return f"{folder}: {obstacle}; choose another --output"
    present = [name for name in NAMES if (folder / name).exists()]
    try:
        ours = bool(present) and json.loads((folder / NUMBERS).read_text("utf8"))["program"] == PROGRAM
    except (OSError, ValueError, KeyError, TypeError):
        ours = False
    if present and not ours:
        return f"{folder / present[0]}: is there already, and not from {PROGRAM}; choose another --output"
    return None


def _build_table(result: dict[str, Any]) -> "Table":
    """Return a table with a row for the target and one for each state of a network."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    layers, target = result["network"]["num_layers"], result["target"]
    # As a Text, because rich would replace part of a string such as sample:sponge: by an emoji.
    title = Text(f"{escape(name_of(result))}: frequencies as parts of Nyquist's")
    # Without padding, so that the table fits into a terminal of 80 columns.
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=0)
    table.add_column("", no_wrap=True)
    headers = [*(f"layer {layer}" for layer in range(1, layers + 1)), "output", "above 1", "rank", "reach"]
    with_psnr = "psnr" in result["states"][0]
    for header in [*headers, *["PSNR, dB"] * with_psnr]:
        table.add_column(header, justify="right")
    table.add_row("target", *[""] * layers, _format_frequency(target["rms_frequency"]))
    for state in result["states"]:
        outputs = [layer for layer in state["layers"] if layer["stage"] != "pre_activation"]
        kernel = state["ntk"]
        cells = [_format_frequency(layer["rms_frequency"]) for layer in outputs]
        cells += [f"{outputs[-1]['above_nyquist']:.1%}", f"{kernel['effective_rank']:.3g}"]
        cells += [f"{kernel['energy_within'][SHOWN]:.0%}"]
        if with_psnr:  # it is None where the fit has no error
            cells.append("exact" if state["psnr"] is None else f"{state['psnr']:.1f}")
        table.add_row(label_of(state), *cells)
    return table


def _build_summary(result: dict[str, Any]) -> "Table":
    """Return a table of how the centroids and the noise scales are distributed over the parts."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    parts = result["parts"]
    count = f"{parts['total']:,} parts of {' x '.join(map(str, parts['samples']))} samples"
    if len(parts["index"]) < parts["total"]:
        count += f", {len(parts['index']):,} of them measured"
    title = Text(f"{escape(Path(result['target']['name']).name)}: {count}")
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=0)
    for header in ("", "least", "10 %", "median", "90 %", "greatest"):
        table.add_column(header, justify="right" if header else "left", min_width=10 if header else 0)
    for name in ("centroid", "s0", "s1", "factor"):
        if name in parts:
            table.add_row(name, *(f"{value:.3g}" for value in np.quantile(parts[name], (0, 0.1, 0.5, 0.9, 1))))
    return table


def _build_notes(result: dict[str, Any]) -> list[str]:
    """Return lines that explain the columns, the unit of frequency, and what was left out to save time."""
    study_of_one = next(iter(_list_studies(result).values()))
    nyquist, points = study_of_one["target"]["nyquist"], study_of_one["kernel"]["samples"]
    world = kind_named(result["target"]["kind"]).frequency_unit
    lines = [
        "layer, output: root mean square frequency of what it puts out; above 1: part of the output's power above"
        " Nyquist's frequency, where no sample can correct it",
        f"rank: of the tangent kernel, how many of {points:,} directions are learnt at a like speed; reach: part of the"
        " target learnt in less than 1,000 times what the fastest takes",
        f"Nyquist's frequency: {nyquist['cycles_per_unit']:.5g} cycles per unit of the network's coordinates,"
        f" {nyquist['cycles_per_world_unit']:.5g} {world}",
        *study_of_one["reduced"],
    ]
    if "parts" in result:
        lines.insert(
            0,
            "parts: those whose centroid, the mean over the axes, is lowest, median and highest, each with its own"
            " coordinates; --parts 1 looks at a single network",
        )
    return lines


def _format_frequency(frequency: float) -> str:
    """Return a frequency with few digits, so that it fits into a column of the table."""
    return f"{frequency:.2f}" if frequency >= 0.1 else f"{frequency:#.2g}" if frequency >= 1e-3 else f"{frequency:.1g}"


def _find_data(command: Analyze) -> Path:
    """Return the file of the data.

    Raises:
        ValueError: It is a fit instead.
    """
    is_data = command.data.name.lower().endswith(tuple(suffix for kind in all_kinds() for suffix in kind.suffixes))
    if command.data.suffix.lower() in FITS or (command.data.is_dir() and not is_data):
        raise ValueError(
            f"{command.data}: is a fit or a folder; give the data that is fitted, of which {PROGRAM} makes networks"
        )
    return command.data


def main() -> None:
    """Run ``winner-analyze``; end with status 1 and a message of one line if the user's request cannot be met."""
    smaller = "use fewer --samples and --kernel-points, or a smaller --hidden-dim"
    with running("interrupted: nothing was written", smaller):
        command, kind, rest = parse_command(Analyze, PROGRAM, __doc__ or "", _find_data)
        others = [each.name for group in (Analyze, Study) for each in fields(group)]
        others += [f"noise.{each.name}" for each in fields(NoiseOptions)]
        command.run(parse_data_options(kind, f"{PROGRAM} {command.data}", rest, others))


if __name__ == "__main__":
    main()
