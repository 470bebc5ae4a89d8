"""Fields out of a run's checkpoints, without nerfstudio and without the data that they were fitted to."""

import json
import math
import pickle
from pathlib import Path
from typing import Any

import torch

from ..version import __version__
from .field import Field
from .fitted import FittedField

CHECKPOINT_FOLDER = "nerfstudio_models"
_FIELD, _PROGRESS = "_model.field.", "_model._extra_state"


class CheckpointError(ValueError):
    """A run without a usable checkpoint; the message names the file, the fault and the remedy."""


def checkpoint_steps(folder: Path) -> list[int]:
    """Steps of the checkpoints ``step-NNN.ckpt`` in a folder, ascending; other files are passed over."""
    numbers = (path.stem.removeprefix("step-") for path in folder.glob("step-*.ckpt"))
    return sorted(int(number) for number in numbers if number.isdigit())


def load_run(config: Path) -> Field:
    """The field of the last checkpoint beside a run's ``config.yml``; only the checkpoint is read.

    The run's folder may have been moved, and its data may be gone.

    Raises:
        CheckpointError: no such run, no checkpoint, or one that cannot be read.
    """
    return load_fitted(config).field


def load_fitted(config: Path) -> FittedField:
    """As `load_run`, in the world's units, with where it comes from: the run's noise, steps, time and metrics."""
    if not config.is_file():
        raise CheckpointError(f"{config}: no such file; --load-config takes the config.yml that a run has written")
    folder = config.parent / CHECKPOINT_FOLDER
    steps = checkpoint_steps(folder)
    if not steps:
        raise CheckpointError(f"{folder}: no checkpoint step-*.ckpt there; has the run saved one yet?")
    path = folder / f"step-{steps[-1]:09d}.ckpt"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)["pipeline"]
        field = Field.from_state_dict(state, _FIELD)
        progress = state.get(_PROGRESS, {})
        return FittedField(field, provenance(progress, steps[-1] + 1, _metrics(config)))
    except (OSError, RuntimeError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: not a whole checkpoint of this program ({reason})") from error


def provenance(progress: dict[str, Any], steps: int, metrics: dict[str, float]) -> dict[str, Any]:
    """What a field file tells of where its field comes from.

    Args:
        progress: ``init``, what was chosen in words; ``noise``, the same by name, or None; ``seconds`` of training.
        steps: of training.
        metrics: of the fit.
    """
    return {
        "program": f"winner-nerfstudio {__version__}",
        "initialization": progress.get("init", "unknown"),
        "noise": progress.get("noise"),
        "steps": steps,
        "seconds": progress.get("seconds"),
        "metrics": metrics,
    }


def _metrics(config: Path) -> dict[str, float]:
    """Those that the run has left beside its config; none where it hasn't come to its end."""
    try:
        metrics = json.loads((config.parent / "metrics.json").read_text("utf8"))
        return {str(name): float(value) for name, value in metrics.items() if math.isfinite(value)}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
