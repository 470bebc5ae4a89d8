"""Loading of fields from a run's checkpoints, without nerfstudio and without the data that they were fitted to."""

import contextlib
import json
import math
import os
import re
import time
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ..signals.messages import MessageError, shorten
from ..storage import AnyPath, RemotePath
from ..version import __version__
from .field import Field
from .file import load_field
from .fitted import FittedField

CHECKPOINT_FOLDER = "nerfstudio_models"
FIELD = "_model.field."
"""What the names of a field's entries begin with in the pipeline of a checkpoint."""
COMPANION = "_model.companion."
"""The same of the field that was fitted beside it, if there is one."""
_PROGRESS = "_model._extra_state"
_NAME = re.compile(r"step-([0-9]{9,18})\.ckpt")
_TRIES = 20
"""How often the newest checkpoint is looked for again because a run has just replaced it by another one."""
_WAIT = 0.01
"""Seconds before it is looked for again where a listing shows none."""


class CheckpointError(MessageError):
    """The error for a run without a usable checkpoint; the message names the file, the fault and the remedy."""


def checkpoint_steps(folder: Path) -> list[int]:
    """Return the steps of the checkpoints ``step-NNN.ckpt`` in a folder, ascending; other files are ignored."""
    names = (_NAME.fullmatch(path.name) for path in folder.glob("step-*.ckpt"))
    return sorted(int(name[1]) for name in names if name)


def load_run(config: Path) -> Field:
    """Load the field of the last checkpoint beside a run's ``config.yml``; only the checkpoint is read.

    The run's folder may have been moved, its data may be gone, and the run may still be saving.

    Raises:
        CheckpointError: there is no such run, no checkpoint, or the checkpoint cannot be read.
    """
    return load_fitted(config).field


def load_fit(path: AnyPath) -> FittedField:
    """Load a fit from a run's folder, its ``config.yml``, a field file or the folder of a fit in groups.

    Raises:
        CheckpointError: there is no such run, no checkpoint, or the checkpoint cannot be read.
        FieldFileError: there is no such file or folder, or it is truncated, altered or holds no field.
        StorageError: the storage behind a URL cannot be reached.
    """
    if isinstance(path, Path) and (path / "config.yml").is_file():
        path = path / "config.yml"
    if isinstance(path, RemotePath) or path.is_dir() or path.suffix.lower() == ".safetensors":
        return load_field(path)
    return load_fitted(path)


def load_fitted(config: Path) -> FittedField:
    """Load a field as `load_run` does, as a function in the world's units, together with its provenance.

    Raises:
        CheckpointError: there is no such run, no checkpoint, or the checkpoint cannot be read.
    """
    if not config.is_file():
        raise CheckpointError(
            f"{config}: no such file; --load-config takes the config.yml of a run, a .safetensors file, or a folder of"
            " groups"
        )
    if config.suffix.lower() not in (".yml", ".yaml"):
        raise CheckpointError(f"{config}: holds no field; a run's config.yml does, or a .safetensors file")
    path, state = _read_newest(config.parent / CHECKPOINT_FOLDER)
    if not {f"{FIELD}_extra_state", f"{FIELD}center"} & state["pipeline"].keys():
        raise CheckpointError(
            f"{config}: is a run on photographs, or by another method, which is exported by ns-export and judged by"
            " ns-eval"
        )
    try:
        field = Field.from_state_dict(state["pipeline"], FIELD)
        companion = load_companion(state["pipeline"])
        progress = check_progress(state["pipeline"].get(_PROGRESS, {}))
    except ValueError as error:
        raise CheckpointError(f"{path}: not a whole checkpoint of this program ({shorten(error, 200)})") from error
    return FittedField(field, provenance(progress, state["step"] + 1, _read_metrics(config)), companion)


def load_companion(pipeline: dict[str, Any]) -> Field | None:
    """Rebuild the field that was fitted beside a run's field, see `Kind.companion`; None if there is none.

    Raises:
        ValueError: it is not whole, or was altered; the message is one line.
    """
    if not any(str(name).startswith(COMPANION) for name in pipeline):
        return None
    return Field.from_state_dict(pipeline, COMPANION)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU, without executing code in it; `pipeline` is a dict, and `step` a count.

    The file's check sums are checked, which torch does not do.

    Raises:
        CheckpointError: it is truncated, damaged or no checkpoint.
        FileNotFoundError: there is no such file.
    """
    try:
        # Opened only once, because a run that still saves may delete it meanwhile.
        with path.open("rb") as file:
            _check_archive(file)
            file.seek(0)
            state = torch.load(file, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or not isinstance(state.get("pipeline"), dict):
            raise ValueError("it holds no pipeline")
        if type(state.get("step")) is not int or not 0 <= state["step"] < 10**18:
            raise ValueError(f"its step is {str(state.get('step'))[:40]}")
    except FileNotFoundError:
        raise
    except Exception as error:  # torch's reader fails in many ways
        raise CheckpointError(f"{path}: not a whole checkpoint of this program ({shorten(error, 200)})") from None
    return state


def check_progress(progress: object) -> dict[str, Any]:
    """Check the progress of a run as its checkpoint keeps it, and return it.

    Args:
        progress: if present, ``seconds``, ``points``, ``init`` in words, ``noise`` as a dict or None, ``best`` [value,
            step] by metric, and ``history``, a list of step, loss and metrics by name.

    Raises:
        ValueError: an entry is of another type.
    """
    if not isinstance(progress, dict):
        raise ValueError("its progress is not a dict")
    for name in ("seconds", "points"):
        if not (is_number(progress.get(name, 0)) and 0 <= progress.get(name, 0) < math.inf):
            raise ValueError(f"its progress has {name}={str(progress[name])[:40]}")
    noise, best, history = (progress.get(name) or {} for name in ("noise", "best", "history"))
    try:
        json.dumps(noise, allow_nan=False)
        right = isinstance(noise, dict) and isinstance(progress.get("init", ""), str)
        right &= all(is_number(part) for pair in best.values() for part in pair) and _names(best)
        right &= all(len(pair) == 2 for pair in best.values())
        for step, loss, metrics in history:
            right &= is_number(step) and is_number(loss) and _names(metrics) and all(map(is_number, metrics.values()))
    except (TypeError, ValueError, AttributeError, RecursionError):
        right = False
    if not right:
        raise ValueError("its progress is not that of a run")
    return progress


def is_number(value: object) -> bool:
    """Return whether a value is a number, an integer of at most 63 bits or a float; True is none."""
    return isinstance(value, float) or (type(value) is int and abs(value) < 1 << 63)


def select_numbers(values: object) -> dict[str, float]:
    """Return the numbers by name in what a file holds as its metrics; anything else is left out."""
    entries = values.items() if isinstance(values, dict) else ()
    return {str(name): float(value) for name, value in entries if is_number(value)}


def _names(values: dict[str, Any]) -> bool:
    """Return whether all keys are texts."""
    return all(isinstance(name, str) for name in values)


def _read_newest(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Read the newest checkpoint in a folder; a run that still saves may replace it meanwhile by a newer one.

    A listing that is taken while the run replaces the checkpoint may hold neither the old one nor the new one.
    """
    for _ in range(_TRIES):
        if steps := checkpoint_steps(folder):
            path = folder / f"step-{steps[-1]:09d}.ckpt"
            with contextlib.suppress(FileNotFoundError):
                return path, read_checkpoint(path)
        time.sleep(_WAIT)
    raise CheckpointError(f"{folder}: no checkpoint step-*.ckpt there; has the run saved one yet?")


def _check_archive(file: BinaryIO) -> None:
    """Check that a checkpoint is an archive whose parts are neither compressed nor damaged.

    Raises:
        ValueError: it is not.
    """
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        compressed = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
        if compressed or sum(part.file_size for part in parts) > os.fstat(file.fileno()).st_size:
            raise ValueError("it unpacks to more than it is")
        if damaged := archive.testzip():
            raise ValueError(f"its part {damaged[:60]!r} is damaged")


def provenance(progress: dict[str, Any], steps: int, metrics: dict[str, float]) -> dict[str, Any]:
    """Return the provenance that is kept with a field.

    Args:
        progress: ``init``, the initialisation in words; ``noise``, its noise scales by name, or None; ``seconds``, the
            time of training; ``history``, the monitored metrics during the run.
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
        "history": [entry for entry in (progress.get("history") or []) if _is_finite(entry)],
    }


def _is_finite(entry: list[Any]) -> bool:
    """Return whether an entry of a run's history holds finite numbers only, which JSON can write."""
    _, loss, metrics = entry
    return all(math.isfinite(value) for value in (loss, *metrics.values()))


def _read_metrics(config: Path) -> dict[str, float]:
    """Return the metrics that the run wrote beside its config, or none if it has not ended."""
    try:
        metrics = json.loads((config.parent / "metrics.json").read_text("utf8"))
        return {str(name): float(value) for name, value in metrics.items() if math.isfinite(value)}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
