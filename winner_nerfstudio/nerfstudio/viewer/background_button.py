"""A button in the viewer whose work is done in the background."""

import os
import re
import signal
import threading
from typing import Any

from nerfstudio.utils.rich_utils import CONSOLE
from nerfstudio.viewer.viewer_elements import ViewerControl

from ...signals.messages import error_line, escape

_at_work: "set[BackgroundButton]" = set()
"""The buttons whose work is being done."""


def finish_work() -> None:
    """Wait, at the end of the program, until the work of all buttons is done; another Ctrl-C ends it at once."""
    try:
        for button in list(_at_work):
            CONSOLE.print(f"{button.label}: being finished; Ctrl-C ends it")
            with button.running:
                pass
    except (KeyboardInterrupt, SystemExit):
        # A thread within a library crashes a program that ends in the usual way.
        os._exit(128 + signal.SIGINT)


def as_text(text: object) -> str:
    """Return a text as Markdown that shows it as it is; a page shows nothing of Markdown that it cannot read."""
    return re.sub(r"[^\w\s.,:;/()+-]|_", lambda match: f"&#{ord(match[0])};", escape(text))


class BackgroundButton(ViewerControl):
    """A folder in the viewer's control panel with a button and a text, which becomes the result.

    The button is disabled while its work is being done. A subclass overrides `work`, and `add_controls` if it has
    options.

    Args:
        folder: title of the folder.
        label: what the button says.
        text: the text before the first click, in Markdown.
        failure: what precedes the reason if the work cannot be done.
    """

    def __init__(self, folder: str, label: str, text: str, failure: str) -> None:
        self.folder, self.label, self.text, self.failure = folder, label, text, failure
        self.running = threading.Lock()

    def add_controls(self, gui: Any) -> None:
        """Add the options above the button; there are none by default."""

    def work(self) -> str:
        """Do the work and return the result, in Markdown.

        Raises:
            ValueError: it cannot be done; likewise an OSError, a MemoryError, or a RuntimeError such as torch's.
        """
        raise NotImplementedError

    def _setup(self, viewer: Any) -> None:
        """Add the folder when a viewer starts; nerfstudio calls this."""
        super()._setup(viewer)
        gui = self.viser_server.gui
        with gui.add_folder(self.folder):
            self.add_controls(gui)
            self.button = gui.add_button(self.label)
            self.bar = gui.add_progress_bar(0.0, visible=False)
            self.note = gui.add_markdown(self.text)
        self.button.on_click(lambda _: self.start())

    def start(self) -> None:
        """Start the work in the background, unless it is being done already."""
        if self.running.acquire(blocking=False):
            self.button.disabled = True
            _at_work.add(self)
            threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        """Do the work and show its result."""
        try:
            self.note.content = self.work()
        except (ValueError, OSError, MemoryError, RuntimeError) as error:
            reason = error_line(error).removeprefix("error: ") if str(error) else "out of memory"
            self.note.content = f"{self.failure}: {as_text(reason)}"
        finally:
            self.button.disabled = self.bar.visible = False
            self.bar.value = 0.0
            _at_work.discard(self)
            self.running.release()
