"""Tables of an experiment: means and standard deviations over seeds, as CSV and Markdown."""

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import geometric_mean, mean, stdev
from typing import Any

from ..files import replacing
from ..metrics.descriptions import BEST_IS_ONE, describe_metric
from ..registry import kind_named
from .config import MEAN, Experiment
from .runs import PAPER, Done, Record

REACH, SECONDS = "steps to", "seconds"
DECIMALS = {
    "iou": 5,
    "iou_held_out": 5,
    "best_iou": 5,
    "chamfer_l1": 6,
    "chamfer_l2": 6,
    "normal_consistency": 4,
    "f_score_0.5%": 5,
    "f_score_1%": 5,
    "sdf_error_near": 5,
    "sdf_error_far": 5,
    "distance_to_target": 6,
    "distance_to_fit": 6,
    "ssim": 4,
    "steps": 0,
    SECONDS: 1,
}
"""Decimals of what isn't in decibels."""
Records = dict[tuple[str, str], list[Record]]
"""The records of the seeds, by signal and variant."""
Row = dict[str, Any]
"""A row of a table: ``signal``, ``variant``, ``runs``, and a `Summary` for each other column."""


@dataclass(frozen=True)
class Summary:
    """Values over the seeds.

    Attributes:
        mean: The mean of the finite ones; infinity if none is finite, NaN if there are none.
        spread: Their standard deviation; NaN of a single value.
        count: Of how many that is.
        exact: How many more are infinite, as of exact fits.
    """

    mean: float
    spread: float
    count: int
    exact: int = 0


def group_records(done: Done) -> Records:
    """Return the records of runs by signal and variant."""
    records: Records = {}
    for run, record in done:
        records.setdefault((run.signal, run.variant), []).append(record)
    return records


def summarize(values: Iterable[float]) -> Summary:
    """Return the mean and the sample's standard deviation of the finite values; infinity if all others are NaN."""
    known = [value for value in values if not math.isnan(value)]
    finite = [value for value in known if math.isfinite(value)]
    if not finite:
        return Summary(math.inf if known else math.nan, math.nan, len(known))
    spread = stdev(finite) if len(finite) > 1 else math.nan
    return Summary(mean(finite), spread, len(finite), len(known) - len(finite))


def summarize_metric(records: list[Record], name: str) -> Summary:
    """Return a metric over the records of one signal and variant; that of an exact fit is infinite."""
    return summarize(_list_values(records, name))


def mean_of_all(records: list[Record], name: str) -> float:
    """Return the mean of a metric over the records of one signal and variant, by which variants are compared.

    It is NaN if a seed has no value, as one that diverged: the mean of the others would favour the variant. Exact fits,
    whose values are infinite, are left out unless all are.
    """
    values = _list_values(records, name)
    return math.nan if any(math.isnan(value) for value in values) else summarize(values).mean


def _list_values(records: list[Record], name: str) -> list[float]:
    """Return a metric of each record: infinity for an exact fit, NaN where there is none."""
    values = (record["metrics"] | dict.fromkeys(record.get("exact", ()), math.inf) for record in records)
    return [each.get(name, math.nan) for each in values]


def reach_column(experiment: Experiment) -> str:
    """Return the name of the column with the steps that a variant's mean curve takes to the baseline's last value."""
    return f"{REACH} {experiment.baseline}'s final"


def average_curves(records: list[Record], name: str) -> list[dict[str, float]]:
    """Return the curve of means over the seeds: ``step``, ``seconds``, ``mean`` and ``spread``, 0 of a single seed.

    A PSNR is in the convention of arXiv 2509.09719. Points at which a seed isn't finite are left out.
    """
    points = []
    for column in zip(*(record["curve"] for record in records), strict=True):
        values = [point.get(name) for point in column]
        if any(value is None for value in values):
            continue
        summary = summarize(value - PAPER * name.startswith("psnr") for value in values)
        points.append(
            {
                "step": column[0]["step"],
                "seconds": mean(point["seconds"] for point in column),
                "mean": summary.mean,
                "spread": 0.0 if math.isnan(summary.spread) else summary.spread,
            }
        )
    return points


def find_curve(experiment: Experiment, records: list[Record]) -> str:
    """Return the metric of the curves of runs."""
    watched = (name for record in records for name in record["curve"][0] if name not in ("step", "seconds"))
    return kind_named(experiment.kind).metric_names.find_curve(watched)


def find_step(curve: list[dict[str, float]], level: float) -> float:
    """Return the first step of a mean curve at or above a level; NaN if there is none."""
    return next((point["step"] for point in curve if point["mean"] >= level), math.nan)


def baseline_level(records: Records, signal: str, baseline: str | None, name: str) -> float:
    """Return the baseline's last value on a signal, the mean over its seeds.

    NaN without a baseline, or where the curve of one of its seeds ends before the last step.
    """
    if baseline is None or (signal, baseline) not in records:
        return math.nan
    curve = average_curves(records[signal, baseline], name)
    ended = bool(curve) and curve[-1]["step"] == records[signal, baseline][0]["curve"][-1]["step"]
    return curve[-1]["mean"] if ended else math.nan


def make_rows(experiment: Experiment, records: Records) -> list[Row]:
    """Return a row for each signal and variant, and one of each variant's means where there are several signals.

    Columns: the experiment's metrics, `reach_column`, and `SECONDS`.
    """
    metrics = list(experiment.metrics or kind_named(experiment.kind).metric_names.columns)
    for more in ("psnr_held_out", "psnr_target", "steps"):
        if more not in metrics and any(more in record["metrics"] for group in records.values() for record in group):
            metrics.append(more)
    rows: list[Row] = []
    for (signal, variant), group in records.items():
        row: Row = {"signal": signal, "variant": variant, "runs": len(group)}
        row |= {metric: summarize_metric(group, metric) for metric in metrics}
        if experiment.baseline is not None and experiment.seconds is None:
            name = find_curve(experiment, group)
            level = baseline_level(records, signal, experiment.baseline, name)
            row[reach_column(experiment)] = summarize([find_step(average_curves(group, name), level)])
        row[SECONDS] = summarize(record["seconds"] for record in group)
        rows.append(row)
    return rows + _average_signals(rows)


def _average_signals(rows: list[Row]) -> list[Row]:
    """Return a row of means over the signals, without a spread, for each variant that all signals have."""
    signals = {row["signal"] for row in rows}
    means: list[Row] = []
    for variant in dict.fromkeys(row["variant"] for row in rows) if len(signals) > 1 else ():
        group = [row for row in rows if row["variant"] == variant]
        if len(group) == len(signals):
            row: Row = {"signal": MEAN, "variant": variant, "runs": sum(each["runs"] for each in group)}
            for key in _summary_columns(group):
                values, count = [each[key].mean for each in group], sum(each[key].count for each in group)
                whole = all(math.isfinite(value) for value in values)
                row[key] = Summary(mean(values), math.nan, count) if whole else Summary(math.nan, math.nan, 0)
            means.append(row)
    return means


def format_csv(rows: list[Row]) -> str:
    """Return rows as CSV, each summary as ``NAME``, ``NAME std`` and ``NAME count``, in full precision."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    keys = _summary_columns(rows)
    writer.writerow(["signal", "variant", "runs", *(f"{key}{part}" for key in keys for part in ("", " std", " count"))])
    for row in rows:
        values = [value for key in keys for value in (row[key].mean, row[key].spread, row[key].count)]
        plain = ["" if math.isnan(value) else str(value) for value in values]
        writer.writerow([row["signal"], row["variant"], row["runs"], *plain])
    return out.getvalue()


def format_markdown(rows: list[Row], digits: int) -> str:
    """Return rows as a table of ``mean ± standard deviation``, and how many seeds have a value where some have none.

    Args:
        rows: The rows.
        digits: Decimals of metrics that `DECIMALS` doesn't have.
    """
    keys = _summary_columns(rows)
    lines = [_format_line(["signal", "variant", "runs", *keys]), "|---" * (len(keys) + 3) + "|"]
    for row in rows:
        cells = [_format_summary(key, row[key], row["runs"], digits) for key in keys]
        lines.append(_format_line([row["signal"], row["variant"], str(row["runs"]), *cells]))
    return "\n".join(lines) + "\n"


def format_relative(experiment: Experiment, records: Records) -> str:
    """Return a table of each variant's errors as parts of the baseline's, geometric means over the signals.

    Empty if the experiment names no metrics for it. A cell is empty where a signal or a seed lacks the
    metric.
    """
    names = [f"1 - {name}" if name in BEST_IS_ONE else name for name in experiment.relative]
    signals = list(dict.fromkeys(signal for signal, _ in records))
    lines = []
    for variant in dict.fromkeys(variant for _, variant in records) if names else ():
        cells = []
        for name in experiment.relative:
            pairs = [
                [_mean_error(records.get((signal, each), []), name) for each in (variant, str(experiment.baseline))]
                for signal in signals
            ]
            whole = all(error > 0 for pair in pairs for error in pair)
            cells.append(f"{geometric_mean(error / base for error, base in pairs):.3f}" if whole else "")
        lines.append(_format_line([variant, *cells]))
    if not lines:
        return ""
    heading = f"Errors as parts of those of {experiment.baseline}, geometric means over the signals:"
    return "\n".join([heading, "", _format_line(["variant", *names]), "|---" * (len(names) + 1) + "|", *lines]) + "\n"


def format_best(experiment: Experiment, records: Records) -> str:
    """Return, for each metric of `Experiment.best`, a table of each group's best variant on every signal by it.

    A cell has all these metrics, means over the seeds, and the variant's name without that of its group; it is empty
    where no variant has them for all seeds. The last column has the means over the signals.
    """
    signals = list(dict.fromkeys(signal for signal, _ in records))
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(variant for _, variant in records):
        groups.setdefault(experiment.variants[name].group or name, []).append(name)
    parts = []
    for metric in experiment.best:
        lines = [f"The best of each group by {metric}; {' / '.join(experiment.best)}:", ""]
        lines += [_format_line(["group", *signals, MEAN]), "|---" * (len(signals) + 2) + "|"]
        for group, names in groups.items():
            chosen = [max(names, key=partial(_rank, records, signal, metric)) for signal in signals]
            values = [
                [mean_of_all(records.get((signal, name), []), each) for each in experiment.best]
                for signal, name in zip(signals, chosen, strict=True)
            ]
            means = [mean(column) for column in zip(*values, strict=True)]
            cells = [_join(row, experiment.digits) for row in [*values, means]]
            labels = [name.removeprefix(group).strip(" ,") for name in chosen]
            named = [
                f"{cell} ({label})" if cell and label else cell for cell, label in zip(cells, labels, strict=False)
            ]
            lines.append(_format_line([group, *named, cells[-1]]))
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _rank(records: Records, signal: str, metric: str, variant: str) -> float:
    """Return a number that is greater for a better mean of a metric; the least where a seed lacks the metric."""
    value = mean_of_all(records.get((signal, variant), []), metric)
    return -math.inf if math.isnan(value) else -value if describe_metric(metric).is_error else value


def _join(values: Iterable[float], digits: int) -> str:
    """Return numbers in one cell, which is empty if one of them is lacking."""
    texts = [f"{value:.{digits}f}" for value in values]
    return "" if "nan" in texts else " / ".join(texts)


def write_text(folder: Path, name: str, text: str) -> Path:
    """Write a text to a file of that name, whole or not at all; return the path."""
    path = folder / name
    with replacing(path) as temporary:
        temporary.write_text(text, "utf8")
    return path


def _mean_error(records: list[Record], name: str) -> float:
    """Return a metric's mean, as a distance from 1 where 1 is the best."""
    value = mean_of_all(records, name)
    return 1 - value if name in BEST_IS_ONE else value


def _summary_columns(rows: list[Row]) -> list[str]:
    return [key for key, value in rows[0].items() if isinstance(value, Summary)]


def _format_line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _format_summary(key: str, value: Summary, runs: int, digits: int) -> str:
    if value.count == 0:
        return ""
    is_step = key.startswith(REACH) or key.endswith("_step")
    decimals = DECIMALS.get(key, 0 if is_step else digits)
    spread = "" if math.isnan(value.spread) else f" ± {value.spread:.2g}"
    exact = f", {value.exact} exact" if value.exact else ""
    part = f" ({value.count} of {runs}{exact})" if value.count < runs and not key.startswith(REACH) else ""
    return f"{'exact' if value.mean == math.inf else f'{value.mean:.{decimals}f}'}{spread}{part}"
