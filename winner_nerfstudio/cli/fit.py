"""Fit a file and write the result: a field, a mesh, a picture, a sound or an array, as the output's suffix says."""

import sys
from copy import deepcopy
from dataclasses import dataclass, field, fields
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console
from rich.text import Text

from ..export.suffixes import TEXTURED
from ..files import as_url, find_obstacle, find_problem
from ..progress import working
from ..registry import Kind, export_for, kind_named, kind_of
from ..signals.errors import EMPTY, IS_URL
from ..signals.messages import error_line, escape, quote
from ..storage import AnyPath, RemotePath, locate
from ..training.engine import Workers
from .start import running

if TYPE_CHECKING:
    from ..export.command import Export
    from ..fields.fitted import FittedField
    from ..training.initialize import Start
    from ..training.plan import Course, Plan
    from ..training.prepare import FitOptions
    from ..training.run import Outcome
    from ..training.verdict import Verdict

PROGRAM = "winner-fit"
ALL_HELP = "--help-all"


@dataclass
class Fit:
    """Fit a file and write the result: winner-fit photo.png --output fit.png fit.safetensors

    The file comes first. Any other option of fit() may follow, such as --hidden-dim, --exactness, --parts, --max-side
    of a picture, --duration of a sound: winner-fit FILE --help-all lists those of a file's kind.

    Exit status: 0 all went well, 1 an error, 2 unknown options, 3 the fit failed or still improved fast when its steps
    ended, 130 interrupted.
    """

    file: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE")]
    """A mesh, points, a picture, a sound, an array, or sample:NAME."""
    output: Annotated[tuple[str, ...], tyro.conf.arg(metavar="RESULT [RESULT ...]")]
    """Files to write. The suffix says what: .safetensors .onnx the field, a function; .ply .obj .stl .glb a mesh;
    .png .tif .wav .npy ... the fit as such a file. A failed fit replaces no file. A name without suffix is a folder,
    or its URL such as s3://bucket/fit, into which a signal larger than memory is fitted part by part; the same command
    resumes it."""
    kind: Annotated[str | None, tyro.conf.arg(metavar="KIND")] = None
    """sdf, image, audio, volume or another kind, if the file does not say."""
    steps: Annotated[int | None, tyro.conf.arg(metavar="COUNT")] = None
    """Number of training steps, if not the kind's own."""
    learning_rate: Annotated[float | None, tyro.conf.arg(metavar="RATE")] = None
    """Learning rate at the first step, if not the kind's own."""
    optimizer: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Optimiser, adam, soap or muon, if not the kind's own."""
    seed: int = 42
    """Seed of the network and the batches."""
    device: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """cpu or cuda; cuda if there is one."""
    open: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show the result: a shape in the viewer's page, anything else as a picture beside its target."""
    texture: Annotated[int | None, tyro.conf.arg(metavar="TEXELS")] = None
    """Width, such as 2048, of a texture of a shape's colours for .glb and .obj; else vertices have the colours."""
    memory: Annotated[float | None, tyro.conf.arg(metavar="SIZE")] = None
    """Bytes that a group of parts may take; 4e9 if left out."""
    group_samples: Annotated[int | None, tyro.conf.arg(metavar="COUNT")] = None
    """Samples of a group of parts, in place of --memory."""
    workers: Annotated[Workers, tyro.conf.arg(name="")] = field(default_factory=Workers)
    """Who trains the parts of a signal larger than memory."""

    def check_files(self) -> None:
        """Check the file and the outputs as far as it can be done without reading the file.

        Raises:
            ValueError: the file is missing or empty, or an output cannot be written; the message is one line.
        """
        is_sample = str(self.file).startswith("sample:")
        if url := as_url(self.file):
            raise ValueError(f"{url}: {IS_URL}")
        if not is_sample and not self.file.exists():
            raise ValueError(f"{self.file}: no such file; the file comes first, then the options")
        if self.file.is_file() and self.file.stat().st_size == 0:
            raise ValueError(f"{self.file}: {EMPTY}")
        if not self.output:
            raise ValueError("--output needs a file to write, such as fit.safetensors")
        for output in self.outputs:
            if problem := _find_problem(output):
                raise ValueError(f"{output}: {problem}")
            if not is_sample and isinstance(output, Path) and output.exists() and output.samefile(self.file):
                raise ValueError(f"{output}: is the file that is fitted; choose another name")
        if self.is_in_groups and len(self.output) > 1:
            raise ValueError("--output names a folder, without a suffix, beside other results; give one or the others")
        if self.is_in_groups and self.open:
            raise ValueError(
                "--open shows a fit in memory, and --output names a folder, without a suffix, for a fit part by part;"
                " look at its export"
            )
        is_grouped = self.workers != Workers() or self.memory is not None or self.group_samples is not None
        if not self.is_in_groups and is_grouped:
            raise ValueError(
                "--memory, --group-samples, --engine, --cpus and --gpus are for a fit part by part, into a folder;"
                " --output takes one, without a suffix"
            )
        if self.texture is not None and not any(output.suffix.lower() in TEXTURED for output in self.outputs):
            raise ValueError(f"--texture is for {' and '.join(TEXTURED)} files, and --output names none")
        if len({output.resolve() for output in self.outputs}) < len(self.outputs):
            raise ValueError("--output names a file twice")

    def check_outputs(self, rest: list[str]) -> None:
        """Check that no output is a file that another option names, such as ``--reference``.

        Args:
            rest: the arguments that are not options of this class.

        Raises:
            ValueError: one is.
        """
        named = [Path(argument.rpartition("=")[2] if argument.startswith("-") else argument) for argument in rest]
        read = [path for path in named if path.is_file()]
        for output in self.outputs:
            if isinstance(output, Path) and output.is_file() and any(map(output.samefile, read)):
                raise ValueError(f"{output}: is read for this fit; choose another name for the output")

    @property
    def course(self) -> "Course":
        """The steps, the learning rate and the optimiser as far as they are said, and the seed."""
        from ..training.plan import Course

        return Course(self.steps, self.learning_rate, self.optimizer, self.seed)

    @property
    def outputs(self) -> tuple[AnyPath, ...]:
        """The paths of the outputs."""
        return tuple(map(locate, self.output))

    @property
    def is_in_groups(self) -> bool:
        """Return whether the file is fitted in groups, into a folder, which has no suffix."""
        return any(not output.suffix for output in self.outputs)

    def find_exports(self, kind: Kind) -> "list[Export]":
        """Return the exports that write the outputs.

        Raises:
            ValueError: a suffix is that of no result of this kind; the message is one line.
        """
        exports = []
        for output in self.outputs:
            if isinstance(output, Path):
                make, options = export_for(kind, output), dict[str, Any]()
                if output.suffix.lower() in TEXTURED and "texture" in (option.name for option in fields(make)):
                    options["texture"] = self.texture
                exports.append(make("", output, **options))
        return exports


OPTIONS = tuple(each.name for group in (Fit, Workers) for each in fields(group))
"""The names of the command's own options."""


def _describe_export(export: "Export") -> str:
    """Return the files that an export writes, and what they hold."""
    beside = " and ".join(path.name for path in export.companions)
    return f"{export.output} ({export.result}{f', with {beside}' if beside else ''})"


def _find_problem(output: AnyPath) -> str | None:
    """Return in words why an output cannot be written, or None if it can as far as one can see."""
    if isinstance(output, RemotePath):
        return "a URL takes a folder, for a fit part by part, without a suffix; name a file" if output.suffix else None
    return find_problem(output) if output.suffix else find_obstacle(output.absolute())


class FitRun:
    """One run of ``winner-fit``, from the checked request to the written files.

    Args:
        command: the request.
        kind: kind of the file.
        exports: what is written.
    """

    def __init__(self, command: Fit, kind: Kind, exports: "list[Export]") -> None:
        self.command, self.kind, self.exports = command, kind, exports
        self.console = Console()

    def say(self, line: object) -> None:
        """Print a line as it is."""
        self.console.print(escape(line), markup=False, emoji=False, highlight=False, soft_wrap=True)

    def run(self, options: "FitOptions") -> int:
        """Fit the file, write the outputs and return the exit status.

        Raises:
            ValueError: the data or an option cannot be used, or the fit has diverged; the message is one line.
            KeyboardInterrupt: the user has stopped the run before there was anything to write.
        """
        from ..training.measure import build_monitor, measure
        from ..training.prepare import find_device
        from ..training.run import train
        from ..training.verdict import INTERRUPTED, POOR_FIT, judge

        command = self.command
        command.course.check()
        target, plan, started = self._start(options, find_device(command.device))
        with self.console.status("Preparing the metrics..."):
            monitor = build_monitor(self.kind, target, started.companion_field)
        outcome = train(started, plan, self.console, monitor)
        if outcome.diverged:
            raise ValueError(
                f"{command.file}: the fit has diverged after {outcome.steps} of {plan.steps} steps, and nothing was"
                f" written; try a --learning-rate below {plan.learning_rate:g}"
            )
        if outcome.interrupted:
            self.say(f"interrupted: what follows is the field of {outcome.steps} of {plan.steps} steps")
        with working(self.console, "measuring the fit"):
            metrics = measure(self.kind, started.field, target, plan.options.network, started.companion_field)
        verdict = judge(self.kind, target, metrics, outcome.history)
        if outcome.interrupted and verdict is not None and not verdict.failed:
            verdict = None  # who stops a fit knows that more steps would make it better
        fitted = self._report(started, target, outcome, metrics, verdict)
        written = [self._write(export, fitted, verdict) for export in self.exports]
        if command.open:
            from .show import show

            show(fitted, target, getattr(options.data, "up", "y"), self.say)
        if outcome.interrupted:
            return INTERRUPTED
        return 1 if not all(written) else POOR_FIT if verdict is not None else 0

    def _start(self, options: "FitOptions", device: Any) -> "tuple[Any, Plan, Start]":
        """Load the target, say what it is, and initialise the field; the outputs are checked against both."""
        from ..fields.fitted import FittedField
        from ..results import describe_size
        from ..training.initialize import start
        from ..training.plan import make_plan

        command = self.command
        with working(self.console, f"loading {command.file}"):
            target = self.kind.load(str(command.file), options.data)
        plan = make_plan(target, options, command.course)
        for line in (*target.describe(), *filter(None, [plan.note])):
            self.say(line)
        meshes = [export.output for export in self.exports if export.result == "mesh"]
        if meshes and not getattr(target, "has_surface", True):
            raise ValueError(
                f"{meshes[0]}: {command.file} has no surface at its level; name another --level, or no mesh"
            )
        with working(self.console, "initialising"):
            started = start(target, plan.options, device, plan.seed)
            # Copies, because a fitted field has no gradients.
            fitted = FittedField(deepcopy(started.field), None, deepcopy(started.companion_field))
            for export in self.exports:
                export.check(fitted)
        network = plan.options.network
        described = describe_size(started.field, started.companion_field, str(command.file))
        self.say(f"initialisation: {started.initialization['init']}")
        self.say(
            f"fitting with {network.network}, {network.num_layers} layers of {network.width}, {described}"
            f"; {plan.steps:,} steps of {started.sampler.batch_size:,} points by {plan.optimizer} on {device}"
        )
        return target, plan, started

    def _report(
        self, started: "Start", target: Any, outcome: "Outcome", metrics: dict[str, float], verdict: "Verdict | None"
    ) -> "FittedField":
        """Print the table of the results, and return the field with its provenance."""
        from ..fields.checkpoint import provenance
        from ..fields.fitted import FittedField
        from ..results import measure_sizes, results_table
        from ..training.fit import finite

        progress = started.initialization | {"seconds": outcome.seconds, "history": outcome.history}
        origin = provenance(progress, outcome.steps, finite(metrics))
        fitted = FittedField(started.field, origin, started.companion_field)
        sizes = measure_sizes(started.field, started.companion_field, target.name)
        shown = metrics | {"train_seconds": outcome.seconds}
        self.console.print(results_table(shown, sizes, self._find_previous(fitted), verdict))
        return fitted

    def _find_previous(self, fitted: "FittedField") -> dict[str, float]:
        """Return the metrics of the field file that is about to be replaced, if it is of the same target."""
        from ..fields.checkpoint import select_numbers
        from ..fields.file import load_field

        for output in self.command.outputs:
            if output.suffix.lower() == ".safetensors" and output.is_file():
                try:
                    previous = load_field(output)
                except (ValueError, OSError):
                    continue
                if previous.kind == fitted.kind and previous.field.record == fitted.field.record:
                    return select_numbers(previous.provenance.get("figures"))
        return {}

    def _write(self, export: "Export", fitted: "FittedField", verdict: "Verdict | None") -> bool:
        """Write an output and say so; return whether it was written, or could not be because the fit failed."""
        if verdict is not None and verdict.failed and export.output.exists():
            self.say(f"{export.output}: kept as it was, because the fit failed")
            return True
        try:
            writing = f"Writing {escape(export.output.name)}..."
            with self.console.status(Text(writing)) as status:
                written = export.write(fitted, lambda part: status.update(Text(f"{writing} {part:.0%}")))
            self.say(f"{export.output}: {written}")
        except (ValueError, OSError, ImportError) as error:
            from ..surfaces import EmptySurfaceError

            if verdict is not None and verdict.failed and isinstance(error, EmptySurfaceError):
                self.say(f"{export.output}: not written, because the fit failed: {error}")
                return True
            print(error_line(error), file=sys.stderr)
            return False
        return True


def main() -> None:
    """Run ``winner-fit``; see `Fit` for the exit status."""
    smaller = "use a smaller --hidden-dim or --batch-size, or less of the data"
    with running("interrupted: nothing more was written", smaller):
        sys.exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    """Check and carry out a request, cheapest checks first; torch is imported only when those have passed."""
    description = cleandoc(Fit.__doc__ or "")
    if ALL_HELP in arguments:
        from .kinds import parse_fit_options

        parse_fit_options(_find_kind_for_help(arguments), PROGRAM, ["--help"])
    if [argument.partition("=")[0] for argument in arguments].count("--output") > 1:
        raise ValueError(
            "--output is given twice, and only the last would be written; name all after one: --output A B"
        )
    command, rest = tyro.cli(Fit, prog=PROGRAM, description=description, args=arguments, return_unknown_args=True)
    command.check_files()
    kind = kind_of(command.file) if command.kind is None else kind_named(command.kind)
    if command.is_in_groups:
        return _run_groups(command, kind, rest)
    exports = command.find_exports(kind)
    command.check_outputs(rest)
    for export in exports:
        export.check_files()
    results = ", ".join(map(_describe_export, exports))
    print(escape(f"{command.file}: fitting {kind.title}; to be written: {results}"), flush=True)
    from .kinds import parse_fit_options

    return FitRun(command, kind, exports).run(parse_fit_options(kind, PROGRAM, rest, OPTIONS, ALL_HELP))


def _find_kind_for_help(arguments: list[str]) -> Kind:
    """Return the kind whose options are to be listed: that of ``--kind``, or of the file.

    Raises:
        ValueError: there is neither.
    """
    others = [argument for argument in arguments if argument not in (ALL_HELP, "--help", "-h")]
    nothing = Fit(Path(), ())
    command, _ = tyro.cli(Fit, prog=PROGRAM, args=others, default=nothing, return_unknown_args=True)
    if command.kind is not None:
        return kind_named(command.kind)
    if command.file == nothing.file:
        raise ValueError(f"{ALL_HELP} needs a file, or a kind as in --kind image, because the options depend on it")
    return kind_of(command.file)


def _run_groups(command: Fit, kind: Kind, rest: list[str]) -> int:
    """Fit a file in groups, into a folder, and say how it is exported."""
    from .kinds import parse_fit_options

    (folder,), console = command.outputs, Console()
    print(escape(f"{command.file}: fitting {kind.title} in groups of parts, into the folder {folder}"), flush=True)
    options = parse_fit_options(kind, PROGRAM, rest, OPTIONS, ALL_HELP)
    from ..training.groups import MEMORY, RunOptions, run_groups

    memory = MEMORY if command.memory is None else command.memory
    run = RunOptions(command.course, command.device, command.group_samples, memory, workers=command.workers)
    run_groups(command.file, folder, options, run, console)
    result = next(iter(kind.exports), "field")
    line = f"to export it: winner-export {result} --load-config {quote(folder)} --output FILE"
    console.print(escape(line), markup=False, highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    main()
