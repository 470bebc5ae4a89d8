"""The shared start of a batch: hidden layers that were fitted to its first small signals of one size."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from ..fields.file import FieldFileError, read_tensors
from ..registry import kind_named
from ..storage import AnyPath, local_copy, write_whole
from ..training.plan import Plan
from ..training.prepare import find_device
from ..training.stack import SharedStart, fit_shared_start, plan_small_signal
from .job import Job, JobStart
from .sources import BatchError, identify_file

FORMAT = "winner-nerfstudio start 1"
"""What the metadata of a file of a start name as its format."""


def check_count(count: int) -> None:
    """Check a number of signals for a shared start.

    Raises:
        BatchError: it is none.
    """
    if type(count) is not int or count < 0:
        raise BatchError(f"shared_start={count!r} must be a whole number of signals, 0 for none")


def add_shared_start(job: Job, files: Sequence[AnyPath], kinds: Sequence[str | Exception], count: int) -> Job:
    """Return a job whose small signals of one kind begin with hidden layers that were fitted to some of them.

    Those are the first small signals, in the order of the files, of which there are as many of one size. The start is
    kept in the folder of the batch, and is read again if it would be that of the same files and options.

    Args:
        job: the job.
        files: the files.
        kinds: the name of each file's kind, or the error that says why it is not known.
        count: number of signals; no shared start if 0.

    Raises:
        BatchError: there are not so many small signals of one size.
        OSError: the folder cannot be written to, or a file cannot be read any more.
    """
    if count == 0:
        return job
    groups: dict[Any, list[tuple[AnyPath, Any]]] = {}
    for path, kind in zip(files, kinds, strict=True):
        found = _load_small(job, path, kind) if isinstance(kind, str) else None
        if found is None:
            continue
        signal, plan = found
        group = groups.setdefault((kind, signal.lattice.shape, signal.lattice.pitch, signal.channels), [])
        group.append((path, signal))
        if len(group) == count:
            keys = [job.compute_key(str(kind), identify_file(path)) for path, _ in group]
            digest = hashlib.sha256(" ".join(keys).encode()).hexdigest()
            place = job.folder / "starts" / f"{digest[:24]}.safetensors"
            start = _read_start(place, count)
            if start is None:
                start = fit_shared_start([signal for _, signal in group], plan, find_device(job.device))
                _write_start(place, start)
            return replace(job, start=JobStart(str(kind), start, digest))
    raise BatchError(f"shared_start={count}: the files hold no {count} small signals of one size; use fewer, or none")


def _load_small(job: Job, path: AnyPath, kind: str) -> tuple[Any, Plan] | None:
    """Return a file's signal and the plan of its fit, or None if it is not small or cannot be loaded."""
    options = job.options[kind]
    try:
        with local_copy(path) as copy:
            signal = kind_named(kind).load(str(copy), options.data)
        plan = plan_small_signal(signal, options, job.course)
    except Exception:  # its row will say why
        return None
    return None if plan is None else (signal, plan)


def _read_start(path: AnyPath, count: int) -> SharedStart | None:
    """Return the start of so many signals that a file holds, or None if it is not there or damaged."""
    if not path.is_file():
        return None
    try:
        metadata, tensors = read_tensors(path, ("",), "")
        if metadata.get("format") != FORMAT:
            return None
        pairs = [(tensors[f"{layer}.weight"], tensors[f"{layer}.bias"]) for layer in range(len(tensors) // 2)]
    except (FieldFileError, KeyError):
        return None
    return SharedStart(count, tuple(pairs))


def _write_start(path: AnyPath, start: SharedStart) -> None:
    """Write the layers of a start into a file.

    Raises:
        OSError: it cannot be written.
    """
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    for index, (weight, bias) in enumerate(start.layers):
        tensors |= {f"{index}.weight": weight.contiguous(), f"{index}.bias": bias.contiguous()}
    write_whole(path, save(tensors, {"format": FORMAT}))
