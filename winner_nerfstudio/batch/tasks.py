"""Tasks, the pieces of a batch that are done by themselves: load some files, fit them, and write what came of it."""

import hashlib
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from rich.console import Console

from ..fields import Field
from ..fields.checkpoint import provenance
from ..fields.fitted import FittedField
from ..registry import kind_named
from ..signals.messages import error_line
from ..storage import AnyPath, local_copy, name_original
from ..training.fit import finite, fit_signal
from ..training.plan import Plan
from ..training.prepare import find_device
from ..training.stack import fit_small_signals, plan_small_signal
from ..training.verdict import judge
from .job import Job
from .store import Row, Store

MOST_MEMBERS = 128
"""The most signals that are trained at once."""


class TaskFile(NamedTuple):
    """A file that is to be fitted.

    Attributes:
        path: the file.
        digest: the digest of its contents.
        kind: name of its kind.
        key: the key of its fit, see `Job.compute_key`.
    """

    path: AnyPath
    digest: str
    kind: str
    key: str


class Loaded(NamedTuple):
    """A file whose signal is loaded.

    Attributes:
        file: the file.
        signal: its signal.
        plan: how it is fitted beside others; None if it is fitted by itself.
        seconds: time that it took to load.
    """

    file: TaskFile
    signal: Any
    plan: Plan | None
    seconds: float


class Fit(NamedTuple):
    """A fit that is finished.

    Attributes:
        field: the field.
        companion: the field beside it, if there is one, see `FittedField`.
        initialization: the record of its initialisation.
        steps: number of training steps.
        metrics: the metrics.
        fault: what is wrong with it, "" if nothing is.
        seconds: time that it took.
    """

    field: Field
    companion: Field | None
    initialization: dict[str, Any]
    steps: int
    metrics: dict[str, float]
    fault: str
    seconds: float


def run_task(job: Job, files: Sequence[TaskFile]) -> Iterator[list[Row]]:
    """Fit some files and write their fields; yield rows as soon as they and their fields are written.

    Small signals of one kind, of the same samples and channels, are trained at once.

    Args:
        job: what is to be done.
        files: the files.

    Raises:
        OSError: the folder of the batch cannot be written to.
        KeyboardInterrupt: the user has stopped the run.
    """
    device = find_device(job.device)
    banks: dict[Any, list[Loaded]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what matters is in the rows
        for file in files:
            loaded = _load(job, file)
            if isinstance(loaded, Row):
                yield [loaded]
            elif loaded.plan is None:
                yield _fit_one(job, loaded, device)
            else:
                lattice = loaded.signal.lattice
                bank = banks.setdefault((file.kind, lattice.shape, lattice.pitch, loaded.signal.channels), [])
                bank.append(loaded)
        for bank in banks.values():
            for start in range(0, len(bank), MOST_MEMBERS):
                yield _fit_bank(job, bank[start : start + MOST_MEMBERS], device)


def refuse(file: TaskFile, error: BaseException | str) -> Row:
    """Return the row of a file that has no field, with the line that `fit` refuses it with."""
    line = error if isinstance(error, str) else error_line(error).removeprefix("error: ")
    return Row(str(file.path), file.digest, file.kind, file.key, error=name_original(line, file.path))


def _load(job: Job, file: TaskFile) -> Loaded | Row:
    """Load a file's signal and plan its fit, or return the row that says why it cannot be loaded."""
    began, options = time.perf_counter(), job.options[file.kind]
    try:
        with local_copy(file.path) as copy:
            signal = kind_named(file.kind).load(str(copy), options.data)
        plan = plan_small_signal(signal, options, job.course)
    except Exception as error:  # readers fail in their own many ways, and one file must not end the batch
        return refuse(file, error)
    return Loaded(file, signal, plan, time.perf_counter() - began)


def _fit_one(job: Job, loaded: Loaded, device: torch.device) -> list[Row]:
    """Fit a signal by itself, as `fit` does, and write its field."""
    began, options = time.perf_counter(), job.options[loaded.file.kind]
    try:
        result = fit_signal(loaded.signal, options, job.course, device, Console(quiet=True), job.measure)
    except Exception as error:
        return [refuse(loaded.file, error)]
    outcome = result.outcome
    if outcome.interrupted:
        raise KeyboardInterrupt
    fault = "" if result.verdict is None else result.verdict.text
    seconds = time.perf_counter() - began
    fit = Fit(result.field, result.companion, result.initialization, outcome.steps, result.metrics, fault, seconds)
    return _write(job, [loaded], [fit])


def _fit_bank(job: Job, bank: Sequence[Loaded], device: torch.device) -> list[Row]:
    """Fit small signals at once and write their fields."""
    began, plan, refused = time.perf_counter(), bank[0].plan, list[Row]()
    assert plan is not None
    try:
        fitted = fit_small_signals([loaded.signal for loaded in bank], plan, device, job.find_start(bank[0].file.kind))
    except Exception as error:
        refused = [refuse(loaded.file, error) for loaded in bank]
    if len(refused) > 1:  # they take too much memory at once, or the fault is that of one
        # Not before the block has ended, and with it the error, whose traceback keeps all that the try has taken.
        torch.cuda.empty_cache()
        half = len(bank) // 2
        return _fit_bank(job, bank[:half], device) + _fit_bank(job, bank[half:], device)
    if refused:
        return refused
    share = (time.perf_counter() - began) / len(bank)
    measured, failed = [], []
    for loaded, (field, initialization) in zip(bank, fitted, strict=True):
        began, kind, fault, metrics = time.perf_counter(), kind_named(loaded.file.kind), "", {}
        try:
            if job.measure:
                metrics = kind.metrics(field, loaded.signal, plan.options.network)
                verdict = judge(kind, loaded.signal, metrics, [])
                fault = "" if verdict is None else verdict.text
        except Exception as error:
            failed.append(refuse(loaded.file, error))
            continue
        seconds = share + time.perf_counter() - began
        fit = Fit(field, None, initialization, plan.steps, metrics, fault, seconds)
        measured.append((loaded, fit))
    return [*_write(job, [loaded for loaded, _ in measured], [fit for _, fit in measured]), *failed]


def _write(job: Job, several: Sequence[Loaded], fits: Sequence[Fit]) -> list[Row]:
    """Write fields that were fitted together, and return their rows; those that have diverged have no field."""
    rows, fields, failed = [], [], []
    for loaded, fit in zip(several, fits, strict=True):
        networks = [each.network for each in (fit.field, fit.companion) if each is not None]
        weights = [weight for network in networks for weight in network.parameters()]
        if not all(bool(torch.isfinite(weight).all()) for weight in weights):
            rate = "" if job.course.learning_rate is None else f" below {job.course.learning_rate:g}"
            failed.append(refuse(loaded.file, f"{loaded.file.path}: the fit has diverged; try a learning rate{rate}"))
            continue
        metrics = finite(fit.metrics)
        # Without the time it took, so that the same file and options give the same field file.
        origin = provenance(fit.initialization, fit.steps, metrics) | {"fit": loaded.file.key}
        fields.append(FittedField(fit.field.cpu(), origin, None if fit.companion is None else fit.companion.cpu()))
        file, size = loaded.file, sum(weight.numel() * weight.element_size() for weight in weights)
        status, seconds = "poor" if fit.fault else "fitted", round(loaded.seconds + fit.seconds, 4)
        row = Row(str(file.path), file.digest, file.kind, file.key, status, metrics, size, seconds, error=fit.fault)
        rows.append(row)
    if rows:
        name = hashlib.sha256(" ".join(row.key for row in rows).encode()).hexdigest()[:24]
        rows = Store(job.folder, job.pack).write(name, rows, fields)
    return [*rows, *failed]
