"""Who does the tasks of a batch: this process, or the workers of a Ray cluster."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from ..signals.extras import import_extra
from .job import Job
from .sources import BatchError
from .store import Row
from .tasks import TaskFile, run_task

TASKS_AHEAD = 2
"""Tasks per worker that are handed over before any is finished."""
RETRIES = 10
"""How often a task is begun anew because its worker has died."""


class Engine(Protocol):
    """Who does the tasks."""

    def run(self, job: Job, tasks: Iterable[Sequence[TaskFile]]) -> Iterator[list[Row]]:
        """Do all tasks; yield rows as soon as their fields are written, in any order."""
        ...


def build_engine(name: str, cpus: float, gpus: float) -> AbstractContextManager[Engine]:
    """Return the engine of a name, which does its work within a ``with``.

    Args:
        name: "local", "ray" for workers on this machine, or "ray://HOST:PORT" for those of the cluster of that address.
        cpus: cores that a worker takes.
        gpus: graphics processors that a worker takes.

    Raises:
        ValueError: there is no such engine or no such workers, or Ray is not installed; the message is one line.
    """
    if not (cpus > 0 and gpus >= 0):
        raise BatchError(f"cpus={cpus} must be more than 0, and gpus={gpus} not negative")
    if name == "local":
        if (cpus, gpus) != (1, 0):
            raise BatchError(
                f"cpus={cpus:g}, gpus={gpus:g}: only workers of ray take them; add engine=ray or leave them out"
            )
        return _run_here()
    if name != "ray" and not name.startswith("ray://"):
        raise BatchError(f"engine={name!r} is not one of: local, ray, ray://HOST:PORT")
    ray = import_extra("ray", "ray", "engine=ray: the workers are run")
    return _run_ray(ray, name.removeprefix("ray").removeprefix("://"), cpus, gpus)


class _LocalEngine:
    """This process, which does one task after the other."""

    def run(self, job: Job, tasks: Iterable[Sequence[TaskFile]]) -> Iterator[list[Row]]:
        for files in tasks:
            yield from run_task(job, files)


@contextmanager
def _run_here() -> Iterator[Engine]:
    yield _LocalEngine()


@contextmanager
def _run_ray(ray: Any, address: str, cpus: float, gpus: float) -> Iterator[Engine]:
    """Connect to a cluster, or start one on this machine; leave or end it at the end."""
    is_ours = not ray.is_initialized()
    if is_ours:
        try:
            ray.init(address=address or "local", include_dashboard=False if not address else None, log_to_driver=False)
        except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
            reason = " ".join(str(error).split())[:120]
            raise BatchError(f"engine=ray://{address}: no cluster answers there ({reason})") from None
    try:
        yield _RayEngine(ray, cpus, gpus)
    finally:
        if is_ours:
            ray.shutdown()


class _RayEngine:
    """The workers of a Ray cluster, which write to a folder that all of them see."""

    def __init__(self, ray: Any, cpus: float, gpus: float) -> None:
        self._ray, self._cpus, self._gpus = ray, cpus, gpus

    def run(self, job: Job, tasks: Iterable[Sequence[TaskFile]]) -> Iterator[list[Row]]:
        ray = self._ray
        work = ray.remote(num_cpus=self._cpus, num_gpus=self._gpus, max_retries=RETRIES)(_work)
        shared, waiting = ray.put(job), iter(tasks)
        running: set[Any] = set()
        ahead = max(TASKS_AHEAD, int(TASKS_AHEAD * ray.cluster_resources().get("CPU", 1) / self._cpus))
        ended = False
        while not ended or running:
            while not ended and len(running) < ahead:
                files = next(waiting, None)
                if files is None:
                    ended = True
                else:
                    running.add(work.remote(shared, files, max(1, int(self._cpus))))
            if running:
                (done, *_), rest = ray.wait(list(running))
                running = set(rest)
                yield ray.get(done)


def _work(job: Job, files: Sequence[TaskFile], threads: int) -> list[Row]:
    """Do a task in a worker."""
    import torch

    torch.set_num_threads(threads)
    return [row for rows in run_task(job, files) for row in rows]
