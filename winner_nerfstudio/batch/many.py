"""The function `fit_many`, which fits all files of a folder or a list and can be stopped at any moment."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from ..fields.field import in_plain_mode
from ..fields.pack import Fields
from ..progress import working
from ..registry import kind_named, kind_of
from ..signals.messages import escape
from ..storage import AnyPath, locate
from ..training.engine import Workers
from ..training.plan import Course
from ..training.prepare import find_device
from .job import Job, sort_options_by_kind
from .plan import Planner
from .progress import BatchProgress
from .shared import add_shared_start, check_count
from .sources import find_files
from .store import Row, Store
from .tasks import run_task


@dataclass(frozen=True)
class Batch:
    """What came of many files.

    Attributes:
        folder: the folder of the results.
        rows: a row for each file, in order.
        tables: the files of the table.
        seconds: time of the fits of this run, without those of earlier runs.
    """

    folder: AnyPath
    rows: Sequence[Row]
    tables: Sequence[AnyPath]
    seconds: float

    @property
    def failed(self) -> list[Row]:
        """The rows without a field."""
        return [row for row in self.rows if row.status == "failed"]

    @property
    def poor(self) -> list[Row]:
        """The rows whose fit has failed or needs more steps."""
        return [row for row in self.rows if row.status == "poor"]

    @property
    def fields(self) -> Fields:
        """The fields, in the order of the rows, loaded when they are asked for."""
        return Fields([row.place(self.folder) for row in self.rows if row.field])


@in_plain_mode
def fit_many(
    data: str | Path | Sequence[str | Path],
    output: str | Path,
    kind: str | None = None,
    *,
    steps: int | None = None,
    learning_rate: float | None = None,
    optimizer: str | None = None,
    seed: int = 42,
    device: str | None = None,
    measure: bool = True,
    pack: bool = False,
    engine: str = "local",
    cpus: float = 1,
    gpus: float = 0,
    shared_start: int = 0,
    progress: bool = True,
    **options: Any,
) -> Batch:
    """Fit a field to each of many files, of any kinds, and write the fields and a table into a folder.

    Small pictures, sounds and volumes of one size are trained at once, each by a small network of its own, see
    `SmallRecipe`; every other file is fitted as by `fit`. A file that cannot be fitted has a row in the table that says
    why. On a CPU a file's field is the same to the bit whatever other files there are, and on however many workers, if
    its width is a multiple of 4, as it is by default.

    Called again with the same folder after it was stopped at any moment, it fits only what has not been fitted with the
    same contents, options and version of this package.

    Args:
        data: a folder, a pattern such as ``photos/*.png``, a list in .csv with a column ``path``, files, URLs of these,
            such as ``s3://bucket/*.png``, or several of them, see `find_files`.
        output: the folder of the results, which is made, or its URL, such as ``s3://bucket/fits``.
        kind: "sdf", "image", "audio", "volume" or another kind, of all files; found for each file if left out.
        steps: number of training steps of each fit; if left out, it depends on the kind and the size of the signal.
        learning_rate: learning rate at the first step; if left out, it depends on them as well.
        optimizer: optimiser: adam, soap or muon; if left out, muon for small signals that are trained at once.
        seed: seed of the networks and the batches.
        device: device to train on; if left out, CUDA where it is available, else the CPU.
        measure: whether to compute the metrics of each fit.
        pack: whether fields that are finished together are written into one file.
        engine: "local" for this process, "processes" for others on this machine, "ray" for workers of Ray on it,
            "ray://HOST:PORT" for those of a cluster, see `Workers`.
        cpus: cores that a worker takes.
        gpus: graphics processors that a worker of Ray takes; a part of one for several workers on it.
        shared_start: number of small signals, the first ones of one size, to which a network is fitted whose hidden
            layers all small signals of their kind begin with (STRAINER, arXiv 2409.09566), instead of WINNER's start
            for each; 0 for none.
        progress: whether to print how far it is.
        options: options as of `fit`; each is for all kinds that have it.

    Returns:
        The rows of the table, and the fields.

    Raises:
        ValueError: there are no files, an option cannot be used, or the folder holds something else; in one line.
        OSError: the folder cannot be written to.
        KeyboardInterrupt: the user has stopped the run; what was finished is kept.
    """
    console = Console(quiet=not progress)
    folder = locate(output)
    files = find_files(data, folder, lambda line: _say(line, console))
    kinds = find_kinds(files, kind)
    names = list(dict.fromkeys(each for each in kinds if isinstance(each, str)))
    course = Course(steps, learning_rate, optimizer, seed)
    job = Job(folder, sort_options_by_kind(names, options), course, device, measure, pack)
    workers = Workers(engine, cpus, gpus)
    return run_batch(job, files, kinds, workers, console, shared_start)


def find_kinds(files: Sequence[AnyPath], kind: str | None) -> list[str | Exception]:
    """Return the name of each file's kind, or the error that says why it is not known.

    Args:
        files: the files.
        kind: name of the kind of all of them, or None to find it for each.

    Raises:
        ValueError: there is no such kind.
    """
    if kind is not None:
        return [kind_named(kind).name] * len(files)
    return [_find_kind(file) for file in files]


def _find_kind(file: AnyPath) -> str | Exception:
    try:
        return kind_of(file).name
    except Exception as error:  # the header of an array may be anything
        return error


def run_batch(
    job: Job,
    files: Sequence[AnyPath],
    kinds: Sequence[str | Exception],
    workers: Workers,
    console: Console,
    shared_start: int = 0,
) -> Batch:
    """Do what `fit_many` does, from options that are sorted.

    Args:
        job: what is done with each file.
        files: the files.
        kinds: the name of each file's kind, or the error that says why it is not known.
        workers: who does it.
        console: where the progress is shown.
        shared_start: as of `fit_many`.

    Raises:
        ValueError: as `fit_many`.
        OSError: as `fit_many`.
        KeyboardInterrupt: as `fit_many`.
    """
    check_count(shared_start)
    job, workers = replace(job, course=job.course.check()), workers.check()
    find_device(job.device)
    for path in (job.folder, *files):
        workers.check_storage(path)
    opened, store = workers.open(), Store(job.folder, job.pack)
    with store.open() as finished, opened as engine:
        for path in store.damaged:
            _say(f"warning: {path}: is no whole record and is left out; what it alone names is fitted again", console)
        with working(console, "reading the files"):
            job = add_shared_start(job, files, kinds, shared_start)
            planner, seconds = Planner(job, finished), 0.0
            waiting = planner.find_waiting(files, kinds)
        known = planner.list_rows(files)
        _say(_describe_known(len(files), known), console)
        with BatchProgress(console, len(files), known) as shown:
            try:
                for rows in engine.run(run_task, job, planner.divide(waiting)):
                    seconds += sum(row.seconds for row in rows)
                    shown.add(planner.finish(rows))
            finally:
                tables = store.write_table(planner.list_rows(files), lambda line: _say(line, console))
    return Batch(job.folder, planner.list_rows(files), tables, seconds)


def _describe_known(count: int, known: Sequence[Row]) -> str:
    """Return a line that says how many files need a fit, from the rows of those that need none."""
    failed = sum(row.status == "failed" for row in known)
    unknown = f", {failed:,} that cannot be fitted" if failed else ""
    return f"{count:,} files: {len(known) - failed:,} fitted before, {count - len(known):,} to fit{unknown}"


def _say(line: str, console: Console) -> None:
    """Print a line in which nothing is markup."""
    console.print(escape(line), markup=False, highlight=False, soft_wrap=True)
