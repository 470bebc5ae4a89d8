"""The state of a run that is under way, kept in a file so that a long run goes on where it was stopped."""

import json
import time
from pathlib import Path

import torch
from torch import Tensor

from ..files import replacing
from ..training.loop import Training
from .clock import Clock

INTERVAL = 300.0
"""Seconds between two writings of the state; what was done since the last one is lost when a run is stopped."""


class InterruptedRun:
    """Keeps the state of a run's training in a file, from which the same run goes on.

    The batches and the learning rate are functions of the step, so that a run of so many steps that goes on ends as one
    that was never stopped.

    Args:
        path: The file; it is there only while the run is not finished.
        specification: All that the run's outcome depends on, as text. A file of another specification is not read.
        training: The training, whose state is kept and restored in place.
        clock: The clock of the training, likewise.
        began: When the run began, by `time.perf_counter`.
    """

    def __init__(self, path: Path, specification: str, training: Training, clock: Clock, began: float) -> None:
        self.path, self._specification = path, specification
        self._training, self._clock = training, clock
        self._began, self._saved = began, time.perf_counter()

    @property
    def wall(self) -> float:
        """The seconds since the run began, without those between its stop and its going on."""
        return time.perf_counter() - self._began

    def restore(self) -> tuple[list[dict[str, float]], list[Tensor]]:
        """Set the training and the clock to the kept state.

        Returns:
            The curve and the losses until then; two empty lists where no state of this run is kept, or not a whole one.
        """
        device = self._training.loss.device
        try:
            state = torch.load(self.path, map_location=device, weights_only=True)
            if state["specification"] != self._specification:
                return [], []
        except Exception:  # torch raises nearly anything for a file that is missing, cut off or another one
            return [], []
        self._training.load_state_dict(state["training"])
        self._clock.load_state_dict(state["clock"])
        self._began -= state["wall"]
        return json.loads(state["curve"]), list(state["losses"])

    def save(self, curve: list[dict[str, float]], losses: list[Tensor]) -> None:
        """Write the state, if it was last written some minutes ago."""
        if time.perf_counter() - self._saved < INTERVAL:
            return
        state = {
            "specification": self._specification,
            "training": self._training.state_dict(),
            "clock": self._clock.state_dict(),
            "wall": self.wall,
            "curve": json.dumps(curve),
            "losses": torch.stack(losses),
        }
        with replacing(self.path) as temporary:
            torch.save(state, temporary)
        self._saved = time.perf_counter()

    def remove(self) -> None:
        """Remove the file, after the run's record has been written."""
        self.path.unlink(missing_ok=True)
