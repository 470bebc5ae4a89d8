"""Compare one network for a whole picture, sound or volume with many small ones for its parts, as a table.

    python scripts/compare_parts.py FILE ... --records parts.jsonl

Every fit is one that a user gets: the default, other sizes, SIREN's initialisation in place of WINNER's, and the single
network of ``parts=(1,)``. Each is kept as one line of the records, and is not made again when the script is started
anew. The times of one table are comparable if nothing else ran meanwhile.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from winner_nerfstudio import FittedField, fit
from winner_nerfstudio.fields.resample import evaluate_samples
from winner_nerfstudio.networks import Bank
from winner_nerfstudio.results import format_bytes
from winner_nerfstudio.training.prepare import prepare

VARIANTS: dict[str, dict[str, Any]] = {
    "single": {"parts": (1,)},
    "parts": {},
    "small": {"size": "small"},
    "large": {"size": "large"},
    "siren": {"init": "siren"},
    "on samples": {"between": 0.0},
}
COLUMNS = ("psnr", "psnr_between", "psnr_anywhere", "seams", "median_seams")
"""The metrics of the table; the last two are those of `measure_seams`."""


@dataclass
class Comparison:
    """What is compared."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """The pictures, sounds or volumes."""
    records: Path = Path("parts.jsonl")
    """File with a line for each fit that was made."""
    variants: tuple[str, ...] = ("single", "parts", "small", "siren")
    """Which fits are made of each file: single, parts, small, large, siren, on samples."""
    seeds: tuple[int, ...] = (42,)
    """The seeds; metrics are means over them."""
    max_side: int | None = None
    """Pixels of the longer side to which larger pictures are reduced."""
    threads: int = 1
    """Threads of the matrix products."""

    def run(self) -> None:
        """Make the fits that are missing from the records, and print the table of all."""
        torch.set_num_threads(self.threads)
        known = [json.loads(line) for line in self.records.read_text().splitlines()] if self.records.exists() else []
        rows = []
        for file in self.files:
            for variant in self.variants:
                records = [
                    self._find(known, file.name, variant, seed) or self._fit(file, variant, seed) for seed in self.seeds
                ]
                rows.append((file.name, variant, records))
        print(f"| target | fit | {' | '.join(COLUMNS)} | seconds | weights |\n|---|---|{'---|' * len(COLUMNS)}---|---|")
        for name, variant, records in rows:
            mean = {
                key: sum(each.get(key, 1.0) for each in records) / len(records)
                for key in (*COLUMNS, "seconds", "bytes")
            }
            cells = " | ".join(f"{mean[key]:.2f}" for key in COLUMNS)
            print(f"| {name} | {variant} | {cells} | {mean['seconds']:.0f} | {format_bytes(mean['bytes'])} |")

    def _find(self, known: list[dict[str, Any]], file: str, variant: str, seed: int) -> dict[str, Any] | None:
        key = {"file": file, "variant": variant, "seed": seed, "max_side": self.max_side}
        return next((each for each in known if key.items() <= each.items()), None)

    def _fit(self, file: Path, variant: str, seed: int) -> dict[str, Any]:
        data = {"max_side": self.max_side} if self.max_side else {}
        field = fit(file, seed=seed, progress=False, **VARIANTS[variant], **data)
        provenance = field.provenance
        record = {
            "file": file.name,
            "variant": variant,
            "seed": seed,
            "max_side": self.max_side,
            **provenance["figures"],
            "seconds": provenance["seconds"],
            "steps": provenance["steps"],
            "threads": self.threads,
            "bytes": sum(4 * parameter.numel() for parameter in field.parameters()),
            **measure_seams(field, prepare(str(file), None, data)[0]),
        }
        with self.records.open("a") as records:
            records.write(json.dumps(record) + "\n")
        return record


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
    tyro.cli(Comparison, description=__doc__).run()
