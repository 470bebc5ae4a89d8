"""Work on the field between two training steps."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any


def hold_training(viewer: Any) -> AbstractContextManager[Any]:
    """Return a context in which no training step changes the field that a viewer shows."""
    return nullcontext() if viewer.train_lock is None else viewer.train_lock
