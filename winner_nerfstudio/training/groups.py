"""The function `fit_groups`, which fits signals that are larger than memory, group by group of a bank's members."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, fields, replace
from math import inf, prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from rich.console import Console

from ..fields import Field
from ..fields.checkpoint import provenance
from ..fields.field import in_plain_mode
from ..fields.file import FieldFileError
from ..fields.fitted import FittedField
from ..fields.folder import (
    INDEX,
    FolderField,
    FolderIndex,
    find_missing,
    group_path,
    load_folder,
    load_group,
    read_index,
)
from ..metrics.audio import SILENCE, to_decibels
from ..metrics.grid import psnr
from ..networks import Bank, Groups, Tiling, complete_arguments
from ..progress import progress_bar, working
from ..registry import kind_named
from ..signals.blocks import Box
from ..signals.grid import Grid
from ..signals.interpolation import LANCZOS_TAPS
from ..signals.large import LargeGrid, open_large
from ..signals.messages import MessageError, escape
from ..signals.options import GridOptions, SupervisedOptions
from ..storage import AnyPath, keep_out_others, list_folder, locate, make_any_folder
from .bank import PartLoss, PartSampler, initialize_bank_
from .engine import Workers
from .fit import finite
from .initialize import Start, describe_initialization
from .loop import Training
from .option_types import check_types
from .plan import MEDIUM, Course, Plan, complete_plan, divide
from .prepare import FitOptions, find_device, sort_options, take_input

MEMORY = 4e9
"""Bytes that a group may take while it is trained, by default."""
PROGRAM_MEMORY = 6e8
"""Bytes of the program and its libraries."""
MEASURED_AT_ONCE = 1 << 20
"""The samples that are compared at a time."""
_LOCK = ".lock"
"""The file in the folder that keeps other runs out; it stays, because one that is removed may be locked by two."""
_UNFINISHED = (".group-", ".index-")
"""What the names begin with under which files are written before they are whole, see `replacing`."""


class FolderError(MessageError):
    """The error for a folder that cannot take a fit; the message is one line that names it."""


@in_plain_mode
def fit_groups(
    data: str | Path | ndarray,
    output: str | Path,
    kind: str | None = None,
    *,
    steps: int | None = None,
    learning_rate: float | None = None,
    optimizer: str | None = None,
    seed: int = 42,
    device: str | torch.device | None = None,
    group_samples: int | None = None,
    memory: float = MEMORY,
    progress: bool = True,
    measure: bool = True,
    engine: str = "local",
    cpus: float = 1,
    gpus: float = 0,
    **options: Any,
) -> FittedField:
    """Fit a bank of small networks to a signal that is larger than memory, into a folder.

    The signal is divided into parts (see `Bank`) and these into groups. Each group is trained by itself on its own
    samples, which are read from the file, and written as one file; the memory is that of a group. A member is the same
    as in a bank that is trained as a whole by ``fit(data, parts=...)`` with the same seed.

    Called again with the same arguments after it was stopped at any moment, it resumes with the first group that is not
    there and ends with the same files. Groups whose files are damaged are trained anew.

    Args:
        data: a file that is read block by block (a picture in .tif, in tiles or strips, a sound in .wav .w64 .rf64 or
            .flac, a volume in .zarr, or .npy), or an array, which may be a `numpy.memmap`, or what `fit` takes for one.
        output: the folder, which is made and must hold nothing else, or its URL, such as ``s3://bucket/fit``.
        kind: "image", "audio" or "volume"; if left out, it is found from the file's name or the array's shape.
        steps: number of training steps of each group; if left out, it depends on the kind and the size of the parts.
        learning_rate: learning rate at the first step; if left out, it depends on them as well.
        optimizer: optimiser: adam, soap or muon; if left out, it depends on them as well.
        seed: seed of the networks and the batches.
        device: device to train on; if left out, CUDA where it is available, else the CPU.
        group_samples: number of samples of a group, about; if left out, as many as `memory` allows.
        memory: bytes that a group may take.
        progress: whether to print how the training proceeds.
        measure: whether to compute ``psnr``, and for sounds ``snr``, of the whole at the end.
        engine: who trains the groups: "local" for this process, one group after the other, "processes" for others on
            this machine, "ray" for workers of Ray on it, "ray://HOST:PORT" for those of a cluster, see `Workers`. On
            CPUs of one type all give the same bits, if a worker has as many cores.
        cpus: cores that a worker takes.
        gpus: graphics processors that a worker of Ray takes.
        options: further options as of `fit`; ``parts`` and ``hidden_dim`` say how large the networks are.

    Returns:
        The field, whose groups are loaded when points need them; its metrics are in ``field.provenance["figures"]``.

    Raises:
        ValueError: an option or the data cannot be used, the folder holds something else, or the fit has diverged; the
            message is one line.
        OSError: the folder cannot be written, or another run writes into it.
    """
    data, signal_kind, options = take_input(data, kind, options)
    given = sort_options(signal_kind, options)
    workers = Workers(engine, cpus, gpus)
    course = Course(steps, learning_rate, optimizer, seed)
    run = RunOptions(course, device, group_samples, memory, measure, workers)
    return run_groups(data, locate(output), given, run, Console(quiet=not progress))


@dataclass(frozen=True)
class RunOptions:
    """The arguments of `fit_groups` that are not options of the signal, the network or the batches."""

    course: Course = field(default_factory=Course)
    device: str | torch.device | None = None
    group_samples: int | None = None
    memory: float = MEMORY
    measure: bool = True
    workers: Workers = field(default_factory=Workers)


@dataclass(frozen=True)
class GroupJob:
    """What those who train the groups of a signal are told.

    Attributes:
        data: as in `fit_groups`.
        folder: the folder of the fit.
        index: its index.
        plan: how it is fitted.
        device: the device to train on.
    """

    data: str | Path | ndarray
    folder: AnyPath
    index: FolderIndex
    plan: Plan
    device: torch.device


def run_groups(
    data: str | Path | ndarray, folder: AnyPath, given: FitOptions, options: RunOptions, console: Console
) -> FittedField:
    """Do what `fit_groups` does, from options that are sorted.

    Args:
        data: as in `fit_groups`.
        folder: as `output` in `fit_groups`.
        given: the options of the signal, the network and the batches.
        options: all others.
        console: where the progress is shown.

    Raises:
        ValueError: as `fit_groups`.
        OSError: as `fit_groups`.
    """
    options = check_types(replace(options, course=options.course.check(), workers=options.workers.check()))
    if not 0 < options.memory < inf:
        raise ValueError(f"memory={options.memory} must be positive and finite (bytes)")
    device = find_device(options.device)
    options.workers.check_storage(folder)
    if not isinstance(given.data, GridOptions):
        raise ValueError(f"kind={given.kind.name!r} is not fitted in groups; only regular samples are")
    if isinstance(given.data, SupervisedOptions) and given.data.supervise != "values":
        raise ValueError(f"supervise={given.data.supervise} is not fitted in groups; name a file as the output")
    with working(console, "reading the file"):
        signal = open_large(data, given.kind.name, given.data)
    for line in signal.notes:
        console.print(escape(line), markup=False, emoji=False, highlight=False, soft_wrap=True)
    plan = _complete_plan(given, signal, options.course)
    run = {
        "steps": str(int(plan.steps)),
        "optimizer": plan.optimizer,
        "learning_rate": repr(float(plan.learning_rate)),
        "seed": str(int(plan.seed)),
    }
    index = _plan(signal, plan.options, run, options.group_samples, options.memory)
    with _open_folder(folder, index) as index:
        console.print(_describe(index), markup=False, highlight=False)
        _train_groups(GroupJob(data, folder, index, plan, device), signal, options.workers, console)
        if options.measure and not index.figures:
            with working(console, "measuring the fit"):
                index = replace(index, figures=finite(_measure(folder, index, signal, device)))
            index.write(folder)
    if index.figures:
        console.print(", ".join(f"{name} {value:.2f} dB" for name, value in index.figures.items()), highlight=False)
    return load_folder(folder)


def _complete_plan(options: FitOptions, signal: LargeGrid, course: Course) -> Plan:
    """Choose what the user has left open; the signal is always divided into parts."""
    network, recipe = options.network, options.kind.recipe.parts
    if network.parts == "auto" and recipe is not None:
        network = replace(network, parts=divide(signal, recipe, recipe.sizes[network.size or MEDIUM]))
    if not network.has_parts:
        raise FolderError(f"{signal.name}: is too small for parts; fit it in memory")
    plan = complete_plan(replace(options, network=network), True, course)
    plan.options.network.check(options.kind.axes)
    return plan


def _plan(
    signal: LargeGrid, options: FitOptions, run: dict[str, str], group_samples: int | None, memory: float
) -> FolderIndex:
    """Return the index of a fit that is to be done.

    Raises:
        FolderError: a group cannot be as small as is asked for.
    """
    network, lattice = options.network, signal.lattice
    specification = complete_arguments(**network.specification(len(lattice.shape), signal.channels, lattice))
    tiling = Tiling(tuple(specification["shape"]), tuple(specification["parts"]), specification["overlap"])
    if group_samples is None:
        members = int((memory - PROGRAM_MEMORY) / _estimate_member(specification, tiling))
    else:
        members = group_samples * tiling.count // lattice.count
    if members < 1:
        raise FolderError(
            f"{signal.name}: a group of {group_samples or 0:,} samples or {memory:.3g} bytes has no room for one part"
            f" of {' x '.join(map(str, tiling.box))} samples; raise it, or divide the signal into more parts"
        )
    for part in (options.data, network, network.noise, options.batches):
        run = run | {each.name: str(getattr(part, each.name)) for each in fields(part) if each.name != "noise"}
    groups = Groups.dividing(tiling, members)
    return FolderIndex(signal.kind, specification, signal.record, signal.normalization, groups.counts, run)


def _estimate_member(specification: dict[str, Any], tiling: Tiling) -> int:
    """Return the bytes, about, that a member takes while its group is trained."""
    width, layers = specification["hidden_dim"], specification["num_layers"]
    inputs, channels, samples = specification["in_dim"], specification["out_dim"], prod(tiling.box)
    weights = width * (inputs + channels + 1 + (layers - 1) * (width + 1))
    # Weights, gradients and Adam's two means; samples as read, normalised, and with points half-way between them cut.
    return 20 * weights + 4 * (4 + 2**inputs) * samples * channels


@contextmanager
def _open_folder(folder: AnyPath, index: FolderIndex) -> Iterator[FolderIndex]:
    """Make a folder with an index, or check that there is that of the same fit; yield the index that is there.

    Until the block ends no other run can open the folder. What a killed run has left unfinished is removed.

    Raises:
        FolderError: the folder holds something else, or another fit.
        StorageError: another run writes into it.
    """
    if folder.exists() and not folder.is_dir():
        raise FolderError(f"{folder}: is a file; a fit in groups is written into a folder")
    make_any_folder(folder)
    names = [entry.path.name for entry in list_folder(folder)]
    if INDEX not in names and not all(name.startswith((_LOCK, *_UNFINISHED)) for name in names):
        raise FolderError(f"{folder}: holds other files; name a new folder, or one that a fit was stopped in")
    with keep_out_others(folder / _LOCK) if isinstance(folder, Path) else nullcontext():
        if isinstance(folder, Path):
            for stopped in [path for name in _UNFINISHED for path in folder.glob(f"{name}*")]:
                stopped.unlink(missing_ok=True)
        if not (folder / INDEX).exists():
            index.write(folder)
        yield _read_same(folder, index)


def _read_same(folder: AnyPath, index: FolderIndex) -> FolderIndex:
    """Return the index of a folder, which has the metrics if the fit was finished.

    Raises:
        FolderError: it is that of another fit.
    """
    there = read_index(folder)
    if there.key != index.key:
        ours, theirs = ({**each.entries, **each.run} for each in (index, there))
        names = [name for name in ours if name not in ("run",) and theirs.get(name) != ours[name]]
        plain = [name for name in names if isinstance(ours[name], (str, float))]
        told = [f"{name} {theirs.get(name)}, not {ours[name]}" for name in plain]
        if there.counts != index.counts:
            counts = (" x ".join(map(str, each.counts)) for each in (there, index))
            told.append("{} groups, not {}, as group_samples and memory say".format(*counts))
        if there.record.digest != index.record.digest or not told:
            told.insert(0, "of other data")
        line = f"{folder}: holds another fit ({', '.join(told)[:160]})"
        raise FolderError(f"{line}; name a new folder, or repeat its arguments")
    return there


def _describe(index: FolderIndex) -> str:
    groups = index.groups
    return (
        f"{groups.tiling.count:,} parts of {' x '.join(map(str, groups.tiling.box))} samples in"
        f" {groups.count:,} group{'s' * (groups.count > 1)}"
    )


def _train_groups(job: GroupJob, signal: LargeGrid, workers: Workers, console: Console) -> None:
    """Train the groups that are not there yet or are damaged, and show how many are done.

    Raises:
        ValueError: there are no such workers, or they are to read an array of this process; the message is one line.
    """
    total = job.index.groups.count
    unfinished = _find_unfinished(job, console)
    is_here, work = workers.engine == "local", _read_and_train
    if is_here:

        def work(job: GroupJob, group: int) -> list[int]:
            return _train_group(job, signal, group)

    elif isinstance(job.data, ndarray):
        raise FolderError(f"engine={workers.engine!r}: workers read a file; write it with numpy.save, as .npy")
    with (
        workers.open() as engine,
        progress_bar(console, "group {task.completed:.0f}/{task.total:.0f}", "", disable=console.quiet) as bar,
    ):
        task = bar.add_task("", total=total, completed=total - len(unfinished))
        for _ in engine.run(work, job, unfinished):
            bar.advance(task)


def _find_unfinished(job: GroupJob, console: Console) -> list[int]:
    """Return the groups whose files are not there, or are damaged, which is told of each."""
    unfinished = list(find_missing(job.folder, job.index))
    with working(console, "checking the groups that are there"):
        for group in sorted({*range(job.index.groups.count)}.difference(unfinished)):
            try:
                load_group(job.folder, job.index, group)
            except FieldFileError as error:
                line = f"{str(error).rpartition('; ')[0]}; it is trained anew"
                console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)
                unfinished.append(group)
    return sorted(unfinished)


_read: dict[str, LargeGrid] = {}
"""The signal that this process reads as a worker, by the key of its fit."""


def _read_and_train(job: GroupJob, group: int) -> list[int]:
    """Do what `_train_group` does in a worker, which opens the signal for the first group that it trains.

    Raises:
        FolderError: what it finds is not the signal of the fit.
    """
    if job.index.key not in _read:
        _read.clear()
        assert isinstance(job.plan.options.data, GridOptions)
        signal = open_large(job.data, job.index.kind, job.plan.options.data)
        if signal.record != job.index.record:
            raise FolderError(f"{job.data}: has changed, or is another file where a worker reads it")
        _read[job.index.key] = signal
    return _train_group(job, _read[job.index.key], group)


def _train_group(job: GroupJob, signal: LargeGrid, group: int) -> list[int]:
    """Train the members of a group, as `fit` trains a whole bank, and write them; return the group."""
    folder, index, plan, device = job.folder, job.index, job.plan, job.device
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(plan.seed)
        field = Field(index.kind, index.specification(group), index.normalization, index.record)
    started = start_members(field, signal.read, plan.options, device, plan.seed)
    assert isinstance(started.sampler, PartSampler)
    training = Training(started, plan.learning_rate, plan.decay, plan.optimizer)
    training.run(plan.steps if started.sampler.has_work else 0)
    # Without the time it took, so that the same arguments give the same file.
    origin = provenance(started.initialization, plan.steps, {}) | {"fit": index.key}
    FittedField(field, origin).save(group_path(folder, group))
    return [group]


def start_members(
    field: Field, read: Callable[[Box], Grid[Any]], options: FitOptions, device: torch.device, seed: int
) -> Start:
    """Initialise a bank that holds some of a signal's parts, as if it held all, and cut the samples of these parts.

    Args:
        field: the field of the bank.
        read: function that returns a box of the signal's samples as a signal of its own.
        options: the options of the fit, with nothing left open.
        device: device to train on.
        seed: seed of the networks and the batches.
    """
    bank = field.network
    assert isinstance(bank, Bank)
    extent, shape = bank.tiling.extent, bank.tiling.shape
    # Points between the samples are interpolated from some samples around the part, too.
    around = tuple(
        slice(max(0, axis.start - LANCZOS_TAPS), min(size, axis.stop + LANCZOS_TAPS))
        for axis, size in zip(extent, shape, strict=True)
    )
    inner = tuple(
        slice(axis.start - wide.start, axis.stop - wide.start) for axis, wide in zip(extent, around, strict=True)
    )
    surrounded = read(around)
    initialization = initialize_bank_(bank, options.kind, surrounded, options.network, seed, inner)
    sampler = PartSampler(surrounded, bank, device, seed, options.batches, inner)
    record = describe_initialization(initialization, options.network)
    return Start(field.to(device), sampler, PartLoss(), record)


def _measure(folder: AnyPath, index: FolderIndex, signal: LargeGrid, device: torch.device) -> dict[str, float]:
    """Compute the metrics of the whole from blocks of samples; those that hold no data don't count."""
    network = FolderField(folder, index).network
    error, power, count = np.zeros(signal.channels), np.zeros(signal.channels), 0
    for group in range(index.groups.count):
        for box in index.groups.bands(group, MEASURED_AT_ONCE):
            target = signal.read(box)
            known = slice(None) if target.missing is None else ~target.missing.reshape(-1)
            truth = target.values.reshape(-1, signal.channels)[known]
            positions = [torch.arange(axis.start, axis.stop, device=device) for axis in box]
            fitted = network.evaluate_product(signal.lattice.axis_coords(positions)).cpu().numpy()
            fitted = fitted.reshape(-1, signal.channels)[known]
            error += np.square(fitted.astype(np.float64) - truth).sum(0)
            power += np.square(truth, dtype=np.float64).sum(0)
            count += len(truth)
    rms = float(np.sqrt(error.sum() / (count * signal.channels)))
    metrics = {"psnr": psnr(rms), "psnr_paper": psnr(rms, 1.0)}
    loud = power > SILENCE**2 * power.max()
    if "snr" in kind_named(index.kind).metric_names.names and loud.any():
        metrics["snr"] = float(np.mean([to_decibels(*pair) for pair in zip(power[loud], error[loud], strict=True)]))
    return metrics
