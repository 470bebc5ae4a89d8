"""Look at a file before fitting it: what it holds, the noise that would be used, and how long a run would take."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from ..training.prepare import FitOptions
from .kinds import parse

STEPS, SECONDS = 3, 2.0
"""Of training, from which the time is estimated: at least so many steps, and as many as fit into so many seconds."""
SEED = 42


@dataclass
class Inspect:
    """Say what a file holds as a target, and how it would be fitted.

    The options of the file's kind may follow: winner-inspect FILE --help lists them.
    """

    file: tyro.conf.Positional[Path]
    """A mesh, points, a picture, a sound, an array, or sample:NAME."""
    kind: str | None = None
    """Kind of signal: sdf, image, audio, volume or another; if left out, the file or the array's shape says it."""

    def run(self, options: FitOptions) -> list[str]:
        """Return what there is to say, a line each.

        Raises:
            ValueError: the file cannot be fitted, in one line.
        """
        from ..training.initialize import build_field, describe_initialization, initialize_
        from ..training.prepare import check_run

        kind, network, batches = options.kind, options.network, options.batches
        device = check_run(1, 1.0, SEED, None)
        signal = kind.load(str(self.file), options.data)
        sampler = batches.sampler(signal, device, SEED)
        sampler.start()
        field = build_field(signal, network, SEED)
        initialization = describe_initialization(initialize_(field, signal, network, SEED), network)
        field.to(device)
        steps, parameters = kind.recipe.steps, sum(parameter.numel() for parameter in field.parameters())
        minutes = steps * seconds_per_step(field, sampler, kind.loss(signal, network)) / 60
        return [
            *signal.describe(),
            *(f"{name}: {value}" for name, value in signal.facts().items()),
            f"initialisation: {initialization['init']}",
            f"ns-train {kind.method}: {network.num_layers} layers of {network.hidden_dim}, {parameters:,} parameters,"
            f" {steps:,} steps of {sampler.batch_size:,} points; about {minutes:.2g} minutes of training here"
            f" ({device})",
        ]


def seconds_per_step(field: Any, sampler: Any, loss: Any) -> float:
    """Measure how long a step takes here, without the drawing of points, which goes on beside it."""
    from ..training.loop import Training

    training = Training(field, sampler, loss, 1e-4, lambda step: 1.0)
    times: list[float] = []
    while len(times) < STEPS or sum(times) < SECONDS:
        sampler.batch(len(times))  # the first is waited for; later ones are drawn meanwhile
        start = time.perf_counter()
        training.step()
        float(training.loss)  # waits for the device
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def main() -> None:
    """Run ``winner-inspect``; end with status 1 and one line where a file cannot be fitted."""
    try:
        command, options = parse(Inspect, "winner-inspect", __doc__ or "", lambda command: command.file)
        print(*command.run(options), sep="\n")
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
