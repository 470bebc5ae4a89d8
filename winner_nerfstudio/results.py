"""What is said of a fit: the table of its metrics with their units and meaning, its size, and what is wrong with it."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from .metrics.descriptions import describe_metric, name_metric
from .networks import Bank, CellBank, GroupedBank, count_weights

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .fields import Field
    from .training.verdict import Verdict


def results_table(
    metrics: dict[str, float],
    sizes: dict[str, int] | None = None,
    previous: dict[str, float] | None = None,
    verdict: "Verdict | None" = None,
    meanings: Mapping[str, str] | None = None,
) -> Table:
    """Return the table of a fit.

    Args:
        metrics: the metrics by name; those that are NaN are left out.
        sizes: sizes in bytes by name, see `measure_sizes`.
        previous: metrics of the previous fit of the same target, if there is one.
        verdict: what is wrong with the fit; it stands in the last row.
        meanings: what metrics mean, by name, where that is not what `DESCRIPTIONS` says.
    """
    table = Table(title="Result")
    columns = ["metric", "value", *(["previous"] if previous else []), "meaning"]
    for column in columns:
        table.add_column(column, justify="right" if column in ("value", "previous") else "left")
    for name, value in metrics.items():
        if math.isnan(value):
            continue
        described, before = describe_metric(name), (previous or {}).get(name)
        cells = [described.format(value)]
        cells += ["" if before is None else described.format(before)] if previous else []
        table.add_row(name_metric(name), *cells, (meanings or {}).get(name, described.meaning))
    for name, size in (sizes or {}).items():
        table.add_row(f"size of the {name}", f"{size:,} bytes", *[""] * (len(columns) - 2))
    if verdict is not None:
        table.add_section()
        word = "failed" if verdict.failed else "unfinished"
        table.add_row("verdict", word, *([""] if previous else []), verdict.text)
    return table


def measure_sizes(field: "nn.Module", companion: "nn.Module | None", name: str) -> dict[str, int]:
    """Return the bytes of a field's weights, and those of the file that was fitted, if there is one.

    Args:
        field: the field.
        companion: the field beside it, if there is one, see `FittedField`; its weights count too.
        name: name of the signal, which is the file's path if it was read from a file.
    """
    network = getattr(field, "network", None)
    grouped = network.measure_bytes() if isinstance(network, GroupedBank) else 0
    sizes = {"weights": grouped + sum(weight.nbytes for weight in _list_weights(field, companion))}
    path = Path(name)
    return sizes | ({"input file": path.stat().st_size} if path.is_file() else {})


def describe_size(field: "Field", companion: "nn.Module | None", name: str) -> str:
    """Return in words the parts and weights of a field, with the weights' bytes beside those of the input.

    Args:
        field: the field.
        companion: the field beside it, as in `measure_sizes`.
        name: name of the signal, as in `measure_sizes`.
    """
    sizes, network, divided = measure_sizes(field, companion, name), field.network, ""
    if isinstance(network, Bank):
        box = " x ".join(f"{n:,}" for n in network.tiling.box)
        divided = f"{network.tiling.count:,} parts of {box} samples, together "
    if isinstance(network, CellBank):
        colors = getattr(companion, "network", None)
        twice = f"as many of {colors.biases[0].shape[-1]} for the colours, " if isinstance(colors, CellBank) else ""
        divided = f"in {network.count:,} of {network.parts}^3 cells, and one for the whole cube, {twice}together "
    weights = count_weights(_list_weights(field, companion))
    beside = f" (the file has {format_bytes(sizes['input file'])})" if "input file" in sizes else ""
    return f"{divided}{weights:,} weights, {format_bytes(sizes['weights'])}{beside}"


def _list_weights(field: "nn.Module", companion: "nn.Module | None") -> "list[Tensor]":
    """Return the weights of a field and of the one beside it."""
    return [weight for each in (field, companion) if each is not None for weight in each.parameters()]


def format_bytes(count: float) -> str:
    """Return a number of bytes in kB, MB or GB, three digits."""
    units = (1e9, "GB"), (1e6, "MB"), (1e3, "kB")
    unit, name = next((u, n) for u, n in units if round(count / u * 1e3) >= 1e3 or n == "kB")  # 999.6 kB are 1 MB
    return f"{count / unit:.3g} {name}"
