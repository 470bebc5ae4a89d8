"""Fit minutes of stereo by default, made of given clips, and print the signal-to-noise ratio and the time.

    python scripts/long_sound.py tetris.wav gt_bach.wav relay.wav --seconds 180

The clips follow each other on the left, and begin with the second one on the right; each side has a fifth of the other.
The time is that of the processor, of all threads together.
"""

import time
from dataclasses import dataclass
from math import gcd
from pathlib import Path

import numpy as np
import soundfile
import torch
import tyro
from numpy import ndarray
from scipy.signal import resample_poly

from winner_nerfstudio import fit
from winner_nerfstudio.results import format_bytes

RATE = 44_100
"""The sampling rate of the sound that is made."""


@dataclass
class LongSound:
    """What is fitted."""

    clips: tyro.conf.Positional[tuple[Path, ...]]
    """Sounds that are joined, again and again."""
    seconds: float = 180.0
    """Length of the stereo sound that is made of them."""
    output: Path = Path("long.wav")
    """The file that it is written to, in 16 bits."""
    threads: int = 1
    """Threads of the matrix products."""

    def run(self) -> None:
        """Make the sound, fit it and print what came of it."""
        torch.set_num_threads(self.threads)
        soundfile.write(self.output, self._make(), RATE, "PCM_16")
        began, began_cpu = time.perf_counter(), time.process_time()
        field = fit(self.output, progress=False)
        seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
        figures = field.provenance["figures"]
        weights = format_bytes(sum(parameter.nbytes for parameter in field.parameters()))
        print(f"| {self.seconds:g} s | {figures['snr']:.1f} dB SNR | {figures['psnr_between']:.1f} dB between", end="")
        print(f" | {cpu:.0f} s of the processor, {seconds:.0f} s on {self.threads} threads | {weights} |")

    def _make(self) -> ndarray:
        """Return the sound, [n, 2]."""
        clips = [read_mono(path) for path in self.clips]
        count, sides = round(self.seconds * RATE), []
        for side in range(2):
            joined = np.concatenate(clips[side:] + clips[:side])
            sides.append(np.resize(joined, count))
        left, right = sides
        sound = np.stack([0.8 * left + 0.2 * right, 0.2 * left + 0.8 * right], -1)
        return sound / (1.05 * np.abs(sound).max())


def read_mono(path: Path) -> ndarray:
    """Return the mean of a file's channels at `RATE`."""
    values, rate = soundfile.read(path, always_2d=True)
    common = gcd(RATE, rate)
    resampled: ndarray = resample_poly(values.mean(1), RATE // common, rate // common)
    return resampled


if __name__ == "__main__":
    tyro.cli(LongSound, description=__doc__).run()
