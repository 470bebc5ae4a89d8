"""Writing of files that are either complete or not written at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary file, which replaces `path` when the block ends and is removed if the block fails.

    The temporary file is in the folder of `path` and has its suffix.

    Raises:
        OSError: the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save_npy(path: Path, array: np.ndarray) -> None:
    """Write an array as .npy; numpy's own `save` says nothing when the end of the file finds the disk full.

    Raises:
        OSError: the file cannot be written.
    """
    with path.open("wb") as file:
        np.lib.format.write_array(_Unbuffered(file), np.asanyarray(array), allow_pickle=False)  # type: ignore[arg-type]


class _Unbuffered:
    """A file to numpy, which writes to it through `write` only and not by C's buffered functions."""

    def __init__(self, file: IO[bytes]) -> None:
        self.write = file.write
