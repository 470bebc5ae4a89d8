"""Fields out of a run's checkpoints, without nerfstudio and without the data that they were fitted to."""

import pickle
from pathlib import Path

import torch

from .field import Field

CHECKPOINT_FOLDER = "nerfstudio_models"
_PREFIX = "_model.field."


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
    if not config.is_file():
        raise CheckpointError(f"{config}: no such file; --load-config takes the config.yml that a run has written")
    folder = config.parent / CHECKPOINT_FOLDER
    steps = checkpoint_steps(folder)
    if not steps:
        raise CheckpointError(f"{folder}: no checkpoint step-*.ckpt there; has the run saved one yet?")
    path = folder / f"step-{steps[-1]:09d}.ckpt"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)["pipeline"]
        return Field.from_state_dict(state, _PREFIX)
    except (OSError, RuntimeError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: not a whole checkpoint of this program ({reason})") from error
