"""Follow the published procedure (arXiv 2509.09719) in plain torch, without this package, to check reproduce.py.

   python scripts/plain_loop.py relay.wav --size 20000 --steps 500
   python scripts/plain_loop.py camera.png --size 128 --steps 200

Prints the best PSNR of each seed, with a peak of 1 on [-1, 1], and their mean. The same by reproduce.py:
configs/published_audio.yaml and published_image.yaml.
"""

import argparse
import math
import sys
from pathlib import Path
from statistics import mean

import numpy as np
import soundfile
import torch
from PIL import Image
from torch import Tensor, nn

OMEGA = 30.0


class Sines(nn.Module):
    """A layer of sines, with SIREN's weights and torch's biases."""

    def __init__(self, inputs: int, outputs: int, first: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        bound = 1 / inputs if first else math.sqrt(6 / inputs) / OMEGA
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's values [n, outputs] at its inputs [n, inputs]."""
        return torch.sin(OMEGA * self.linear(x))


def load(path: Path, size: int) -> tuple[Tensor, Tensor]:
    """Return coordinates [n, d] and values [n, c] in [-1, 1]: of `size` samples or a square of `size` pixels."""
    if path.suffix == ".wav":
        sound = soundfile.read(path, dtype="float64", always_2d=True)[0].mean(1)[:size]
        values = torch.from_numpy(sound / np.abs(sound).max()).float()
        return torch.linspace(-1, 1, len(sound))[:, None], values[:, None]
    pixels = np.asarray(Image.open(path), np.float64)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    part = len(pixels) // size
    if pixels.shape[:2] != (part * size, part * size):
        height, width = pixels.shape[:2]
        raise ValueError(f"{width} x {height} pixels are no square of a multiple of --size {size}; take another size")
    pixels = pixels.reshape(size, part, size, part, -1).mean((1, 3))
    axis = torch.linspace(-1, 1, size)
    coords = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    return coords, torch.from_numpy(pixels / 127.5 - 1).float().reshape(size * size, -1)


def noise_scales(values: Tensor, sound: bool) -> tuple[float, float]:
    """Return s0 and s1 as the authors' code has them; it treats an image as one line of pixels, row after row."""
    channels = values.shape[1]
    spectrum = torch.fft.rfft(values.T.double()).abs()
    frequency = torch.fft.rfftfreq(len(values), dtype=torch.float64)
    centroid = float((2 * (spectrum @ frequency) / spectrum.sum(-1)).mean()) / channels
    z = centroid / channels
    return (3500 * (1 - math.exp(-7 * z)), 3 * z) if sound else (50 * (1 - math.exp(-5 * z)), 0.4 * z)


def fit(coords: Tensor, values: Tensor, steps: int, seed: int) -> float:
    """Return the best PSNR over the steps, from before the first to after the last, in dB, with a peak of 1."""
    torch.manual_seed(seed)
    sound = coords.shape[1] == 1
    width, gamma = (222, 0.99) if sound else (256, 0.998)
    layers = [Sines(coords.shape[1], width, True), *(Sines(width, width, False) for _ in range(3))]
    last = nn.Linear(width, values.shape[1])
    nn.init.uniform_(last.weight, -math.sqrt(6 / width) / OMEGA, math.sqrt(6 / width) / OMEGA)
    network = nn.Sequential(*layers, last)
    with torch.no_grad():
        for layer, scale in zip(layers, noise_scales(values, sound), strict=False):
            layer.linear.weight += torch.randn_like(layer.linear.weight) * scale / OMEGA
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 20, gamma)

    def error() -> Tensor:
        return (network(coords) - values).square().mean()

    least = math.inf
    for _ in range(steps):
        optimizer.zero_grad()
        loss = error()
        least = min(least, loss.item())
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        least = min(least, error().item())
    return -10 * math.log10(least)


def main() -> None:
    """Fit the file with each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--size", type=int, required=True, help="samples of a sound, pixels of a picture's side")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    try:
        coords, values = load(arguments.file, arguments.size)
    except (OSError, ValueError, soundfile.SoundFileError) as error:
        sys.exit(f"error: {arguments.file}: {error}")
    results = []
    for seed in range(1, arguments.seeds + 1):
        results.append(fit(coords, values, arguments.steps, seed))
        print(f"{arguments.file.name}, seed {seed}: {results[-1]:.2f} dB", flush=True)
    print(f"{arguments.file.name}: {mean(results):.2f} dB")


if __name__ == "__main__":
    main()
