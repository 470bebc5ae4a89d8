"""The metrics of a fit together with those of what is fitted beside it."""

from typing import Any

from ..fields import Field
from ..registry import Kind, Monitor, kind_named
from ..signals.signal import Signal


def measure(kind: Kind, field: Field, signal: Signal, options: Any, beside: Field | None) -> dict[str, float]:
    """Compute the metrics of a field, and those of its companion if there is one, see `Kind.companion`.

    Args:
        kind: kind of the signal.
        field: the field that was fitted to it.
        signal: the target.
        options: an instance of `Kind.network`.
        beside: the companion's field.
    """
    metrics, companion = kind.metrics(field, signal, options), kind.companion(signal)
    if companion is None or beside is None:
        return metrics
    return metrics | kind_named(companion.kind).metrics(beside, companion, options)


def build_monitor(kind: Kind, signal: Signal, beside: Field | None) -> Monitor:
    """Return the metrics that are computed during a run, those of the companion's field among them; see `measure`."""
    monitor, companion = kind.monitor(signal), kind.companion(signal)
    if companion is None or beside is None:
        return monitor
    more = kind_named(companion.kind).monitor(companion)
    return Monitor(monitor.points + more.points, lambda field: monitor.metrics(field) | more.metrics(beside))
