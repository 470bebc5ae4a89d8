"""What the runs say: means and spreads over seeds, as CSV and Markdown."""

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from .config import TOLD, Experiment
from .runs import PAPER, Run

REACH, SECONDS = "steps to", "seconds"
DIGITS = {
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
}
"""Digits behind the point of figures that aren't decibels."""

Records = dict[tuple[str, str], list[dict[str, Any]]]
"""Of each signal and variant, the records of the seeds."""


@dataclass(frozen=True)
class Cell:
    """A figure over the seeds: their mean, standard deviation, and number; NaN, NaN, 0 where there is none."""

    mean: float
    spread: float
    count: int


def collected(done: list[tuple[Run, dict[str, Any]]]) -> Records:
    """Records by signal and variant."""
    records: Records = {}
    for run, record in done:
        records.setdefault((run.signal, run.variant), []).append(record)
    return records


def over_seeds(values: list[float]) -> Cell:
    """Of finite values; the spread is the sample's standard deviation, NaN of a single one."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return Cell(math.nan, math.nan, 0)
    return Cell(mean(finite), stdev(finite) if len(finite) > 1 else math.nan, len(finite))


def cell(records: list[dict[str, Any]], figure: str) -> Cell:
    """A figure of the records of one signal and variant."""
    return over_seeds([record["figures"].get(figure, math.nan) for record in records])


def reach(experiment: Experiment) -> str:
    """The column of the steps that a variant's mean curve takes to the baseline's last value."""
    return f"{REACH} {experiment.baseline}'s final"


def curve_name(experiment: Experiment) -> str:
    """The figure that curves are drawn of."""
    return "iou" if experiment.kind == "sdf" else "psnr"


def mean_curve(records: list[dict[str, Any]], name: str) -> list[dict[str, float]]:
    """The curve of means over the seeds: ``step``, ``seconds``, ``mean`` and ``spread``, 0 of a single seed.

    A PSNR is in the convention of arXiv 2509.09719. Points at which a seed isn't finite are left out.
    """
    points = []
    for column in zip(*(record["curve"] for record in records), strict=True):
        values = [point.get(name) for point in column]
        if any(value is None for value in values):
            continue
        over = over_seeds([value - PAPER * name.startswith("psnr") for value in values])
        points.append(
            {
                "step": column[0]["step"],
                "seconds": mean(point["seconds"] for point in column),
                "mean": over.mean,
                "spread": 0.0 if math.isnan(over.spread) else over.spread,
            }
        )
    return points


def steps_to(curve: list[dict[str, float]], level: float) -> float:
    """The first step of a mean curve at or above a level; NaN if there is none."""
    return next((point["step"] for point in curve if point["mean"] >= level), math.nan)


def goal(records: Records, signal: str, baseline: str | None, name: str) -> float:
    """The baseline's last value on a signal, the mean over its seeds; NaN without one, or where a seed has none."""
    if baseline is None or (signal, baseline) not in records:
        return math.nan
    curve = mean_curve(records[signal, baseline], name)
    ended = bool(curve) and curve[-1]["step"] == records[signal, baseline][0]["curve"][-1]["step"]
    return curve[-1]["mean"] if ended else math.nan


def table(experiment: Experiment, records: Records) -> list[dict[str, Any]]:
    """A row for each signal and variant, and one of each variant's means over the signals, where there are several.

    Keys: ``signal``, ``variant``, ``runs``, and a `Cell` for each figure, for `reach` and for `SECONDS`.
    """
    figures = list(experiment.figures or TOLD[experiment.kind])
    for more in ("psnr_held_out", "psnr_target"):
        if more not in figures and any(more in record["figures"] for group in records.values() for record in group):
            figures.append(more)
    name, rows = curve_name(experiment), []
    for (signal, variant), group in records.items():
        level = goal(records, signal, experiment.baseline, name)
        row: dict[str, Any] = {"signal": signal, "variant": variant, "runs": len(group)}
        row |= {figure: cell(group, figure) for figure in figures}
        if experiment.baseline is not None:
            row[reach(experiment)] = over_seeds([steps_to(mean_curve(group, name), level)])
        row[SECONDS] = over_seeds([record["seconds"] for record in group])
        rows.append(row)
    return rows + _means(rows)


def _means(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each variant that all signals have, the means over the signals, without a spread."""
    signals = {row["signal"] for row in rows}
    means: list[dict[str, Any]] = []
    for variant in dict.fromkeys(row["variant"] for row in rows) if len(signals) > 1 else ():
        own = [row for row in rows if row["variant"] == variant]
        if len(own) == len(signals):
            row = {"signal": "mean", "variant": variant, "runs": sum(each["runs"] for each in own)}
            for key in [key for key, value in own[0].items() if isinstance(value, Cell)]:
                values = [each[key].mean for each in own]
                whole = all(math.isfinite(value) for value in values)
                row[key] = Cell(mean(values) if whole else math.nan, math.nan, len(own) if whole else 0)
            means.append(row)
    return means


def as_csv(rows: list[dict[str, Any]]) -> str:
    """Every cell as two columns, ``NAME`` and ``NAME std``, in full precision; empty where there is none."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    keys = [key for key, value in rows[0].items() if isinstance(value, Cell)]
    writer.writerow(["signal", "variant", "runs", *(name for key in keys for name in (key, f"{key} std"))])
    for row in rows:
        values = [value for key in keys for value in (row[key].mean, row[key].spread)]
        plain = ["" if math.isnan(value) else repr(float(value)) for value in values]
        writer.writerow([row["signal"], row["variant"], row["runs"], *plain])
    return out.getvalue()


def as_markdown(rows: list[dict[str, Any]], digits: int) -> str:
    """A table of ``mean ± standard deviation``; the number of seeds is told where not all of them have the figure."""
    keys = [key for key, value in rows[0].items() if isinstance(value, Cell)]
    lines = [f"| signal | variant | runs | {' | '.join(keys)} |", "|---" * (len(keys) + 3) + "|"]
    for row in rows:
        cells = [_written(key, row[key], row["runs"], digits) for key in keys]
        lines.append(f"| {row['signal']} | {row['variant']} | {row['runs']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _written(key: str, value: Cell, runs: int, digits: int) -> str:
    if value.count == 0:
        return ""
    places = 0 if key.startswith(REACH) or key.endswith("_step") else digits
    places = 1 if key == SECONDS else DIGITS.get(key, places)
    spread = "" if math.isnan(value.spread) else f" ± {value.spread:.2g}"
    part = f" ({value.count} of {runs})" if not math.isnan(value.spread) and value.count < runs else ""
    return f"{value.mean:.{places}f}{spread}{part}"


def write(folder: Path, name: str, text: str) -> Path:
    """Write a text, whole or not at all; returns the path."""
    from winner_nerfstudio.files import replacing

    path = folder / name
    with replacing(path) as temporary:
        temporary.write_text(text, "utf8")
    return path
