"""What a network can represent and learn first: spectra of its layers and its tangent kernel, before and after."""

import json
import os
import signal
import sys
import warnings
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ..analysis.plots import draw_kernel, draw_spectra, label_of
from ..analysis.study import Study, study
from ..files import replacing
from ..registry import kind_named
from ..signals.errors import is_out_of_memory
from ..training.prepare import FitOptions
from .export import interrupt
from .kinds import parse

if TYPE_CHECKING:
    from rich.table import Table

NUMBERS, SPECTRA, KERNEL = "analysis.json", "spectra.png", "ntk.png"
PROGRAM = "winner-analyze"
SHOWN = "0.001"
"""Part of the greatest eigenvalue above which the table counts the target's share."""


@dataclass
class Analyze:
    """Compare SIREN's start with WINNER's, as they are and after a short fit of each: spectra and tangent kernel.

    The options of the data's kind may be given too: winner-analyze --data FILE --help lists them.
    """

    data: Path
    """A mesh, points, a picture, a sound, an array, or sample:NAME."""
    output: Path | None = None
    """Folder for analysis.json, spectra.png and ntk.png; outputs/NAME/winner-analyze if left out."""
    kind: str | None = None
    """Kind of signal: sdf, image, audio, volume or another; if left out, the file or the array's shape says it."""
    study: Annotated[Study, tyro.conf.arg(name="")] = field(default_factory=Study)

    @property
    def folder(self) -> Path:
        """Where the result goes."""
        name = Path(str(self.data).removeprefix("sample:")).stem
        return self.output or Path("outputs") / name / PROGRAM

    def run(self, options: FitOptions) -> None:
        """Measure, draw, write, and print a table.

        Raises:
            ValueError: data or options that won't do, or a folder that holds something else, in one line.
            OSError: the output cannot be written.
        """
        from rich.console import Console

        self.study.check()
        if problem := _taken(self.folder):
            raise ValueError(problem)
        console = Console()
        with Console(stderr=True).status("loading") as status, warnings.catch_warnings(record=True) as met:
            warnings.simplefilter("always")
            target = options.kind.load(str(self.data), options.data)
            for line in target.describe():
                console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)
            found = study(target, self.study, status.update)
            status.update("drawing")
            self._write(found)
        for warning in met:
            if "winner_nerfstudio" in warning.filename:
                print(f"warning: {warning.message}", file=sys.stderr)
        console.print(_table(found))
        for line in [*_notes(found), f"{self.folder}: {NUMBERS}, {SPECTRA}, {KERNEL}"]:
            console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def _write(self, found: dict[str, Any]) -> None:
        """All files or none."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            numbers, spectra, kernel = (
                stack.enter_context(replacing(self.folder / name)) for name in (NUMBERS, SPECTRA, KERNEL)
            )
            numbers.write_text(json.dumps({"program": PROGRAM} | found) + "\n", "utf8")
            draw_spectra(found, spectra)
            draw_kernel(found, kernel)


def _taken(folder: Path) -> str | None:
    """Why nothing may be written to a folder, in one line, or None."""
    standing = next(path for path in (folder, *folder.parents) if path.exists())
    if not standing.is_dir():
        return f"{standing}: is a file; --output names a folder"
    if not os.access(standing, os.W_OK):
        return f"{standing}: cannot be written to; choose another --output"
    there = [name for name in (NUMBERS, SPECTRA, KERNEL) if (folder / name).exists()]
    try:
        ours = bool(there) and json.loads((folder / NUMBERS).read_text("utf8"))["program"] == PROGRAM
    except (OSError, ValueError, KeyError, TypeError):
        ours = False
    if there and not ours:
        return f"{folder / there[0]}: is there already, and not from {PROGRAM}; choose another --output"
    return None


def _table(found: dict[str, Any]) -> "Table":
    """A row for the target and for each look at a network."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    layers, target = found["network"]["num_layers"], found["target"]
    # As a text, for a name such as sample:sponge: is no emoji.
    title = Text(f"{Path(target['name']).name}: frequencies as parts of Nyquist's")
    # Narrow enough for a terminal of 80 columns.
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=0)
    table.add_column("", no_wrap=True)
    headers = [*(f"layer {number}" for number in range(1, layers + 1)), "output", "above 1", "rank", "reach"]
    with_psnr = "psnr" in found["states"][0]
    for header in [*headers, *["PSNR, dB"] * with_psnr]:
        table.add_column(header, justify="right")
    table.add_row("target", *[""] * layers, _short(target["rms_frequency"]))
    for state in found["states"]:
        behind = [layer for layer in state["layers"] if layer["stage"] != "pre_activation"]
        kernel = state["ntk"]
        cells = [_short(layer["rms_frequency"]) for layer in behind]
        cells += [f"{behind[-1]['above_nyquist']:.1%}", f"{kernel['effective_rank']:.3g}"]
        cells += [f"{kernel['energy_within'][SHOWN]:.0%}"]
        table.add_row(label_of(state), *cells, *([f"{state['psnr']:.1f}"] if with_psnr else []))
    return table


def _notes(found: dict[str, Any]) -> list[str]:
    """What the columns are, what the unit of frequency is, and what was left out to save time."""
    nyquist, points = found["target"]["nyquist"], found["kernel"]["samples"]
    world = kind_named(found["target"]["kind"]).frequency_unit
    return [
        "layer, output: root mean square frequency of what it puts out; above 1: part of the output's power above"
        " Nyquist's frequency, where no sample can correct it",
        f"rank: of the tangent kernel, how many of {points:,} directions are learnt at a like speed; reach: part of the"
        " target learnt in less than 1,000 times what the fastest takes",
        f"Nyquist's frequency: {nyquist['cycles_per_unit']:.5g} cycles per unit of the network's coordinates,"
        f" {nyquist['cycles_per_world_unit']:.5g} {world}",
        *found["reduced"],
    ]


def _short(frequency: float) -> str:
    return f"{frequency:.2f}" if frequency >= 0.1 else f"{frequency:#.2g}" if frequency >= 1e-3 else f"{frequency:.1g}"


def main() -> None:
    """Entry point of ``winner-analyze``; status 1 and one line where the user's request cannot be met."""
    signal.signal(signal.SIGTERM, interrupt)
    command: Analyze | None = None
    try:
        command, options = parse(Analyze, PROGRAM, __doc__ or "", lambda command: command.data)
        command.run(options)
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"error: {error}")
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        sys.exit("error: not enough memory; use fewer --samples and --kernel-points, or a smaller --hidden-dim")
    except KeyboardInterrupt:
        print(f"interrupted: {command.folder if command else PROGRAM} was not written", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
