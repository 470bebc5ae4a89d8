"""What nerfstudio's commands keep to themselves: the run that they read, and the file that ``ns-eval`` writes."""

import sys
from pathlib import Path
from typing import Any

from ...files import replacing


class WholePath(type(Path())):  # type: ignore[misc]
    """A path whose text is written whole, or not at all if the disk is full or the program is ended."""

    def write_text(self, data: str, *args: Any, **kwargs: Any) -> int:
        """Write a text through a temporary file, which then replaces this one."""
        with replacing(Path(self)) as path:
            return path.write_text(data, *args, **kwargs)


def write_whole() -> None:
    """Let ``ns-eval`` write its result whole, if it is what asks for metrics; do nothing for other callers."""
    command = _find_local("nerfstudio.scripts.eval", "self")
    if hasattr(command, "output_path"):
        command.output_path = WholePath(command.output_path)


def find_config() -> Path | None:
    """Return the config.yml of the run that ``ns-eval``, ``ns-viewer`` or ``ns-render`` is reading, if one is."""
    path = _find_local("nerfstudio.utils.eval_utils", "config_path")
    return None if path is None else Path(path)


def _find_local(module: str, name: str) -> Any:
    """Return a local variable of the innermost caller in a module, or None if no such caller has it."""
    frame = sys._getframe()
    while frame is not None and not (frame.f_globals.get("__name__") == module and name in frame.f_locals):
        frame = frame.f_back  # type: ignore[assignment]
    return frame.f_locals[name] if frame else None
