"""Loading of fields from a run's checkpoints, without nerfstudio and without the data that they were fitted to."""

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
    """The error for a run without a usable checkpoint; the message names the file, the fault and the remedy."""


def checkpoint_steps(folder: Path) -> list[int]:
    """Return the steps of the checkpoints ``step-NNN.ckpt`` in a folder, ascending; other files are ignored."""
    stems = (path.stem.removeprefix("step-") for path in folder.glob("step-*.ckpt"))
    return sorted(int(stem) for stem in stems if stem.isdigit())


def load_run(config: Path) -> Field:
    """Load the field of the last checkpoint beside a run's ``config.yml``; only the checkpoint is read.

    The run's folder may have been moved, and its data may be gone.

    Raises:
        CheckpointError: there is no such run, no checkpoint, or the checkpoint cannot be read.
    """
    return load_fitted(config).field


def load_fitted(config: Path) -> FittedField:
    """Load a field as `load_run` does, as a function in the world's units, together with its provenance.

    Raises:
        CheckpointError: there is no such run, no checkpoint, or the checkpoint cannot be read.
    """
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
        return FittedField(field, provenance(progress, steps[-1] + 1, _read_metrics(config)))
    except (OSError, RuntimeError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: not a whole checkpoint of this program ({reason})") from error


def provenance(progress: dict[str, Any], steps: int, metrics: dict[str, float]) -> dict[str, Any]:
    """Return the provenance that is kept with a field.

    Args:
        progress: ``init``, the initialisation in words; ``noise``, its noise scales by name, or None; ``seconds``, the
            time of training.
        steps: count of training steps.
        metrics: the metrics of the fit.
    """
    return {
        "program": f"winner-nerfstudio {__version__}",
        "initialization": progress.get("init", "unknown"),
        "noise": progress.get("noise"),
        "steps": steps,
        "seconds": progress.get("seconds"),
        "figures": metrics,
    }


def _read_metrics(config: Path) -> dict[str, float]:
    """Return the metrics that the run wrote beside its config, or none if it has not ended."""
    try:
        metrics = json.loads((config.parent / "metrics.json").read_text("utf8"))
        return {str(name): float(value) for name, value in metrics.items() if math.isfinite(value)}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
