"""Whether a fit has failed, or needs more steps, and what to try then."""

from dataclasses import dataclass
from typing import Any

from ..metrics.descriptions import name_metric
from ..registry import Kind
from .watch import Entry

POOR_FIT = 3
"""The exit status of a command whose fit has failed or still improved fast when its steps ended."""
INTERRUPTED = 130
"""The exit status of a command that was interrupted."""


@dataclass(frozen=True)
class Verdict:
    """What is wrong with a fit.

    Attributes:
        failed: whether the fit has learnt nothing worth keeping; if not, it only needs more steps.
        text: what is wrong and what to try, in one line.
    """

    failed: bool
    text: str


def judge(kind: Kind, signal: Any, metrics: dict[str, float], history: list[Entry]) -> Verdict | None:
    """Return what is wrong with a fit, or None if nothing is.

    A fit has failed if it does not exceed the baseline of its kind, see `Kind.baseline`: the target's mean by one
    decibel, 30 dB for a constant target, or for a solid an intersection over union of a half. It needs more steps if
    the kind's curve metric is not good yet and has gained much in the second half of the steps.

    Args:
        kind: kind of the signal.
        signal: the target.
        metrics: metrics of the fit, the infinite ones included.
        history: the monitored metrics during the run.
    """
    baseline = kind.baseline(signal)
    if baseline is None:
        return None
    value, name = metrics.get(baseline.metric), name_metric(baseline.metric)
    if value is None or not value > baseline.least:
        reached = f"the fit failed: it {baseline.words}" + (f" ({name} {value:.4g})" if value is not None else "")
        return Verdict(True, f"{reached}; try a lower learning rate, more steps, or another exactness")
    watched = baseline.curve or kind.metric_names.curve
    curve = [(step, entry[watched]) for step, _, entry in history if watched in entry]
    before = [value for step, value in curve if step <= curve[-1][0] / 2]
    if not before or curve[-1][1] >= baseline.good or curve[-1][1] - before[-1] < baseline.rise:
        return None
    gain = curve[-1][1] - before[-1]
    return Verdict(
        False,
        f"the fit still improved fast when its steps ended: {name_metric(watched)} {curve[-1][1]:.4g}, {gain:.2g} more"
        " than after half of them; try more steps",
    )
