"""What large targets take, in a process of its own."""

import os

import numpy as np
import pytest
import soundfile
from PIL import Image

from .forked import start

LIMIT = 4e9
PART = 3
"""The tests' targets are so many times smaller: what a run takes beside its imports grows no faster than its target."""
enough = pytest.mark.skipif(
    os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") < LIMIT, reason="takes up to 2 GB of memory, of 4"
)


def peak_of(method, target, folder):
    """Peak bytes that a run of a few steps would have with all of a target of which it gets a `PART`.

    It trains, measures and draws; its network is small, which saves time.
    """
    command = ["ns-train", method, "--data", target, "--max-num-iterations", "3"]
    command += ["--pipeline.model.hidden-dim", "8", "--pipeline.model.num-layers", "2"]
    _, receiver = start(command, folder)
    result, before, peak = receiver.recv()
    assert result.returncode == 0, result.output[-4000:]
    assert "step 3/3" in result.output
    assert "psnr" in result.output
    return before + PART * (peak - before)


@enough
@pytest.mark.quality
def test_thirty_megapixels_stay_under_four_gigabytes(tmp_path):
    row, column = np.ogrid[: 6000 // PART, :5000]
    pixels = np.stack([(row * (c + 1) + column * (c + 2)) % 251 for c in range(3)], -1).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "large.png", compress_level=1)
    del pixels
    assert peak_of("winner-image", "large.png", tmp_path) < LIMIT


@enough
@pytest.mark.quality
def test_fifteen_minutes_of_stereo_stay_under_four_gigabytes(tmp_path):
    time = np.arange(44_100 * 60 * 15 // PART) / 44_100
    waves = np.stack([0.5 * np.sin(2000 * time), 0.3 * np.cos(3000 * time)], -1)
    soundfile.write(tmp_path / "long.wav", waves, 44_100, "PCM_16")
    assert peak_of("winner-audio", "long.wav", tmp_path) < LIMIT
