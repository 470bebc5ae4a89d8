"""The base class of the subcommands of ``winner-export``."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ..files import find_problem
from ..registry import require_result
from ..storage import check_is_here, locate

if TYPE_CHECKING:
    from ..fields.fitted import FittedField

Progress = Callable[[float], None]
"""A function that is called with the fraction of the work that is done, 0 to 1."""


@dataclass
class Export:
    """Write one result of a run; a subclass says which, and how."""

    result: ClassVar[str]
    """The name of the subcommand."""
    suffixes: ClassVar[tuple[str, ...]] = ()
    """The suffixes of the files that it writes, or of the most common ones; if there are none, any suffix will do."""

    load_config: str
    """The run's folder or its config.yml, of which only the checkpoint beside it is read; or a field file
    (.safetensors), or the folder of a fit in groups, or the URL of either, such as s3://bucket/fit."""
    output: Path
    """File to write; its suffix says the format."""

    def run(self) -> str:
        """Write the result; return what to tell the user.

        Raises:
            ValueError: the options, the run or the result cannot be used; the message is one line.
            OSError: the output cannot be written.
        """
        check_is_here(self.output)
        self.check_files()
        fitted = self.load()
        self.check(fitted)
        with self._show_progress() as progress:
            return f"{self.output}: {self.write(fitted, progress)}"

    @classmethod
    def accepts(cls, output: Path) -> bool:
        """Return whether files of this name's suffix are written."""
        return not cls.suffixes or output.suffix.lower() in cls.suffixes

    @property
    def companions(self) -> tuple[Path, ...]:
        """The files that are written beside the output."""
        return ()

    @property
    def sources(self) -> tuple[Path, ...]:
        """The files that are read."""
        return (Path(self.load_config),)

    def check_files(self) -> None:
        """Check that the files can be written as far as one can see, and that none is one that is read.

        Nor may a file of somebody else's be written over beside a new output.

        Raises:
            ValueError: a file will not do; the message is one line.
        """
        sources = [source for source in self.sources if source.is_file()]
        for path in (self.output, *self.companions):
            if problem := find_problem(path):
                raise ValueError(f"{path}: {problem}")
            if path.exists() and any(map(path.samefile, sources)):
                raise ValueError(f"{path}: is read for this export; choose another name for the output")
        for path in self.companions:
            if path.exists() and not self.output.exists():
                raise ValueError(
                    f"{path}: is there already, and would be written beside {self.output.name}; name another output"
                )

    def load(self) -> "FittedField":
        """Load the field of a run, a file or a folder, on the GPU if there is one.

        Raises:
            ValueError: there is none; the message is one line.
        """
        import torch

        from ..fields.checkpoint import load_fit

        return load_fit(locate(self.load_config)).to("cuda" if torch.cuda.is_available() else "cpu")

    def check(self, fitted: "FittedField") -> None:
        """Check that a field can be written with these options.

        Raises:
            ValueError: the field is of another kind, or the options contradict each other.
        """
        require_result(fitted.kind, self.result)

    def write(self, fitted: "FittedField", progress: Progress) -> str:
        """Write the result of a field; return a description of what was written, for the user."""
        raise NotImplementedError

    @contextmanager
    def _show_progress(self) -> Iterator[Progress]:
        """Show a progress bar on the terminal."""
        from rich.console import Console

        from ..progress import progress_bar

        before, after = "evaluating the field", "{task.percentage:.0f} %"
        console, quiet = Console(stderr=True), not sys.stderr.isatty()
        with progress_bar(console, before, after, transient=True, disable=quiet) as bar:
            task = bar.add_task("", total=1.0)
            yield lambda part: bar.update(task, completed=part)
