"""Checks of the numbers that a user gives."""

from math import inf, nan
from typing import Any

MOST = 1e30
"""The greatest scale or factor of weights; single precision ends soon above it."""


def read_number(name: str, value: Any, most: float = MOST) -> float:
    """Return a number of any type as Python's own.

    Args:
        name: What the message calls it.
        value: The number, which may also be an array or a tensor without axes.
        most: The greatest that is allowed; the least is 0.

    Raises:
        ValueError: It is none, or not within these.
    """
    number = _convert(value)
    if not 0 <= number <= most:
        bounds = f"be finite and not negative, at most {most:g}" if most == MOST else f"lie in [0, {most:g}]"
        raise ValueError(f"{name}={value!r} must {bounds}")
    return number


def read_positive(name: str, value: Any) -> float:
    """Return a positive, finite number as Python's own; as `read_number`."""
    number = _convert(value)
    if not 0 < number < inf:
        raise ValueError(f"{name}={value!r} must be a number, positive and finite")
    return number


def read_count(name: str, value: Any) -> int:
    """Return a whole number of at least 1 as Python's own; as `read_number`."""
    number = _convert(value)
    if not (1 <= number < inf and number.is_integer()):
        raise ValueError(f"{name}={value!r} must be a whole number, at least 1")
    return int(number)


def _convert(value: Any) -> float:
    """Return a number; NaN for anything else."""
    if isinstance(value, (str, bytes, bool)):
        return nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # a tensor of several numbers raises the last
        return nan
