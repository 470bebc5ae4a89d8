"""The base class of the kinds of regularly sampled signals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from operator import index
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..registry import Baseline, Kind, Monitor
from ..signals.records import GridRecord, Record

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from matplotlib.axes import Axes
    from numpy import ndarray

    from ..fields import Field
    from ..signals.grid import Grid
    from ..training.loss import Loss
    from ..training.options import NetworkOptions, ResidentOptions

GRID_METRICS = (
    "psnr",
    "psnr_paper",
    "psnr_peak_to_peak",
    "psnr_between",
    "psnr_anywhere",
    "psnr_held_out",
    "psnr_target",
    "best_psnr",
    "best_psnr_paper",
    "best_psnr_step",
    "best_psnr_held_out",
    "best_psnr_held_out_step",
    "psnr_noisy",
    "psnr_held_out_noisy",
    "stopped_psnr",
    "stopped_step",
    "held_out_stopped_psnr",
    "held_out_stopped_step",
    "weights_per_sample",
)
"""The names of the metrics that every regularly sampled signal has; the ``best_`` ones are the best during a run, those
with ``stopped_`` those where a run can be stopped without the clean signal, see `find_stopped` in the experiments."""
DERIVATIVE_METRICS = ("snr_derivatives", "best_snr_derivatives", "best_snr_derivatives_step")
"""The names of the metrics of derivatives, where a signal is fitted by them."""
MEASURED, MONITORED = 1 << 16, 1 << 12
"""Samples at which derivatives are compared at the end, and during a run."""


class GridKind(Kind):
    """A kind of regularly sampled signal: fitted by mean square error, sample by sample."""

    record: ClassVar[type[Record]] = GridRecord

    @property
    def network(self) -> type[NetworkOptions]:
        """The options of the network and its initialisation; the loss has none."""
        from ..training.options import NetworkOptions

        return NetworkOptions

    @property
    def batches(self) -> type[ResidentOptions]:
        """The options of batches of samples that are all in memory."""
        from ..training.options import ResidentOptions

        return ResidentOptions

    def count_parts(self, signal: Any, options: NetworkOptions) -> tuple[int, ...] | None:
        """Return the parts of a signal of many samples, as the kind's recipe says."""
        from ..training.plan import count_grid_parts

        return count_grid_parts(signal, options, self.recipe.parts)

    def loss(self, signal: Any, options: Any) -> Loss:
        """Return the mean square error, of the values or of the derivatives."""
        from ..training.bank import PartLoss
        from ..training.loss import DerivativeLoss, SquareLoss

        if signal.derivatives is not None:
            return DerivativeLoss(signal.derivatives)
        return PartLoss() if options.has_parts else SquareLoss()

    def metrics(self, field: Field, signal: Grid[Any], options: Any) -> dict[str, float]:
        """Compute the metrics of any grid, see `grid_metrics`, and those of this kind, over all samples.

        Those of a signal that is fitted by its derivatives are ``snr_derivatives``, see `derivatives_snr`, and the
        others only if its reference is known.
        """
        from ..fields.resample import evaluate_samples
        from ..metrics.grid import grid_metrics, quick_samples

        metrics = {}
        if signal.derivatives is not None:
            metrics = self._measure_derivatives(field, signal, options, quick_samples(signal, MEASURED).fitted)
            if signal.clean is None:
                return metrics
        fitted = evaluate_samples(field, signal.lattice)
        return metrics | grid_metrics(field.evaluate, signal, fitted) | self.special_metrics(signal, fitted)

    def _measure_derivatives(
        self, field: Field, signal: Grid[Any], options: Any, index: Int[ndarray, " n"]
    ) -> dict[str, float]:
        """Compute ``snr_derivatives`` at samples."""
        import torch

        from ..metrics.grid import derivatives_snr

        loss = self.loss(signal, options)

        @torch.no_grad()
        def differentiate(coords: torch.Tensor) -> torch.Tensor:
            return loss.outputs(field, coords.to(field.center.device))["derivatives"]

        return {"snr_derivatives": derivatives_snr(differentiate, signal, index)}

    def special_metrics(self, signal: Any, fitted: Float[ndarray, "*axes c"]) -> dict[str, float]:
        """Compute the metrics that only this kind has, from the fit at all samples, in the network's units."""
        return {}

    def monitor(self, signal: Grid[Any], most: int = 1 << 16) -> Monitor:
        """Return the metrics of `quick_metrics`, at `most` samples each.

        Of a signal that is fitted by its derivatives it is ``snr_derivatives``, which takes about four times as long.
        """
        from ..fields.resample import evaluate_samples
        from ..metrics.grid import evaluate_grid, quick_metrics, quick_samples

        if signal.derivatives is not None:
            index = quick_samples(signal, min(most, MONITORED)).fitted
            return Monitor(4 * len(index), lambda field: self._measure_derivatives(field, signal, None, index))
        samples, lattice = quick_samples(signal, most), signal.lattice

        def evaluate(field: Field, chosen: Int[ndarray, " n"]) -> Float[ndarray, "n c"]:
            if len(chosen) < lattice.count:
                return evaluate_grid(field.evaluate, lattice, chosen)
            return evaluate_samples(field, lattice).reshape(lattice.count, -1)  # the faster way for all samples

        points = len(samples.fitted) + len(samples.held_out)
        return Monitor(points, lambda field: quick_metrics(partial(evaluate, field), signal, samples))

    def baseline(self, signal: Grid[Any]) -> Baseline:
        """Return the ``psnr`` of the fitted samples' mean, and one decibel more; for a constant signal 30 dB."""
        from ..metrics.grid import mean_psnr

        if signal.derivatives is not None:
            words = "has derivatives that are not a decibel closer to the data than none"
            return Baseline("snr_derivatives", 1, words, good=20, rise=2, curve="snr_derivatives")
        mean, good = mean_psnr(signal), 30.0
        if not math.isfinite(mean):
            return Baseline("psnr", good, "is further than 30 dB from a target that is constant", good=good, rise=2)
        words = f"is not a decibel better than the target's mean, whose psnr is {mean:.2f} dB"
        return Baseline("psnr", mean + 1, words, good=good, rise=2)

    def sample_count(self, signal: Grid[Any]) -> int:
        """Return the number of samples that are fitted."""
        return signal.lattice.count if signal.fitted is None else len(signal.fitted)

    def draw(self, axes: Axes, signal: Grid[Any], values: Float[ndarray, "*axes c"]) -> None:
        """Draw a picture as it is, and of a volume the middle slice; white where the signal holds no data."""
        shown = len(values) // 2 if signal.dim == 3 else slice(None)
        unit = (np.clip(values[shown][..., :3], -1, 1) + 1) / 2
        if signal.missing is not None:
            unit[signal.missing[shown]] = 1.0
        axes.imshow(unit if unit.shape[-1] == 3 else unit[..., 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.axis("off")


def grid_size(shape: tuple[int, ...], size: int | Sequence[int] | None) -> tuple[int, ...]:
    """Return the samples per axis that `size` asks for.

    Args:
        shape: samples per axis of the input.
        size: samples per axis, or along the longest axis; None for those of the input.

    Raises:
        ValueError: not whole numbers, not as many as there are axes, none or too many samples.
    """
    from ..fields.resample import MOST_POINTS

    try:
        if size is None:
            sizes = shape
        elif isinstance(size, Sequence):
            sizes = tuple(map(index, size))
        else:
            longest = index(size)
            sizes = tuple(max(1, round(n * longest / max(shape))) for n in shape) if longest > 0 else ()
    except TypeError:
        sizes = ()
    if len(sizes) != len(shape) or min(sizes) < 1 or np.prod(sizes, dtype=float) > MOST_POINTS:
        raise ValueError(
            f"size={shape if size is None else size} must be one or {len(shape)} whole numbers from 1 on,"
            f" {MOST_POINTS:,} samples at most"
        )
    return sizes


def like_input(values: ndarray, ndim: int | None) -> ndarray:
    """Return values without their axis of channels where there is one channel, unless the input was an array with it.

    Args:
        values: channels last.
        ndim: axes of the input, if it was an array.
    """
    return values[..., 0] if values.shape[-1] == 1 and (ndim or 0) < values.ndim else values
