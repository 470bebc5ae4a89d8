"""Fit a height by its normals, and solve Helmholtz problems, from WINNER's start and from SIREN's::

    python scripts/compare_derivatives.py height
    python scripts/compare_derivatives.py helmholtz

The tables have the errors at the end, and after which part of the steps WINNER's start was where SIREN's ended.
"""

import argparse

import numpy as np
import torch
from scipy.linalg import solve_banded

from winner_nerfstudio import NoiseSchedule, Siren, fit, siren_init_, winner_init_
from winner_nerfstudio.signals.derivatives import compute_slopes

STARTS = ("siren", "winner")


def make_height(size, least, slope, seed=0):
    """Return a height [size, size] of waves as short as `least` pixels, and its normals [size, size, 3]."""
    rng = np.random.default_rng(seed)
    frequency = np.exp(rng.uniform(np.log(1 / size), np.log(1 / least), 300))
    angle, phase = rng.uniform(0, 2 * np.pi, (2, 300))
    rows, columns = np.mgrid[:size, :size]
    height, gradient = np.zeros((size, size)), np.zeros((size, size, 2))
    for f, a, p in zip(frequency, angle, phase, strict=True):
        k = 2 * np.pi * f * np.array([np.sin(a), np.cos(a)])
        argument = k[0] * rows + k[1] * columns + p
        height += f**-slope * np.cos(argument)
        gradient -= f**-slope * np.sin(argument)[..., None] * k
    scale = gradient.std()  # a mean slope of 45 degrees
    height, gradient = height / scale, gradient / scale
    normals = np.concatenate([-gradient[..., 1:], gradient[..., :1], np.ones((size, size, 1))], -1)
    return height - height.mean(), normals / np.linalg.norm(normals, axis=-1, keepdims=True)


def find_step(history, value, sign=1):
    """Return the first step of a history [step, value] at which it is as good as `value`, or None."""
    return next((step for step, reached in history if sign * reached >= sign * value), None)


def compare_heights(steps):
    """Print the errors of heights that are fitted by their normals, exact or of 8 bits."""
    print("| height | normals | start | max, % of range | RMS, % of range | snr_derivatives, dB | as SIREN's end |")
    for title, size, least, slope in (("smooth", 64, 5, 1.0), ("rough", 96, 4, 0.5)):
        height, normals = make_height(size, least, slope)
        coarse = np.rint((normals + 1) / 2 * 255) / 255 * 2 - 1
        for depth, data in (("exact", normals), ("8 bits", coarse)):
            ends = {}
            for start in STARTS:
                field = fit(
                    compute_slopes(data), supervise="gradient", steps=steps, init=start,
                    hidden_dim=96, batch_size=2048, progress=False,
                )  # fmt: skip
                error = (field.image() - height) / np.ptp(height) * 100
                history = [(step, values["snr_derivatives"]) for step, _, values in field.provenance["history"]]
                ends[start] = history[-1][1]
                step = find_step(history, ends["siren"])
                print(
                    f"| {title}, {size} x {size} | {depth} | {start} | {np.abs(error).max():.3f} |"
                    f" {np.sqrt((error**2).mean()):.3f} | {history[-1][1]:.1f} | {step} of {steps} |",
                    flush=True,
                )


class Helmholtz:
    """The problem ``u'' + k^2 (1 + i damping) u = -source`` on [-1, 1], with u = 0 at both ends.

    Args:
        wave_number: k, radians per unit.
        damping: the waves' damping.
        width: standard deviation of the source, a Gaussian.
    """

    def __init__(self, wave_number, damping, width):
        self.square, self.damping, self.width = wave_number**2, damping, width

    def source(self, x):
        """Return the source at points, an array or a tensor."""
        exponent = -((x + 0.2) ** 2) / (2 * self.width**2)
        return exponent.exp() if isinstance(exponent, torch.Tensor) else np.exp(exponent)

    def solve(self, count):
        """Return the solution at `count` points by finite differences of second order."""
        x = np.linspace(-1, 1, count)
        step = x[1] - x[0]
        bands = np.full((3, count - 2), 1 / step**2, complex)
        bands[1] = -2 / step**2 + self.square * (1 + 1j * self.damping)
        return np.pad(solve_banded((1, 1), bands, -self.source(x[1:-1])), 1)

    def guess(self, count):
        """Return the solution in free space, [count, 2]: the source's spectrum over ``q^2 - k^2 (1 + i damping)``."""
        x = np.linspace(-1, 1, count)
        spectrum = np.fft.fft(self.source(x), 8 * count)
        q = 2 * np.pi * np.fft.fftfreq(8 * count, x[1] - x[0])
        waves = np.fft.ifft(spectrum / (q**2 - self.square * (1 + 1j * self.damping)))[:count]
        return np.stack([waves.real, waves.imag], -1)

    def residual(self, network, x, scale):
        """Return the equation's residual at points [n, 1], its real and its imaginary part, over k^2 times `scale`."""
        x = x.requires_grad_(True)
        values = (1 - x**2) * network(x)
        seconds = []
        for channel in values.unbind(1):
            (slope,) = torch.autograd.grad(channel.sum(), x, create_graph=True)
            seconds.append(torch.autograd.grad(slope.sum(), x, create_graph=True)[0][:, 0] / self.square)
        real, imaginary = values.unbind(1)
        source = self.source(x.detach()[:, 0]) / (self.square * scale)
        return torch.stack(
            [
                seconds[0] + real - self.damping * imaginary + source,
                seconds[1] + imaginary + self.damping * real,
            ]
        )


def train(problem, start, steps, points, truth, scale, guess):
    """Fit a network to a problem and return the history of its error, [step, relative error]."""
    network = Siren(1, 2, hidden_dim=64, num_layers=3)
    if start == "winner":
        print("    ", winner_init_(network, target=guess, schedule=NoiseSchedule.matched(0.5), seed=0))
    else:
        siren_init_(network, seed=0)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator, x = torch.Generator().manual_seed(1), torch.linspace(-1, 1, len(truth))[:, None]
    history = []
    for step in range(1, steps + 1):
        offsets = torch.arange(points)[:, None] + torch.rand(points, 1, generator=generator)
        loss = problem.residual(network, 2 * offsets / points - 1, scale).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
        if step % 10 == 0:
            with torch.no_grad():
                values = ((1 - x**2) * network(x)).double().numpy() * scale
            error = np.linalg.norm(values[:, 0] + 1j * values[:, 1] - truth) / np.linalg.norm(truth)
            history.append((step, float(error)))
    return history


def compare_waves(steps):
    """Print the errors of Helmholtz problems against finite differences, and those of the finite differences."""
    print("| k | damping | finite differences, 16001 points | start | error, % | as SIREN's end |")
    for wave_number, damping, points in ((100, 0.1, 512), (200, 0.1, 1024), (300, 0.1, 1024)):
        problem = Helmholtz(wave_number, damping, 1 / wave_number)
        coarse, fine = problem.solve(16001), problem.solve(32001)[::2]
        truth = (4 * fine - coarse) / 3  # Richardson's extrapolation of second order
        off = np.linalg.norm(coarse - truth) / np.linalg.norm(truth)
        guess = problem.guess(points)
        end = None
        for start in STARTS:
            history = train(problem, start, steps, points, truth, np.abs(guess).max(), guess)
            end = history[-1][1] if end is None else end
            print(
                f"| {wave_number} | {damping} | {100 * off:.4f} % | {start} | {100 * history[-1][1]:.2f} |"
                f" {find_step(history, end, -1)} of {steps} |",
                flush=True,
            )


def main():
    """Run one of the comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("height", "helmholtz"))
    parser.add_argument("--steps", type=int, default=400)
    arguments = parser.parse_args()
    if arguments.steps < 1:
        parser.error("--steps must be at least 1")
    (compare_heights if arguments.what == "height" else compare_waves)(arguments.steps)


if __name__ == "__main__":
    main()
