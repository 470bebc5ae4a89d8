"""Describe a file before fitting it: its content, the noise that would be used, and how long a run would take."""

import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tyro
from rich.console import Console

from ..progress import describe_time, working
from ..signals.messages import escape
from .kinds import parse_command, parse_fit_options
from .start import running

if TYPE_CHECKING:
    from ..training.initialize import Start
    from ..training.prepare import FitOptions

PROGRAM = "winner-inspect"
STEPS, SECONDS = 3, 2.0
"""Least number of training steps and least time in seconds from which the duration of a run is estimated."""
SEED = 42
"""The seed that `fit` and ``ns-train`` use by default."""


@dataclass
class Inspect:
    """Describe a file as the target of a fit, and how it would be fitted.

    Any option of a fit of the file's kind may follow, such as --size and --parts, and the description is of a fit with
    these: winner-inspect FILE --help lists them.
    """

    file: tyro.conf.Positional[Path]
    """A mesh, points, a picture, a sound, an array, or sample:NAME."""
    kind: str | None = None
    """Kind of signal: sdf, image, audio, volume or another; if left out, it is found from the file's name or the
    array's shape."""

    def run(self, options: "FitOptions") -> list[str]:
        """Return the lines of the description.

        Raises:
            ValueError: the file cannot be fitted; the message is one line.
        """
        kind, console = options.kind, Console(stderr=True)
        with working(console, f"loading {self.file}"):
            from ..results import describe_size
            from ..training.initialize import start
            from ..training.plan import Course, make_plan
            from ..training.prepare import find_device

            device = find_device(None)
            signal = kind.load(str(self.file), options.data)
        plan = make_plan(signal, options, Course(seed=SEED))
        with working(console, "initialising"):
            network, started = plan.options.network, start(signal, plan.options, device, plan.seed)
        with working(console, "measuring the time of a step"):
            seconds = plan.steps * seconds_per_step(started, plan.optimizer)
        return [
            *signal.describe(),
            *(f"{name}: {value}" for name, value in signal.facts().items()),
            *filter(None, [plan.note]),
            f"initialisation: {started.initialization['init']}",
            f"network: {network.num_layers} layers of {network.width}, "
            + describe_size(started.field, started.companion_field, str(self.file)),
            f"winner-fit or ns-train {kind.method}: {plan.steps:,} steps of {started.sampler.batch_size:,} points;"
            f" about {describe_time(seconds)} of training here ({device})",
        ]


def seconds_per_step(started: "Start", optimizer: str) -> float:
    """Measure the median time of a training step on this machine.

    Drawing points is not included, because a thread does that meanwhile.
    """
    from ..training.loop import Training

    training = Training(started, 1e-4, lambda step: 1.0, optimizer)
    times: list[float] = []
    while len(times) < STEPS or sum(times) < SECONDS:
        started.sampler.batch(len(times))  # not timed: only the first batch is waited for, others are drawn meanwhile
        start = time.perf_counter()
        training.step()
        float(training.loss)  # waits until the device has finished the step
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def main() -> None:
    """Run ``winner-inspect``; end with status 1 and a message of one line if the file cannot be fitted."""
    with running():
        command, kind, rest = parse_command(Inspect, PROGRAM, __doc__ or "", lambda command: command.file)
        others = [each.name for each in fields(Inspect)]
        options = parse_fit_options(kind, f"{PROGRAM} {command.file}", rest, others)
        print(*map(escape, command.run(options)), sep="\n")


if __name__ == "__main__":
    main()
