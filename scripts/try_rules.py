"""Try changes of the matched rule: the same fits, begun or trained a little differently, and how their fronts compare.

    python scripts/try_rules.py --folder FOLDER --only spectrum-power spread

For each target, exactness and change: 200 full-batch steps of Adam at 1e-4, a quarter of the samples held out, one
seed. The table has fitted / held-out PSNR, and how far the front of each change lies above that of the rule as it is,
fitted at equal held out. Runs are kept and not repeated. docs/noise-rule.md says what came of it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, pi, sqrt, tanh
from pathlib import Path
from statistics import mean
from typing import Any

import torch
import tyro
from fit_records import add_record, find_record, identify_fit
from torch import Tensor, nn

from winner_nerfstudio.experiments.fronts import Point, compare_fronts
from winner_nerfstudio.registry import kind_of
from winner_nerfstudio.signals.grid import Grid
from winner_nerfstudio.training.initialize import Start, start
from winner_nerfstudio.training.plan import Course, make_plan
from winner_nerfstudio.training.prepare import prepare
from winner_nerfstudio.winner.matched import NetworkTraits, bisect, compute_matched_scales

STEPS, RULE = 200, "matched"
TARGETS = {
    "camera": ("camera.png", {}),
    "castle": ("castle_512.jpg", {}),
    "div2k_05": ("div2k_train_05.png", {}),
    "gt_bach": ("gt_bach.wav", {"start": 2.32959}),
    "relay": ("relay.wav", {}),
}


@dataclass
class Arguments:
    """What to try."""

    folder: Path
    """Folder with the files of `TARGETS`."""
    only: tuple[str, ...] = ()
    """Names of changes; all if left out."""
    targets: tuple[str, ...] = tuple(TARGETS)
    """Names of targets."""
    exactness: tuple[float, ...] = (0.0, 0.25, 0.4, 0.5, 0.75)
    """Values of the exactness, which are the points of a front."""
    max_side: int = 64
    """Pixels of a picture's longer side."""
    max_samples: int = 3000
    """Samples of a sound."""
    rate: float = 1e-4
    """Learning rate of Adam."""
    seed: int = 1
    """Seed of the network and of all draws."""
    runs: Path = Path("outputs/try_rules.jsonl")
    """File that runs are kept in."""


@dataclass
class Trial:
    """A network as the matched rule begins it, to be changed in place before it is trained.

    Attributes:
        layers: The linear layers.
        signal: The target.
        exactness: That of the rule.
        generator: The source of the change's random numbers.
        omega_0: The frequency of the sines.
        rates: Factors of the learning rate of each layer.
    """

    layers: list[nn.Linear]
    signal: Grid[Any]
    exactness: float
    generator: torch.Generator
    omega_0: float
    rates: list[float]

    @property
    def first_frequencies(self) -> Tensor:
        """The root mean square frequency of the first layer along each axis that the rule asks for, [d]."""
        dim = self.signal.dim
        traits = NetworkTraits(self.layers[0].out_features, len(self.layers) - 1)
        noise, _, _ = compute_matched_scales(self.signal.axes, traits, self.exactness)
        return torch.tensor([sqrt((self.omega_0 / dim) ** 2 / 3 + scale**2) for scale in noise])


def measure_spectrum(signal: Grid[Any]) -> tuple[Tensor, Tensor]:
    """Return frequencies of a target, radians per unit, [k, d], and its magnitude at each, the channels' sum, [k].

    A Hann window along every axis hides the jumps at the ends; the constant is left out.
    """
    values = torch.from_numpy(signal.values).double()
    values = values - values.mean(tuple(range(signal.dim)))
    for axis, count in enumerate(signal.lattice.shape):
        window = torch.hann_window(count, periodic=False, dtype=torch.float64)
        values = values * window.reshape([-1 if index == axis else 1 for index in range(signal.dim + 1)])
    magnitude = torch.fft.fftn(values, dim=tuple(range(signal.dim))).abs().sum(-1)
    axes = [
        2 * pi * torch.fft.fftfreq(count, spacing, dtype=torch.float64)
        for count, spacing in zip(signal.lattice.shape, signal.lattice.spacings, strict=True)
    ]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, signal.dim)
    magnitude[(0,) * signal.dim] = 0
    return grid, magnitude.reshape(-1)


def draw_frequencies(trial: Trial, power: float) -> Tensor:
    """Draw a frequency vector for each unit with the density of the target's magnitude to a power, [h, d]."""
    grid, magnitude = measure_spectrum(trial.signal)
    units = trial.layers[0].out_features
    index = torch.multinomial(magnitude**power, units, replacement=True, generator=trial.generator)
    width = torch.tensor(
        [
            2 * pi / (count * spacing)
            for count, spacing in zip(trial.signal.lattice.shape, trial.signal.lattice.spacings, strict=True)
        ]
    )
    return grid[index] + (torch.rand(units, trial.signal.dim, generator=trial.generator) - 0.5) * width


def set_first_layer(trial: Trial, frequencies: Tensor) -> None:
    """Set the first layer's weights so that its sines have these frequencies, radians per unit, [h, d]."""
    trial.layers[0].weight.copy_(frequencies / trial.omega_0)


def draw_scaled(trial: Trial) -> None:
    """Draw the first layer from the target's spectrum, scaled to the rule's frequency along each axis."""
    drawn = draw_frequencies(trial, 1.0)
    set_first_layer(trial, drawn * trial.first_frequencies / drawn.square().mean(0).sqrt())


def draw_power(trial: Trial) -> None:
    """Draw the first layer from a power of the target's spectrum whose frequency is that of the rule, unscaled."""
    grid, magnitude = measure_spectrum(trial.signal)
    wanted = float(trial.first_frequencies.square().sum())

    def is_too_high(falling: float) -> bool:  # the greater the power, the lower the frequency
        weight = magnitude ** (6 - falling)
        return float((weight / weight.sum()) @ grid.square().sum(-1)) > wanted

    set_first_layer(trial, draw_frequencies(trial, 6 - bisect(is_too_high, 0.0, 6.0)))


def spread_noise(trial: Trial, variances: tuple[float, ...]) -> None:
    """Give the arguments of all sines from the second on such variances by noise, at the rule's frequency."""
    dim, width = trial.signal.dim, trial.layers[0].out_features
    siren = trial.omega_0 / dim / sqrt(3)
    power = 2 * (1 - trial.exactness)
    wanted = [axis.nyquist * axis.centroid**power for axis in trial.signal.axes]

    def plan(part: float) -> tuple[float, list[float]]:
        """Return the growth, and the noise of each layer, with a part of the additional variances."""
        growth, before, noise = 1.0, 50.0, []
        for variance in variances:
            plain = 1 - exp(-2 * before)
            before = plain + part * max(0.0, variance - plain)
            growth *= sqrt(before / tanh(before))
            noise.append(sqrt(2 / width * (before / plain - 1)))
        return growth, noise

    growth, noise = plan(bisect(lambda part: siren * plan(part)[0] > max(wanted), 0.0, 1.0))
    for axis, frequency in enumerate(wanted):
        first = sqrt(max(0.0, (frequency / growth) ** 2 - siren**2))
        drawn = torch.empty(width).uniform_(-1 / dim, 1 / dim, generator=trial.generator)
        drawn += first / trial.omega_0 * torch.randn(width, generator=trial.generator)
        trial.layers[0].weight[:, axis] = drawn
    for layer, scale in zip(trial.layers[1:-1], noise, strict=True):
        bound = sqrt(6 / width) / trial.omega_0
        drawn = torch.empty_like(layer.weight).uniform_(-bound, bound, generator=trial.generator)
        layer.weight.copy_(drawn + scale / trial.omega_0 * torch.randn(layer.weight.shape, generator=trial.generator))


def scale_output(trial: Trial, factor: float) -> None:
    """Multiply the output layer's weights."""
    trial.layers[-1].weight.mul_(factor)


def spread_and_scale(trial: Trial) -> None:
    """Spread the noise over all layers, and multiply the output layer's weights."""
    spread_noise(trial, (2.0, 2.0, 2.0))
    scale_output(trial, 2.0)


def set_rate(trial: Trial, layer: int, factor: float) -> None:
    """Multiply the learning rate of a layer."""
    trial.rates[layer] = factor


CHANGES: dict[str, Callable[[Trial], None]] = {
    RULE: lambda trial: None,
    "spectrum-scaled": draw_scaled,
    "spectrum-power": draw_power,
    "spread 2 2 2": lambda trial: spread_noise(trial, (2.0, 2.0, 2.0)),
    "spread 3 3 3": lambda trial: spread_noise(trial, (3.0, 3.0, 3.0)),
    "output x 2": lambda trial: scale_output(trial, 2.0),
    "output / 2": lambda trial: scale_output(trial, 0.5),
    "spread 2 2 2, output x 2": spread_and_scale,
    "first rate x 2": lambda trial: set_rate(trial, 0, 2.0),
    "first rate / 2": lambda trial: set_rate(trial, 0, 0.5),
    "output rate x 2": lambda trial: set_rate(trial, -1, 2.0),
    "output rate / 2": lambda trial: set_rate(trial, -1, 0.5),
}


def fit(signal: Grid[Any], started: Start, change: str, exactness: float, arguments: Arguments) -> dict[str, float]:
    """Change a network that is initialised, train it, and return its metrics."""
    network = started.field.network
    assert isinstance(network, nn.Sequential)
    layers = [module for module in network if isinstance(module, nn.Linear)]
    generator = torch.Generator().manual_seed(arguments.seed)
    trial = Trial(layers, signal, exactness, generator, 30.0, [1.0] * len(layers))
    with torch.no_grad():
        CHANGES[change](trial)
    groups = [
        {"params": layer.parameters(), "lr": arguments.rate * rate}
        for layer, rate in zip(layers, trial.rates, strict=True)
    ]
    adam = torch.optim.Adam(groups)
    for step in range(STEPS):
        adam.zero_grad()
        sum(started.loss.training_terms(started.field, started.sampler.batch(step)).values()).backward()
        adam.step()
    return kind_of(signal.name).monitor(signal).metrics(started.field)


def run(arguments: Arguments, target: str, change: str, exactness: float) -> dict[str, float]:
    """Return the metrics of one fit, those that are kept if it was made before."""
    file, options = TARGETS[target]
    size = {"max_samples": arguments.max_samples, "mono": True, "hidden_dim": 222}
    options = options | (size if file.endswith(".wav") else {"max_side": arguments.max_side, "hidden_dim": 256})
    options |= {"parts": (1,), "exactness": exactness, "train_fraction": 0.75, "batch_size": 1_000_000}
    signal, prepared = prepare(str(arguments.folder / file), None, options)
    assert isinstance(signal, Grid)
    plan = make_plan(signal, prepared, Course(STEPS, arguments.rate, "adam", arguments.seed))
    key = identify_fit(file, signal, plan) | {"change": change}
    if kept := find_record(arguments.runs, key):
        return dict(kept["metrics"])
    started = start(signal, plan.options, torch.device("cpu"), arguments.seed)
    metrics = fit(signal, started, change, exactness, arguments)
    arguments.runs.parent.mkdir(parents=True, exist_ok=True)
    add_record(arguments.runs, key | {"metrics": metrics})
    return metrics


def main() -> None:
    """Make the runs and print the tables."""
    arguments = tyro.cli(Arguments, description=__doc__)
    changes = [RULE, *(name for name in arguments.only or CHANGES if name != RULE)]
    gaps: dict[str, list[tuple[str, Any]]] = {}
    print(f"| target | change | {' | '.join(map(str, arguments.exactness))} | mean gain | least |")
    print(f"|{'---|' * (len(arguments.exactness) + 4)}")
    for change in changes:
        for target in arguments.targets:
            found = {name: [run(arguments, target, name, x) for x in arguments.exactness] for name in (RULE, change)}
            fronts = {
                name: [Point(name, each["psnr_held_out"], each["psnr"]) for each in metrics]
                for name, metrics in found.items()
            }
            gap = compare_fronts(fronts[change], fronts[RULE])
            gaps.setdefault(change, []).append((target, gap))
            cells = [f"{point.y:.1f} / {point.x:.1f}" for point in fronts[change]]
            cells += [f"{gap.mean:+.1f}", f"{gap.least:+.1f}"] if gap else ["no common range", ""]
            print(f"| {target} | {change} | {' | '.join(cells)} |", flush=True)
    print("\n| change | mean of the gains | least |\n|---|---|---|")
    for change, found_gaps in gaps.items():
        known = [gap for _, gap in found_gaps if gap]
        if known:
            print(f"| {change} | {mean(gap.mean for gap in known):+.1f} | {min(gap.least for gap in known):+.1f} |")


if __name__ == "__main__":
    main()
