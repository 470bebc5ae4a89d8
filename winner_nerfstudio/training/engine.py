"""Who does the tasks of a large piece of work: this process, others on this machine, or workers of a Ray cluster."""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from math import inf
from multiprocessing import get_context
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any, Protocol, TypeVar

from ..signals.extras import import_extra
from ..signals.messages import MessageError
from ..storage import AnyPath, RemotePath
from .option_types import check_types

TASKS_AHEAD = 2
"""Tasks per worker that are handed over before any is finished."""
STOPS = signal.SIGINT, signal.SIGTERM
"""The signals that end a command."""
RETRIES = 10
"""How often a task is begun anew because its worker of Ray has died."""

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")


class EngineError(MessageError):
    """The error for workers that cannot be had; the message is one line."""


class Engine(Protocol):
    """Who does the tasks."""

    def run(self, work: Callable[[S, T], Iterable[R]], shared: S, tasks: Iterable[T]) -> Iterator[R]:
        """Do all tasks; yield what they give as soon as it is there, in any order.

        Args:
            work: a function of a module, from what all tasks share and a task to what the task gives.
            shared: what all tasks share.
            tasks: the tasks.
        """
        ...


@dataclass(frozen=True)
class Workers:
    """Who does the tasks; these are options of commands, too."""

    engine: str = "local"
    """Who fits many files, or a signal larger than memory in groups of parts: local, this process; processes, others on
    this machine; ray, workers of Ray on it; ray://HOST:PORT, those of a cluster."""
    cpus: float = 1
    """Cores that a worker takes."""
    gpus: float = 0
    """Graphics processors that a worker of Ray takes; may be a part of one."""

    def check(self) -> "Workers":
        """Return the workers themselves, with numbers as Python's own.

        Raises:
            ValueError: one is no number.
        """
        return check_types(self)

    def check_storage(self, path: AnyPath) -> None:
        """Check that the workers see a file, or the folder of the results.

        Raises:
            EngineError: it is the memory of this process, and they are others.
        """
        if self.engine != "local" and isinstance(path, RemotePath) and path.is_in_memory:
            line = f"{path}: is the memory of this process, which workers of engine={self.engine} do not see"
            raise EngineError(f"{line}; name storage that all see")

    def open(self) -> AbstractContextManager[Engine]:
        """Return the engine, which does its work within a ``with``.

        Raises:
            ValueError: there is no such engine or no such workers, or Ray is not installed; the message is one line.
        """
        engine, cpus, gpus = self.engine, self.cpus, self.gpus
        if not (0 < cpus < inf and 0 <= gpus < inf):
            raise EngineError(
                f"cpus={cpus:g} must be more than 0 and finite, and gpus={gpus:g} finite and not negative"
            )
        if engine in ("local", "processes") and gpus:
            raise EngineError(f"gpus={gpus:g}: only workers of ray take them; add engine=ray or leave them out")
        if engine == "local":
            if cpus != 1:
                raise EngineError(f"cpus={cpus:g}: only other workers take them; add engine=processes or engine=ray")
            return _run_here()
        if engine == "processes":
            return _run_processes(cpus)
        if engine != "ray" and not engine.startswith("ray://"):
            raise EngineError(f"engine={engine!r} is not one of: local, processes, ray, ray://HOST:PORT")
        ray = import_extra("ray", "ray", "engine=ray: the workers are run")
        return _run_ray(ray, engine.removeprefix("ray").removeprefix("://"), cpus, gpus)


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _LocalEngine:
    """This process, which does one task after the other."""

    def run(self, work: Callable[[S, T], Iterable[R]], shared: S, tasks: Iterable[T]) -> Iterator[R]:
        for task in tasks:
            yield from work(shared, task)


@contextmanager
def _run_here() -> Iterator[Engine]:
    yield _LocalEngine()


@contextmanager
def _run_processes(cpus: float) -> Iterator[Engine]:
    """Start processes, which end when the block does: at once, if it is left by an exception or this process dies."""
    count, context = max(1, int(count_cores() / cpus)), get_context("spawn")
    end, alive = context.Pipe(duplex=False)  # nothing is sent; that the pipe ends is the message
    pool = ProcessPoolExecutor(count, context, _begin, (max(1, int(cpus)), end))
    with end, alive:
        try:
            yield _ProcessEngine(pool, count)
        except BaseException:
            alive.close()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


class _ProcessEngine:
    """Processes of this machine."""

    def __init__(self, pool: ProcessPoolExecutor, count: int) -> None:
        self._pool, self._count = pool, count

    def run(self, work: Callable[[S, T], Iterable[R]], shared: S, tasks: Iterable[T]) -> Iterator[R]:
        running: set[Future[list[R]]] = set()
        waiting = iter(tasks)
        try:
            while True:
                for task in islice(waiting, TASKS_AHEAD * self._count - len(running)):
                    with _put_off_stops():
                        running.add(self._pool.submit(_do_task, work, shared, task))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for each in done:
                    yield from each.result()
        except BrokenProcessPool:
            line = "engine=processes: a process has ended, perhaps for want of memory; the same call goes on"
            raise EngineError(line) from None


@contextmanager
def _put_off_stops() -> Iterator[None]:
    """Put off what would stop this process and those that it starts, because one that starts prints tracebacks then."""
    if not hasattr(signal, "pthread_sigmask"):  # there is none on Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _run_ray(ray: Any, address: str, cpus: float, gpus: float) -> Iterator[Engine]:
    """Connect to a cluster, or start one on this machine; leave or end it at the end."""
    is_ours = not ray.is_initialized()
    if is_ours:
        try:
            ray.init(address=address or "local", include_dashboard=False if not address else None, log_to_driver=False)
        except Exception as error:  # Ray raises plain ones, too
            reason = " ".join(str(error).split())[:120]
            fault = "no cluster answers there" if address else "Ray does not start on this machine"
            raise EngineError(f"engine=ray{address and '://'}{address}: {fault} ({reason})") from None
    try:
        yield _RayEngine(ray, cpus, gpus)
    finally:
        if is_ours:
            ray.shutdown()


class _RayEngine:
    """The workers of a Ray cluster, which write to a folder that all of them see."""

    def __init__(self, ray: Any, cpus: float, gpus: float) -> None:
        self._ray, self._cpus, self._gpus = ray, cpus, gpus

    def run(self, work: Callable[[S, T], Iterable[R]], shared: S, tasks: Iterable[T]) -> Iterator[R]:
        ray, threads = self._ray, max(1, int(self._cpus))
        remote = ray.remote(num_cpus=self._cpus, num_gpus=self._gpus, max_retries=RETRIES)(_do_ray_task)
        stored, waiting = ray.put(shared), iter(tasks)
        running: set[Any] = set()
        ahead = max(TASKS_AHEAD, int(TASKS_AHEAD * ray.cluster_resources().get("CPU", 1) / self._cpus))
        while True:
            for task in islice(waiting, ahead - len(running)):
                running.add(remote.remote(os.getcwd(), threads, work, stored, task))
            if not running:
                return
            (done, *_), rest = ray.wait(list(running))
            running = set(rest)
            yield from ray.get(done)


def _begin(threads: int, end: Connection) -> None:
    """Prepare a process of this machine, which ends with a pipe whose other end is its parent's."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a word
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    Thread(target=_end_with, args=(end,), daemon=True).start()
    import torch

    torch.set_num_threads(threads)


def _end_with(end: Connection) -> None:
    """Wait for the end of a pipe, then end this process, whatever it does."""
    with suppress(EOFError, OSError):
        end.recv()
    os._exit(1)


def _do_task(work: Callable[[S, T], Iterable[R]], shared: S, task: T) -> list[R]:
    """Do a task in another process."""
    return list(work(shared, task))


def _do_ray_task(folder: str, threads: int, work: Callable[[S, T], Iterable[R]], shared: S, task: T) -> list[R]:
    """Do a task in a worker of Ray, to which paths mean what they mean to the process that asks for it."""
    import torch

    with suppress(OSError):  # whole paths mean the same everywhere
        os.chdir(folder)
    torch.set_num_threads(threads)
    return _do_task(work, shared, task)
