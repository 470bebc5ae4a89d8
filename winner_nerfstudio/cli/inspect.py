"""Look at a file before fitting it: what is seen in it, the noise that would be used, and how long a run would take."""

import sys
import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import tyro

from ..signals.load import kind_of

if TYPE_CHECKING:
    from ..nerfstudio.run.pipeline import SignalPipeline

Method = Literal["winner-sdf", "winner-image", "winner-audio", "winner-volume"]

STEPS, SECONDS = 3, 2.0
"""Of training that the estimate is taken from: at least so many, and as many as fit into that time."""


@dataclass
class Inspect:
    """Say what a file holds as a target, and how it would be fitted."""

    file: tyro.conf.Positional[Path]
    """A mesh, points, a picture, a sound, an array, or sample:NAME."""
    method: Method | None = None
    """What would fit it; told by the file if left out."""
    sign: Literal["auto", "watertight", "winding", "unsigned"] = "auto"
    """Of a mesh: how inside and outside are told apart."""

    def run(self) -> list[str]:
        """What there is to say, a line each.

        Raises:
            SystemExit: the file cannot be fitted, said in one line.
        """
        import torch

        from ..nerfstudio.config import methods
        from ..nerfstudio.quiet import quiet_libraries

        method = self.method or method_of(self.file)
        config = deepcopy(getattr(methods, method.replace("-", "_")).config)
        data = config.pipeline.datamanager
        data.data = self.file
        if method == "winner-sdf":
            data.dataparser.sign = self.sign
        quiet_libraries()
        torch.manual_seed(config.machine.seed)
        device = config.machine.device_type
        pipeline = config.pipeline.setup(device=device, test_mode="val", world_size=1, local_rank=0)
        signal, model = pipeline.datamanager.signal, pipeline.signal_model
        parameters = sum(parameter.numel() for parameter in model.field.parameters())
        steps, points = config.max_num_iterations, pipeline.datamanager.get_train_rays_per_batch()
        minutes = steps * seconds_per_step(pipeline) / 60
        network = config.pipeline.model
        return [
            *signal.describe(),
            *(f"{name}: {value}" for name, value in signal.facts().items()),
            f"initialisation: {model.progress['init']}",
            f"ns-train {method}: {network.num_layers} layers of {network.hidden_dim}, {parameters:,} parameters,"
            f" {steps:,} steps of {points:,} points; about {minutes:.2g} minutes of training here ({device})",
        ]


def seconds_per_step(pipeline: "SignalPipeline") -> float:
    """How long a step takes here, the drawing of points left out."""
    import torch

    optimizer = torch.optim.Adam(pipeline.signal_model.field.parameters())
    times: list[float] = []
    while len(times) < STEPS or sum(times) < SECONDS:
        # The first batch is waited for; later ones are drawn meanwhile.
        pipeline.datamanager.next_train(len(times))
        start = time.perf_counter()
        _, losses, _ = pipeline.get_train_loss_dict(len(times))
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def method_of(file: Path) -> str:
    """The method that fits a file of that name and, if it is an array, of that shape.

    Raises:
        ValueError: none does.
    """
    return f"winner-{kind_of(file)}"


def main() -> None:
    """Entry point of ``winner-inspect``; status 1 and one line where a file cannot be fitted."""
    command = tyro.cli(Inspect, prog="winner-inspect", description=__doc__)
    try:
        print(*command.run(), sep="\n")
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
