"""Compare the ways to fit a signal, as a table: one network or many small ones, initialisations, optimisers.

    python scripts/compare_fits.py FILE ... --variants single default small siren
    python scripts/compare_fits.py FILE ... --variants adam soap muon
    python scripts/compare_fits.py FILE ... --max-side 128 --variants single default,parts=8,hidden_dim=48

Every fit is one that a user gets: the default, other sizes, SIREN's initialisation in place of WINNER's, the single
network of ``parts=(1,)``, each optimiser at the learning rate that the kind's recipe has for it, or at another one:
``soap:3e-4``, and any of these with further options of `fit` behind commas. Each is kept as one line of the records,
and is not made again when the script is started anew. The times are those of the processor, so that they can be
compared on a machine that does other things too.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from fit_records import Limits, add_record, find_record, identify_fit

from winner_nerfstudio import FittedField, fit
from winner_nerfstudio.fields.resample import evaluate_samples
from winner_nerfstudio.networks import Bank
from winner_nerfstudio.registry import kind_of
from winner_nerfstudio.results import format_bytes
from winner_nerfstudio.signals.messages import error_line
from winner_nerfstudio.training.fit import finite
from winner_nerfstudio.training.plan import Course, make_plan
from winner_nerfstudio.training.prepare import prepare, sort_options

VARIANTS: dict[str, dict[str, Any]] = {
    "single": {"parts": (1,)},
    "default": {},
    "small": {"size": "small"},
    "large": {"size": "large"},
    "siren": {"init": "siren"},
    "on samples": {"between": 0.0},
    **{name: {"optimizer": name} for name in ("adam", "soap", "muon")},
}
SHAPE_COLUMNS = ("iou", "chamfer_l1", "normal_consistency", "sdf_error_near", "sdf_error_far")
GRID_COLUMNS = ("psnr", "psnr_between", "psnr_anywhere", "seams", "median_seams")
"""The metrics of the table; the last two are those of `measure_seams`."""


@dataclass
class Comparison(Limits):
    """What is compared."""

    files: tyro.conf.Positional[tuple[str, ...]]
    """The signals, of one kind: files or sample:NAME."""
    records: Path = Path("fits.jsonl")
    """File with a line for each fit that was made."""
    variants: tuple[str, ...] = ("single", "default", "small", "siren")
    """Which fits are made of each file: single, default, small, large, siren, on samples, adam, soap, muon; each may
    have a learning rate behind a colon, a number of steps behind an @ and options of fit behind commas:
    soap:3e-4@2000,parts=8,exactness=0.2."""
    seeds: tuple[int, ...] = (42,)
    """The seeds; metrics are means over them."""
    threads: int = 1
    """Threads of the matrix products."""

    def check(self) -> None:
        """Check all files and variants, because the last may be reached after hours.

        Raises:
            ValueError: there is no such file or variant, or a file's kind has not the options of one.
        """
        if not (self.files and self.variants and self.seeds):
            raise ValueError("nothing to compare; name files, or sample:NAME, with --variants and --seeds")
        for file in self.files:
            if not file.startswith("sample:") and not Path(file).exists():
                raise ValueError(f"{file}: no such file")
            for variant in self.variants:
                try:
                    options = self.given_limits | parse_variant(variant)
                    take_course(options).check()
                    sort_options(kind_of(file), options)
                except ValueError as error:
                    raise ValueError(f"{file}, {variant}: {error}") from None

    def run(self) -> None:
        """Make the fits that are missing from the records, and print the table of all."""
        torch.set_num_threads(self.threads)
        rows = [
            (file, variant, [self._fit(file, variant, seed) for seed in self.seeds])
            for file in self.files
            for variant in self.variants
        ]
        columns = [*(GRID_COLUMNS if "psnr" in rows[0][2][0] else SHAPE_COLUMNS), "cpu_seconds"]
        print(f"| target | fit | {' | '.join(columns)} | weights |\n|---|---|{'---|' * len(columns)}---|")
        for file, variant, records in rows:
            cells = [self._mean(records, column) for column in columns]
            print(f"| {Path(file).name} | {variant} | {' | '.join(cells)} | {format_bytes(records[0]['bytes'])} |")

    def _mean(self, records: list[dict[str, Any]], column: str) -> str:
        """Return the mean over the seeds, "" where there is none."""
        found = [record[column] for record in records if column in record]
        return f"{np.mean(found):.4g}" if found else ""

    def _fit(self, file: str, variant: str, seed: int) -> dict[str, Any]:
        """Return the record of a fit, which is read, or else made and written."""
        options = self.given_limits | parse_variant(variant)
        course = replace(take_course(options), seed=seed)
        signal, sorted_options = prepare(file, None, options)
        plan = make_plan(signal, sorted_options, course)
        key = identify_fit(file, signal, plan) | {"variant": variant}
        if known := find_record(self.records, key):
            return known
        began = time.process_time()
        field = fit(file, seed=seed, progress=False, measure=False, **parse_variant(variant), **self.given_limits)
        seconds = time.process_time() - began
        record = {
            **key,
            **finite(plan.options.kind.metrics(field.field, signal, plan.options.network)),
            "cpu_seconds": seconds,
            "steps": field.provenance["steps"],
            "threads": self.threads,
            "bytes": sum(parameter.nbytes for parameter in field.parameters()),
            **measure_seams(field, signal),
        }
        add_record(self.records, record)
        return record


def parse_variant(text: str) -> dict[str, Any]:
    """Return the arguments of `fit` for a variant by name, with a learning rate, steps or options behind it.

    Raises:
        ValueError: there is no such variant.
    """
    text, *options = text.split(",")
    name, _, steps = text.partition("@")
    name, _, rate = name.partition(":")
    if name not in VARIANTS:
        raise ValueError(f"{name!r} is not one of: {', '.join(VARIANTS)}")
    given: dict[str, Any] = {"learning_rate": float(rate)} if rate else {}
    for option in options:
        key, _, value = option.partition("=")
        number = float(value)
        given[key] = int(number) if number == int(number) else number
    if "parts" in given:
        given["parts"] = (given["parts"],)
    return VARIANTS[name] | given | ({"steps": int(steps)} if steps else {})


def take_course(options: dict[str, Any]) -> Course:
    """Take the arguments of `fit` that are no options of a kind of signal out of these, as the course they say."""
    return Course(**{name: options.pop(name) for name in ("steps", "learning_rate", "optimizer") if name in options})


def measure_seams(fitted: FittedField, signal: Any) -> dict[str, float]:
    """Compare the error where parts overlap with the error elsewhere, as ratios of root mean squares.

    Returns:
        ``seams``, the ratio over all samples, and ``median_seams``, the median over the parts of each part's own: a few
        samples that are hard to fit may have most of the error of the whole. Nothing for a single network.
    """
    if not isinstance(fitted.field.network, Bank):
        return {}
    tiling, shared = fitted.field.network.tiling, np.zeros(signal.lattice.shape, bool)
    for axis, size in enumerate(tiling.shape):
        count = np.zeros(size, int)
        for start in tiling.starts(axis).tolist():
            count[start : start + tiling.box[axis]] += 1
        shared |= (count > 1).reshape([-1 if other == axis else 1 for other in range(len(tiling.shape))])
    error = ((evaluate_samples(fitted.field, signal.lattice) - signal.truth) ** 2).mean(-1, keepdims=True)
    errors, masks = (tiling.cut(torch.from_numpy(each)) for each in (error, shared[..., None].astype(np.float64)))
    within, outside = ((errors * mask).sum((1, 2)) / mask.sum((1, 2)) for mask in (masks, 1 - masks))
    return {
        "seams": float(np.sqrt(error[shared].mean() / error[~shared].mean())),
        "median_seams": float((within / outside).sqrt().median()),
    }


if __name__ == "__main__":
    comparison = tyro.cli(Comparison, description=__doc__)
    try:
        comparison.check()
    except ValueError as error:
        raise SystemExit(error_line(error)) from None
    comparison.run()
