"""The end of a program that serves the viewer."""

import atexit
import signal
import sys
import threading
from typing import Any

from nerfstudio.viewer.render_state_machine import RenderStateMachine
from nerfstudio.viewer.viewer_elements import ViewerControl

from .background_button import finish_work

SECONDS_TO_END = 10.0
"""How long a picture that is being rendered may take to end."""


class ViewerEnd(ViewerControl):
    """Ends the viewer's threads before the program, which would crash if one were within a library."""

    def _setup(self, viewer: Any) -> None:
        """Prepare the end when a viewer starts; nerfstudio calls this."""
        super()._setup(viewer)
        atexit.register(self.end)
        if viewer.trainer is None and threading.current_thread() is threading.main_thread():
            # ns-viewer runs until Ctrl-C, for which it has a traceback.
            signal.signal(signal.SIGINT, lambda number, frame: sys.exit())

    def end(self) -> None:
        """Wait for the work of buttons, stop rendering, and close the page."""
        finish_work()
        # Not only those whose pages are open: nerfstudio forgets the thread of a page that has just been closed.
        machines = [thread for thread in threading.enumerate() if isinstance(thread, RenderStateMachine)]
        for machine in machines:
            machine.running, machine.interrupt_render_flag = False, True
        for machine in machines:
            machine.join(SECONDS_TO_END)
        self.viser_server.stop()
