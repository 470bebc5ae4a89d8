"""siren-pytorch's network beside our Siren: as they are made, and with WINNER's initialisation by the published rule.

Full-batch steps of Adam; prints a Markdown table of the mean PSNR (of a peak-to-peak value of 2) over the seeds.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import torch
import tyro
from jaxtyping import Float
from siren_pytorch import SirenNet
from torch import Tensor, nn

from winner_nerfstudio import NoiseSchedule, Siren, winner_init_
from winner_nerfstudio.signals.audio import load_audio
from winner_nerfstudio.signals.errors import SignalError
from winner_nerfstudio.signals.options import AudioOptions


@dataclass
class Arguments:
    """What to fit, and how long."""

    data: str
    """A sound, or sample:NAME."""
    start: float = 0.0
    """Seconds of it to skip."""
    max_samples: int = 8000
    """Samples to fit."""
    steps: int = 200
    """Full-batch steps."""
    seeds: int = 3
    """Runs of each kind, with seeds 0, 1, ..."""
    hidden_dim: int = 222
    """Width of the sine layers."""
    num_layers: int = 4
    """Number of sine layers."""
    learning_rate: float = 1e-4
    """Adam's."""
    output: Path | None = None
    """File for the table (Markdown)."""


def fit(network: nn.Module, values: Float[Tensor, "n c"], steps: int, learning_rate: float) -> float:
    """Train on samples that span [-1, 1]; the PSNR in dB, of a peak-to-peak value of 2, after the last step."""
    coords = torch.linspace(-1, 1, len(values))[:, None]
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (network(coords) - values).square().mean()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return float(10 * torch.log10(4 / (network(coords) - values).square().mean()))


def main() -> None:
    """Fit each network from each start, then tabulate."""
    arguments = tyro.cli(Arguments, description=__doc__)
    try:
        sound = load_audio(arguments.data, AudioOptions(start=arguments.start, max_samples=arguments.max_samples))
    except SignalError as error:
        sys.exit(f"error: {error}")
    values = torch.as_tensor(sound.values, dtype=torch.float32)
    width, layers, channels = arguments.hidden_dim, arguments.num_layers, values.shape[1]
    networks: dict[str, Callable[[], nn.Module]] = {
        "our Siren": lambda: Siren(1, channels, width, layers),
        "siren-pytorch, w0=30": lambda: SirenNet(1, width, channels, layers, w0=30.0),
        "siren-pytorch, w0=30, w0_initial=3000": lambda: SirenNet(
            1, width, channels, layers, w0=30.0, w0_initial=3000.0
        ),
        "siren-pytorch, w0=1 (its default)": lambda: SirenNet(1, width, channels, layers),
    }
    starts: dict[str, dict[str, bool] | None] = {
        "as it is made": None,
        "with `winner_init_`": {},
        "with `reinitialize=False`": {"reinitialize": False},
    }
    lines = [f"| network | {' | '.join(starts)} |", "|---" * (len(starts) + 1) + "|"]
    for name, make in networks.items():
        cells = []
        for start, options in starts.items():
            results = []
            for seed in range(arguments.seeds):
                torch.manual_seed(seed)
                network = make()
                if options is not None:
                    winner_init_(network, target=values, schedule=NoiseSchedule.reference(), seed=seed, **options)
                results.append(fit(network, values, arguments.steps, arguments.learning_rate))
                print(f"{name}, {start}, seed {seed}: {results[-1]:.2f} dB", flush=True)
            spread = f" ± {stdev(results):.1g}" if len(results) > 1 else ""
            cells.append(f"{mean(results):.2f}{spread}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    table = "\n".join(lines) + "\n"
    print(f"\n{sound.name}, {len(values):,} samples, {arguments.steps} steps, dB:\n\n{table}")
    if arguments.output is not None:
        arguments.output.write_text(table)


if __name__ == "__main__":
    main()
