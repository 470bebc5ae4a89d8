"""The division of a batch into tasks, and what is known of each file so far."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ..storage import AnyPath, measure_size
from .job import Job
from .sources import identify_file
from .store import Row
from .tasks import MOST_MEMBERS, TaskFile, refuse

TASK_BYTES = 1 << 20
"""The bytes of the files of a task, about; a larger file is a task of its own."""


class Planner:
    """The files of a batch: which are finished, which wait, and in which tasks the others are fitted.

    Args:
        job: what is done with each file.
        finished: the rows of earlier runs by their keys.
    """

    def __init__(self, job: Job, finished: Mapping[str, Row]) -> None:
        self._job, self._finished = job, finished
        self._waiting: dict[str, list[str]] = {}
        self._rows: dict[str, Row] = {}

    def find_waiting(self, files: Sequence[AnyPath], kinds: Sequence[str | Exception]) -> list[TaskFile]:
        """Read all files and return those that need a fit; of those with the same contents the first.

        Args:
            files: the files.
            kinds: the name of each file's kind, or the error that says why it is not known.
        """
        waiting = []
        for path, kind in zip(files, kinds, strict=True):
            row, file = self._look_up(path, kind)
            if row is not None:
                self._rows[row.path] = row
            elif file is not None:
                waiting.append(file)
        return waiting

    def divide(self, waiting: Sequence[TaskFile]) -> Iterator[list[TaskFile]]:
        """Yield tasks of some small files of a kind, or of a large one."""
        open_tasks: dict[str, list[TaskFile]] = {}
        sizes: dict[str, int] = {}
        for file in waiting:
            size = measure_size(file.path)
            size = TASK_BYTES if size < 0 else size
            task = open_tasks.setdefault(file.kind, [])
            if task and (sizes[file.kind] + size > TASK_BYTES or len(task) == MOST_MEMBERS):
                yield task
                task, sizes[file.kind] = [], 0
            open_tasks[file.kind] = [*task, file]
            sizes[file.kind] = sizes.get(file.kind, 0) + size
        yield from open_tasks.values()

    def _look_up(self, path: AnyPath, kind: str | Exception) -> tuple[Row | None, TaskFile | None]:
        """Return a file's row if it is known already, or what a task needs; neither if its twin waits for a task."""
        try:
            digest, *_ = identity = identify_file(path)
        except OSError as error:
            return refuse(TaskFile(path, "", "", ""), error if isinstance(kind, str) else kind), None
        if isinstance(kind, Exception):
            return refuse(TaskFile(path, digest, "", ""), kind), None
        key = self._job.compute_key(kind, identity)
        if key in self._finished:
            return replace(self._finished[key], path=str(path)), None
        self._waiting.setdefault(key, []).append(str(path))
        return None, TaskFile(path, digest, kind, key) if len(self._waiting[key]) == 1 else None

    def finish(self, rows: Sequence[Row]) -> list[Row]:
        """Keep the rows that a task has returned, also for files with the same contents; return all of these rows."""
        own = [replace(row, path=path) for row in rows for path in self._waiting.pop(row.key)]
        self._rows |= {row.path: row for row in own}
        return own

    def list_rows(self, files: Sequence[AnyPath]) -> list[Row]:
        """Return the rows of the files that have one by now, in the files' order."""
        return [self._rows[path] for path in map(str, files) if path in self._rows]
