"""Load a signal of any kind by the names that its options have on the command line."""

from typing import Any

from ..registry import kind_named
from .signal import Signal


def load_signal(data: Any, kind: str, **options: Any) -> Signal:
    """Load and check a signal.

    Args:
        data: a file's path, ``sample:NAME``, an array, or for shapes a mesh of trimesh's.
        kind: "sdf", "image", "audio", "volume", or the name of a kind that another package has registered.
        options: fields of the kind's options, such as ``max_side`` of an image; see `winner_nerfstudio.signals.options`
            for all.

    Returns:
        The signal, normalised to [-1, 1]^d.

    Raises:
        ValueError: there is no such kind, or the data cannot be used, in one line.
        TypeError: the kind has no such option.
    """
    known = kind_named(kind)
    return known.load(data, known.options(**options))
