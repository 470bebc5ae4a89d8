"""Files and folders by path or by URL, such as ``s3://bucket/fits``, in one way for both.

`locate` returns a `Path`, or a `RemotePath`, which has the methods of a `Path` that are used here. What lies behind a
URL is read and written by fsspec, which comes with torch; most of its drivers are packages of their own.
"""

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from .files import as_url, make_folder, replacing, strip_scheme
from .signals.messages import MessageError, shorten

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_COPIES = "winner-copy-"
"""What the names of the folders begin with that local copies lie in."""


class StorageError(MessageError, OSError):
    """The error for what cannot be read or written now, behind a URL or beside another run; one line that names it."""


@dataclass(frozen=True, order=True)
class RemotePath:
    """A file or a folder behind a URL.

    Attributes:
        url: the URL, without a slash at the end.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> "RemotePath":
        return RemotePath(f"{self.url}/{name}")

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return self.url.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The suffix of the name, as that of a path."""
        return PurePosixPath(self.name).suffix

    @property
    def parents(self) -> list["RemotePath"]:
        """The folders that it lies in, the innermost first."""
        start, _, rest = self.url.partition("://")
        parts = rest.split("/")
        return [RemotePath(f"{start}://{'/'.join(parts[:count])}") for count in range(len(parts) - 1, 0, -1)]

    @property
    def parent(self) -> "RemotePath":
        """The folder that it lies in; the path itself if that is all."""
        return next(iter(self.parents), self)

    @property
    def is_in_memory(self) -> bool:
        """Whether only this process sees it."""
        return self.url.startswith("memory://")

    def resolve(self) -> "RemotePath":
        """Return the path itself, which is complete."""
        return self

    def exists(self) -> bool:
        """Return whether there is such a file or folder."""
        return self.find_info() is not None

    def is_dir(self) -> bool:
        """Return whether it is a folder, which in an object store holds something."""
        return (self.find_info() or {}).get("type") == "directory"

    def is_file(self) -> bool:
        """Return whether it is a file."""
        return (self.find_info() or {}).get("type") == "file"

    def mkdir(self) -> None:
        """Make the folder, if it is missing; object stores, whose paths begin with the name of a bucket, have none."""
        system, path = self._system
        if path.startswith("/"):
            with self._guarding("made"):
                system.makedirs(path, exist_ok=True)

    def find_info(self) -> dict[str, Any] | None:
        """Return what the storage says of it, or None if it is not there."""
        system, path = self._system
        with self._guarding("read"):
            try:
                system.invalidate_cache()  # other processes write, too
                return dict(system.info(path))
            except FileNotFoundError:
                return None

    def list_infos(self) -> list[dict[str, Any]]:
        """Return what the storage says of all that lies in the folder; nothing if there is no such folder."""
        system, path = self._system
        with self._guarding("listed"):
            try:
                system.invalidate_cache()
                infos = system.ls(path, detail=True)
            except FileNotFoundError:
                return []
        return [dict(info) for info in infos if info["name"].strip("/") != path.strip("/")]

    def glob(self) -> list["Entry"]:
        """Return the files and folders that match the URL, a pattern.

        Raises:
            StorageError: the storage cannot be listed, or the name of the bucket or the host is a pattern.
        """
        base = next((parent for parent in self.parents if not has_magic(parent.url)), None)
        if base is None:
            raise StorageError(
                f"{self.url}: the name of a bucket or a host is no pattern; name one, such as s3://bucket/*"
            )
        (system, path), (_, start) = self._system, base._system
        with self._guarding("listed"):
            system.invalidate_cache()
            found = system.glob(path, detail=True)
        return [
            Entry(base / name.removeprefix(start).strip("/"), info["type"] == "directory")
            for name, info in sorted(found.items())
        ]

    @contextmanager
    def open(self, mode: str = "r", **options: Any) -> Iterator[IO[Any]]:
        """Open the file for reading, in a ``with``, as `Path.open` does.

        Raises:
            FileNotFoundError: there is none.
            StorageError: it cannot be read, also later in the block.
        """
        system, path = self._system
        with self._guarding("read"), system.open(path, mode, **options) as file:
            yield file

    def read_bytes(self) -> bytes:
        """Return the contents of the file.

        Raises:
            FileNotFoundError: there is none.
            StorageError: it cannot be read.
        """
        system, path = self._system
        with self._guarding("read"):
            return bytes(system.cat_file(path))

    def read_text(self, encoding: str) -> str:
        """Return the contents of the file as text, see `read_bytes`."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, content: bytes) -> None:
        """Write the file at once.

        Raises:
            StorageError: it cannot be written.
        """
        system, path = self._system
        with self._guarding("written"):
            try:
                system.pipe_file(path, content)
            except FileNotFoundError as error:  # of the bucket
                raise StorageError(f"{self.url}: cannot be written ({shorten(error)})") from None

    def download(self, path: Path) -> None:
        """Copy the file, or the folder with all that is in it, to a path.

        Raises:
            FileNotFoundError: there is none.
            StorageError: it cannot be read.
        """
        recursive, (system, remote) = self.is_dir(), self._system
        with self._guarding("read"):
            system.get(remote, str(path), recursive=recursive)

    @property
    def _system(self) -> tuple[Any, str]:
        """The file system, of which fsspec keeps one for all paths, and what the path is called there."""
        from fsspec.core import url_to_fs

        with self._guarding("read"):
            return url_to_fs(self.url)

    @contextmanager
    def _guarding(self, done: str) -> Iterator[None]:
        """Raise what a driver raises, each its own errors, as one line; a file that is not there as Python does."""
        try:
            yield
        except StorageError:
            raise
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.url) from None
        except Exception as error:
            raise StorageError(f"{self.url}: cannot be {done} ({shorten(error, 200)})") from None


AnyPath = Path | RemotePath


class Entry(NamedTuple):
    """A file or a folder that was found.

    Attributes:
        path: its path.
        is_dir: whether it is a folder.
    """

    path: AnyPath
    is_dir: bool


def locate(text: str | Path | RemotePath) -> AnyPath:
    """Return the path that a text means, which may be a URL; ``file://`` means a path of this machine.

    Raises:
        StorageError: there is no driver for the URL; the message names the package that has it.
        MessageError: a ``file://`` names another machine.
    """
    if not isinstance(text, str) or not _URL.match(text):
        return text if isinstance(text, RemotePath) else Path(text)
    protocol = text.partition("://")[0].lower()
    if protocol in ("file", "local"):
        return Path(strip_scheme(text))
    from fsspec.registry import get_filesystem_class, known_implementations

    try:
        get_filesystem_class(protocol)
    except ImportError as error:
        package = known_implementations[protocol]["class"].partition(".")[0]
        remedy = "" if package == "fsspec" else f"; pip install {package.replace('_', '-')}"
        raise StorageError(f"{text}: {shorten(error)}{remedy}") from None
    except ValueError:
        known = "s3://, gs://, abfs://, sftp://, hdfs:// and others of fsspec"
        raise StorageError(f"{text}: {protocol}:// is not known; there are {known}") from None
    return RemotePath(text.rstrip("/"))


def check_is_here(output: Path) -> None:
    """Check that an output is a path of this machine, where nothing else can be written.

    Raises:
        MessageError: it was meant as a URL.
    """
    if url := as_url(output):
        raise MessageError(f"{url}: is a URL, which this is not written to; name a file here, and copy it there")


def list_folder(folder: AnyPath) -> list[Entry]:
    """Return all that lies in a folder, sorted by name; nothing if there is no such folder behind a URL.

    Raises:
        OSError: it cannot be read.
    """
    if isinstance(folder, RemotePath):
        infos = {
            info["name"].rstrip("/").rpartition("/")[2]: info["type"] == "directory" for info in folder.list_infos()
        }
        return [Entry(folder / name, is_dir) for name, is_dir in sorted(infos.items())]
    found = sorted(os.scandir(folder), key=lambda each: each.name)
    # A link is asked by its path, because the entry of one that leads to itself raises an error.
    return [Entry(Path(each), os.path.isdir(each) if each.is_symlink() else each.is_dir()) for each in found]


def list_sizes(folder: AnyPath) -> dict[str, int]:
    """Return the bytes of the files in a folder by their names; none if there is no such folder."""
    if isinstance(folder, RemotePath):
        files = [info for info in folder.list_infos() if info["type"] == "file"]
        return {info["name"].rpartition("/")[2]: info["size"] for info in files}
    if not folder.is_dir():
        return {}
    return {each.name: each.stat().st_size for each in os.scandir(folder) if each.is_file()}


def measure_size(path: AnyPath) -> int:
    """Return the bytes of a file; -1 if there is none."""
    if isinstance(path, RemotePath):
        info = path.find_info() or {}
        return info["size"] if info.get("type") == "file" else -1
    return path.stat().st_size if path.is_file() else -1


def find_matches(pattern: str) -> list[Entry]:
    """Return the files and folders that match a pattern, in which ``**`` stands for folders within, sorted."""
    path = locate(pattern)
    if isinstance(path, RemotePath):
        return path.glob()
    found = sorted(set(_match(Path(path.anchor), path.relative_to(path.anchor).parts)))
    return [Entry(each, each.is_dir()) for each in found]


def _match(folder: Path, parts: tuple[str, ...]) -> Iterator[Path]:
    """Yield what in a folder matches the parts of a pattern."""
    if "**" not in parts:
        yield from (folder / each for each in glob(os.path.join(*parts), root_dir=folder))
        return
    at = parts.index("**")
    for first in _match(folder, parts[:at]) if at else [folder]:
        for each in _walk_folders(first):
            yield from _match(each, parts[at + 1 :] or ("*",))


def _walk_folders(folder: Path) -> Iterator[Path]:
    """Yield a folder and those within, without hidden ones.

    A folder that several links lead to is walked once, for one of them may lead back to a folder that it lies in.
    """
    walked = set[str]()
    for each, within, _ in os.walk(folder, followlinks=True):
        within[:] = sorted(name for name in within if not name.startswith("."))
        if (resolved := os.path.realpath(each)) in walked:
            within.clear()
        else:
            walked.add(resolved)
            yield Path(each)


def make_any_folder(folder: AnyPath) -> None:
    """Make a folder, if it is missing; behind a URL where the storage has folders.

    Raises:
        OSError: it cannot be made; where a file stands in its place, the error names both.
    """
    if isinstance(folder, RemotePath):
        folder.mkdir()
    else:
        make_folder(folder)


def write_whole(path: AnyPath, content: bytes) -> int:
    """Write a file, and the folder that it lies in; return its bytes.

    A failure leaves an existing file of this machine or of an object store unchanged.

    Raises:
        OSError: it cannot be written.
    """
    if isinstance(path, RemotePath):
        path.parent.mkdir()
        path.write_bytes(content)
    else:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    return len(content)


@contextmanager
def keep_out_others(path: Path) -> Iterator[IO[str]]:
    """Open a file for appending, and keep other runs out of its folder until the block ends or this process dies.

    It keeps none out where the system or the file system has no locks.

    Args:
        path: the file, which is made if it is missing and which all runs that write into the folder name.

    Raises:
        StorageError: another run writes into the folder.
        OSError: the file cannot be written.
    """
    with path.open("a", encoding="utf-8") as file:
        with suppress(ImportError):  # there is none on Windows
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                line = f"{path.parent}: another run writes into it; wait until it has ended, or name another folder"
                raise StorageError(line) from None
            except OSError:  # some file systems have no locks
                pass
        yield file


def get_stamp(path: AnyPath) -> str:
    """Return a text that is another one when a file has been modified."""
    return str(path.find_info() if isinstance(path, RemotePath) else path.stat().st_mtime_ns if path.is_file() else 0)


@contextmanager
def local_copy(path: AnyPath) -> Iterator[Path]:
    """Yield a path as it is, or that of a copy of what lies behind a URL, which is removed when the block ends.

    Raises:
        OSError: it cannot be read.
    """
    if isinstance(path, Path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix=_COPIES) as folder:
        path.download(Path(folder) / path.name)
        yield Path(folder) / path.name


def name_original(text: str, path: AnyPath) -> str:
    """Return a message in which the path of a local copy is replaced by the URL that it is a copy of."""
    copy = rf"\S*{_COPIES}\w+[/\\]{re.escape(path.name)}"
    return re.sub(copy, lambda _: str(path), text)
