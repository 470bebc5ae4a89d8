"""The shared start of a batch: hidden layers that were fitted to its first small signals of one size."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..registry import kind_named
from ..storage import AnyPath, local_copy
from ..training.plan import Plan
from ..training.prepare import find_device
from ..training.stack import SharedStart, fit_shared_start, plan_small_signal
from .job import Job, JobStart
from .sources import BatchError


def add_shared_start(job: Job, files: Sequence[AnyPath], kinds: Sequence[str | Exception], count: int) -> Job:
    """Return a job whose small signals of one kind begin with hidden layers that were fitted to some of them.

    Those are the first small signals, in the order of the files, of which there are as many of one size.

    Args:
        job: the job.
        files: the files.
        kinds: the name of each file's kind, or the error that says why it is not known.
        count: number of signals; no shared start if 0.

    Raises:
        BatchError: there are not so many small signals of one size.
    """
    if count == 0:
        return job
    groups: dict[Any, list[Any]] = {}
    for path, kind in zip(files, kinds, strict=True):
        found = _load_small(job, path, kind) if isinstance(kind, str) else None
        if found is None:
            continue
        signal, plan = found
        group = groups.setdefault((kind, signal.lattice.shape, signal.lattice.pitch, signal.channels), [])
        group.append(signal)
        if len(group) == count:
            start = fit_shared_start(group, plan, find_device(job.device))
            return replace(job, start=JobStart(str(kind), start, _compute_digest(start)))
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


def _compute_digest(start: SharedStart) -> str:
    """Return the SHA-256 digest of the layers of a start."""
    digest = hashlib.sha256()
    for weight, bias in start.layers:
        digest.update(weight.contiguous().numpy().data)
        digest.update(bias.contiguous().numpy().data)
    return digest.hexdigest()
