"""Fit many files, of any kinds, into a folder of fields and a table."""

import sys
from contextlib import suppress
from dataclasses import dataclass, field, fields
from inspect import cleandoc
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console

from ..registry import kind_named
from ..signals.messages import escape
from ..storage import locate
from ..training.engine import Workers
from .start import running

if TYPE_CHECKING:
    from ..batch.many import Batch

PROGRAM = "winner-batch"
ALL_HELP = "--help-all"
INCOMPLETE = 3
"""The exit status where some files have no field or a poor one."""


@dataclass
class BatchCommand:
    """Fit many files, each as winner-fit does, small ones of one size at once: winner-batch photos --output fits

    Any option of fit() may follow, for the kinds that have it, such as --hidden-dim, --exactness, --max-side of
    pictures, --duration of sounds: winner-batch FILES --help-all lists those of the files' kinds. The same command goes
    on where it was stopped, and fits only what is new or has changed.

    Exit status: 0 all files are fitted, 1 an error, 2 unknown options, 3 some files could not be fitted or their fits
    are poor, 130 interrupted.
    """

    files: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="FOLDER|GLOB|LIST.csv")]
    """A folder with all in it but hidden files, a pattern, a list with a column path, files, or URLs of these."""
    output: Annotated[str, tyro.conf.arg(metavar="FOLDER|URL")]
    """Folder, or its URL such as s3://bucket/fits, for fields/, table.csv and, with pyarrow, table.parquet: a row for
    each file with its metrics or what is wrong with it."""
    pack: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Write fields that are finished together into one file, in packs/; load_fields() reads them."""
    kind: Annotated[str | None, tyro.conf.arg(metavar="KIND")] = None
    """sdf, image, audio, volume or another kind, of all files; if left out, each file's own."""
    steps: Annotated[int | None, tyro.conf.arg(metavar="COUNT")] = None
    """Number of training steps, if not those for the kind and the size."""
    learning_rate: Annotated[float | None, tyro.conf.arg(metavar="RATE")] = None
    """Learning rate at the first step, if not that for the kind and the size."""
    optimizer: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Optimiser: adam, soap or muon; muon for small signals if left out."""
    seed: int = 42
    """Seed of the networks and the batches."""
    device: Annotated[str | None, tyro.conf.arg(metavar="DEVICE")] = None
    """cpu or cuda; cuda if there is one."""
    shared_start: Annotated[int, tyro.conf.arg(metavar="COUNT")] = 0
    """Begin small signals with the hidden layers of one network that is fitted to the first COUNT of one size."""
    measure: bool = True
    """Compute the metrics of each fit."""
    workers: Annotated[Workers, tyro.conf.arg(name="")] = field(default_factory=Workers)
    """Who fits the files."""


def main() -> None:
    """Run ``winner-batch``; see `BatchCommand` for the exit status."""
    with running("interrupted: what was finished is kept; the same command goes on"):
        sys.exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    """Check and carry out a request; torch is imported only when the files are found."""
    wants_help = ALL_HELP in arguments
    if wants_help:
        arguments = [argument for argument in arguments if argument != ALL_HELP]
        arguments += [] if "--output" in arguments else ["--output", "fits"]
    description = cleandoc(BatchCommand.__doc__ or "")
    command, rest = tyro.cli(
        BatchCommand, prog=PROGRAM, description=description, args=arguments, return_unknown_args=True
    )
    from ..batch.job import Job
    from ..batch.many import find_kinds, run_batch
    from ..batch.sources import find_files
    from ..training.plan import Course
    from .kinds import parse_fit_options, parse_options_by_kind

    output = locate(command.output)
    if rest and not command.files:
        raise ValueError(
            f"no files are named before {rest[0]}; name them first, and one that begins with a hyphen as ./-NAME"
        )
    files = find_files(command.files, output, lambda line: print(escape(line)))
    kinds = find_kinds(files, command.kind)
    named = [kind_named(name) for name in dict.fromkeys(kind for kind in kinds if isinstance(kind, str))]
    if wants_help:
        for kind in named:
            with suppress(SystemExit):
                parse_fit_options(kind, PROGRAM, ["--help"])
        return 0
    options = parse_options_by_kind(
        named, PROGRAM, rest, [each.name for each in (*fields(BatchCommand), *fields(Workers))]
    )
    course = Course(command.steps, command.learning_rate, command.optimizer, command.seed)
    job = Job(output, options, course, command.device, command.measure, command.pack)
    return _report(run_batch(job, files, kinds, command.workers, Console(), command.shared_start))


def _report(batch: "Batch") -> int:
    """Say what came of the files; return the exit status."""
    from ..results import format_bytes

    for row in [*batch.failed, *batch.poor][:10]:
        print(escape(f"{row.status}: {row.error if row.status == 'failed' else f'{row.path}: {row.error}'}"))
    fits = {row.field: row for row in batch.rows if row.field}.values()  # files with the same contents have one
    size, seconds = sum(row.bytes for row in fits), sum(row.seconds for row in fits)
    fitted = len(batch.rows) - len(batch.failed)
    print(f"{fitted:,} of {len(batch.rows):,} files fitted, {len(batch.failed):,} failed, {len(batch.poor):,} poor")
    print(f"weights: {format_bytes(size)}; time of the fits: {batch.seconds:,.0f} s now, {seconds:,.0f} s in all")
    print(escape(f"table: {', '.join(map(str, batch.tables))}"))
    return INCOMPLETE if batch.failed or batch.poor else 0


if __name__ == "__main__":
    main()
