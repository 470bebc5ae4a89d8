"""How fast a training step is: the share of the matrix products' own peak, and steps per second over a plain loop's.

    python scripts/benchmark_step.py --threads 1 2

A step is batch, values, loss, gradients and Adam. The matrix products are those of the step, one after the other, on
memory that is there. The plain loop is what a user of torch alone would write: `nn.Linear` and `torch.sin` in a chain,
samples by a random index, and torch's Adam as it comes; the product's is `Training`, as `fit` runs it. The three are
measured in turn, many times in one run, and the best time of each counts. A second table has the time of sines alone.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor, nn

Work = dict[str, Callable[[], object]]
"""What is measured, by name."""


@dataclass
class Arguments:
    """What to measure."""

    widths: tuple[int, ...] = (128, 256, 512)
    """Widths of the hidden layers, of which there are four."""
    batches: tuple[int, ...] = (2048, 4096, 65536)
    """Points per step; the picture has as many pixels as the greatest of them, which is a full batch then."""
    threads: tuple[int, ...] = (1,)
    """Numbers of threads."""
    members: tuple[int, ...] = (64, 256)
    """Members of the banks, 4 x 32 each, with 512 points of each a step."""
    seconds: float = 6.0
    """Time for each row, at least three repetitions."""


def measure(work: Work, seconds: float) -> dict[str, float]:
    """Return the least time of each, measured in turn."""
    best, end = dict.fromkeys(work, float("inf")), time.perf_counter() + seconds
    for repetition in range(10_000):
        for name, run in work.items():
            began = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - began)
        if repetition >= 3 and time.perf_counter() > end:
            break
    return best


Change = Callable[[nn.Module], Any]
"""What is done with the plain network before it is trained, such as `torch.compile`."""


def make_products(widths: list[int], count: int, members: tuple[int, ...], device: str) -> Callable[[], None]:
    """Return the matrix products of a step for layers of these widths, forward and backward."""
    values = [torch.randn(*members, count, width, device=device) for width in widths]
    weights = [torch.randn(*members, b, a, device=device) for a, b in pairwise(widths)]
    gradients = [torch.empty_like(weight) for weight in weights]
    inputs = [torch.empty_like(value) for value in values]

    def run() -> None:
        for index, weight in enumerate(weights):
            torch.matmul(values[index], weight.mT, out=inputs[index + 1])
            torch.matmul(values[index + 1].mT, values[index], out=gradients[index])
            if index:
                torch.matmul(values[index + 1], weight, out=inputs[index])

    return run


def make_plain(
    network: nn.Module, coords: Tensor, values: Tensor, batch: int, device: str, change: Change
) -> Callable[[], None]:
    """Return a step of the plain loop."""
    coords, values, network = coords.to(device), values.to(device), network.to(device)
    optimizer, network = torch.optim.Adam(network.parameters(), 5e-4), change(network)

    def run() -> None:
        rows = torch.randint(len(coords), (batch,), device=device) if batch < len(coords) else slice(None)
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(network(coords[rows]), values[rows]).backward()
        optimizer.step()

    return run


class PlainBank(nn.Module):
    """Small sine networks in plain batched products."""

    def __init__(self, members: int, widths: list[int]) -> None:
        super().__init__()
        self.weights = nn.ParameterList(torch.randn(members, b, a) / (30 * a**0.5) for a, b in pairwise(widths))
        self.biases = nn.ParameterList(torch.randn(members, b) / 30 for b in widths[1:])

    def forward(self, x: Tensor) -> Tensor:
        """Return the values [m, n, c] at coordinates [m, n, d]."""
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias[:, None], x, weight.mT)
            if index < len(self.weights) - 1:
                x = torch.sin(30 * x)
        return x


def make_ours(size: int, batch: int, device: str, **options: object) -> Callable[[], None]:
    """Return a step of the product's training of a picture of `size` x `size` pixels."""
    from winner_nerfstudio.training.initialize import start
    from winner_nerfstudio.training.loop import Training
    from winner_nerfstudio.training.prepare import prepare

    pixels = (torch.rand(size, size, 3) * 255).byte().numpy()
    signal, sorted_options = prepare(pixels, "image", {"batch_size": batch, **options})
    training = Training(start(signal, sorted_options, torch.device(device), 0), 5e-4, lambda step: 1.0)
    return training.step


def single_work(
    width: int, batch: int, size: int, device: str = "cpu", change: Change = lambda network: network
) -> Work:
    """Return what is measured of a single network."""
    widths = [2, *[width] * 4, 3]
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), _Sine()]
    coords, values = torch.rand(size * size, 2) * 2 - 1, torch.rand(size * size, 3)
    return {
        "products": make_products(widths, batch, (), device),
        "plain": make_plain(nn.Sequential(*layers[:-1]), coords, values, batch, device, change),
        "ours": make_ours(size, batch, device, hidden_dim=width),
    }


def bank_work(members: int, device: str = "cpu", change: Change = lambda network: network) -> Work:
    """Return what is measured of a bank."""
    widths, side = [2, 32, 32, 32, 32, 3], round(members**0.5)
    coords, values = torch.rand(members, 512, 2) * 2 - 1, torch.rand(members, 512, 3)
    return {
        "products": make_products(widths, 512, (members,), device),
        "plain": make_plain(PlainBank(members, widths), coords, values, members, device, change),
        "ours": make_ours(28 * side + 4, 512, device, hidden_dim=32, parts=(side, side), overlap=4),
    }


class _Sine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(30 * x)


def sine_work() -> Work:
    """Return the sines of a million numbers from -100 to 100, by torch and by NumPy."""
    numbers = torch.rand(1 << 20) * 200 - 100
    sines = torch.empty_like(numbers)
    return {
        "torch": lambda: torch.sin(numbers, out=sines),
        "numpy": lambda: np.sin(numbers.numpy(), out=sines.numpy()),
    }


def main() -> None:
    """Measure, and print two tables."""
    arguments = tyro.cli(Arguments, description=__doc__)
    size = round(max(arguments.batches) ** 0.5)
    print(
        "| network | points | threads | plain loop, share of peak | ours, share of peak | ours / plain, steps per s |"
    )
    print("|---|---|---|---|---|---|")
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        rows = [
            (f"4 x {width}", f"{batch:,}", lambda width=width, batch=batch: single_work(width, batch, size))
            for width in arguments.widths
            for batch in arguments.batches
        ]
        rows += [
            (f"bank, {members} of 4 x 32", f"{members} x 512", lambda members=members: bank_work(members))
            for members in arguments.members
        ]
        for network, points, make in rows:
            best = measure(make(), arguments.seconds)
            plain, ours = best["products"] / best["plain"], best["products"] / best["ours"]
            print(f"| {network} | {points} | {threads} | {plain:.2f} | {ours:.2f} | {ours / plain:.2f} |", flush=True)
    print("\n| threads | a million sines by torch, ms | by NumPy, ms |\n|---|---|---|")
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        best = measure(sine_work(), 1.0)
        print(f"| {threads} | {1000 * best['torch']:.2f} | {1000 * best['numpy']:.2f} |", flush=True)


if __name__ == "__main__":
    main()
