"""Players in the viewer's page for the sound that is fitted, its target, and the difference of both."""

import base64
import io
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float
from nerfstudio.viewer.viewer_elements import ViewerControl
from numpy import ndarray

from .hold import hold_training

LONGEST = 15.0
"""Seconds that are played at most, because the page gets the sound as text."""
RATES = (8000, 192_000)
"""Sampling rates that browsers play, hertz; others are told."""

Sounds = dict[str, Float[ndarray, "n c"]]
"""Sounds by their names, amplitudes within [-1, 1]."""


class SoundPlayer(ViewerControl):
    """A folder in the viewer's control panel with a button, and the players that it makes.

    Args:
        record: function that returns the sounds, at most so many samples, given as its argument.
        sample_rate: their sampling rate, hertz.
    """

    def __init__(self, record: Callable[[int], Sounds], sample_rate: float) -> None:
        self.record, self.sample_rate = record, sample_rate
        self.running = threading.Lock()

    def _setup(self, viewer: Any) -> None:
        """Add the folder when a viewer starts; nerfstudio calls this."""
        super()._setup(viewer)
        gui = self.viser_server.gui
        with gui.add_folder("Listen"):
            self.button = gui.add_button("Listen to what is shown")
            self.players = gui.add_markdown(f"The panel's part of the recording, up to {LONGEST:g} seconds of it.")
        self.button.on_click(lambda _: self.start())

    def start(self) -> None:
        """Evaluate the field in the background and show the players, unless that is being done already."""
        if self.running.acquire(blocking=False):
            self.button.disabled = True
            threading.Thread(target=self._show, daemon=True).start()

    def _show(self) -> None:
        """Show the players."""
        try:
            if not RATES[0] <= self.sample_rate <= RATES[1]:
                self.players.content = f"Browsers do not play {self.sample_rate:g} samples per second."
                return
            with hold_training(self.viewer):
                sounds = self.record(int(LONGEST * self.sample_rate))
            self.players.content = "\n\n".join(
                f'{name}\n\n<audio controls src="{encode(sound, self.sample_rate)}" style={{{{width: "100%"}}}} />'
                for name, sound in sounds.items()
            )
        except (ValueError, OSError, MemoryError) as error:
            self.players.content = f"Not played: {error or 'out of memory'}"
        finally:
            self.button.disabled = False
            self.running.release()


def encode(sound: Float[ndarray, "n c"], sample_rate: float) -> str:
    """Return a sound as a FLAC file of 16 bits in a data URL; a page plays the first two channels."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, np.clip(sound[:, :2], -1, 1), round(sample_rate), "PCM_16", format="FLAC")
    return "data:audio/flac;base64," + base64.b64encode(file.getvalue()).decode()
