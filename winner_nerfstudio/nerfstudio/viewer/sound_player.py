"""Players in the viewer's page for the sound that is fitted, its target, and the difference of both."""

import base64
import io
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from .background_button import BackgroundButton
from .hold import hold_training

LONGEST = 15.0
"""Seconds that are played at most, because the page gets the sound as text."""
RATES = (8000, 192_000)
"""Sampling rates that browsers play, hertz; others are told."""

Sounds = dict[str, Float[ndarray, "n c"]]
"""Sounds by their names, amplitudes within [-1, 1]."""


class SoundPlayer(BackgroundButton):
    """A folder in the viewer's control panel with a button, and the players that it makes.

    Args:
        record: function that returns the sounds, at most so many samples, given as its argument.
        sample_rate: their sampling rate, hertz.
    """

    def __init__(self, record: Callable[[int], Sounds], sample_rate: float) -> None:
        text = f"The panel's part of the recording, up to {LONGEST:g} seconds of it."
        super().__init__("Listen", "Listen to what is shown", text, "Not played")
        self.record, self.sample_rate = record, sample_rate

    def work(self) -> str:
        """Evaluate the field and return the players."""
        if not RATES[0] <= self.sample_rate <= RATES[1]:
            raise ValueError(f"browsers do not play {self.sample_rate:g} samples per second")
        with hold_training(self.viewer):
            sounds = self.record(int(LONGEST * self.sample_rate))
        return "\n\n".join(
            f'{name}\n\n<audio controls src="{encode(sound, self.sample_rate)}" style={{{{width: "100%"}}}} />'
            for name, sound in sounds.items()
        )


def encode(sound: Float[ndarray, "n c"], sample_rate: float) -> str:
    """Return a sound as a FLAC file of 16 bits in a data URL; a page plays the first two channels."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, np.clip(sound[:, :2], -1, 1), round(sample_rate), "PCM_16", format="FLAC")
    return "data:audio/flac;base64," + base64.b64encode(file.getvalue()).decode()
