"""Seconds that a frame of a fitted shape takes, by output: the best and the median of several, on so many threads.

The grid that knows empty space is kept while nothing changes, as in ns-viewer, or made anew, as after a training step.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro


@dataclass
class Arguments:
    """What to measure."""

    load_config: tyro.conf.Positional[Path]
    """The run's config.yml; from the folder where it was started."""
    size: int = 512
    """Width and height, pixels."""
    repeats: int = 7
    """Of which the best and the median are told."""
    threads: int = 2
    """Of torch."""


def main() -> None:
    """Load, render, tell."""
    arguments = tyro.cli(Arguments, description=__doc__)
    from nerfstudio.utils.eval_utils import eval_setup

    torch.set_num_threads(arguments.threads)
    _, pipeline, _, _ = eval_setup(arguments.load_config)
    model, camera = pipeline.model, pipeline.datamanager.next_eval_image(0)[0].to(pipeline.device)
    camera.rescale_output_resolution(arguments.size / int(camera.height[0]))
    for name in ("rgb", "normals", "depth", "target", "error", "sdf-slice"):
        for kept in (True, False):
            seconds = []
            for _ in range(arguments.repeats):
                if not kept:
                    model._grid = None
                start = time.perf_counter()
                outputs = model.get_outputs_for_camera(camera)
                outputs[name].cpu()
                seconds.append(time.perf_counter() - start)
            covered = float(outputs["accumulation"].mean())
            how = "grid kept" if kept else "grid new "
            best, median = min(seconds), sorted(seconds)[len(seconds) // 2]
            print(f"{name:<10} {how}  best {best:.2f} s, median {median:.2f} s; {covered:.0%} of the frame covered")


if __name__ == "__main__":
    main()
