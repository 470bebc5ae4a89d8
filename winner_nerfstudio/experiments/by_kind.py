"""All that depends on the kind of an experiment's signals: metrics, measuring during a run, how samples are drawn."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from ..metrics import grid, shape
from ..metrics.measure import truth_of
from ..signals.audio import Audio
from ..signals.grid import Grid
from ..signals.load import loading_options
from ..signals.signal import Signal

CURVE_SAMPLES = 1 << 18
"""Samples that a point of a curve is measured at, at most."""

_GRID_METRICS = (
    "psnr",
    "psnr_paper",
    "psnr_peak_to_peak",
    "psnr_between",
    "psnr_held_out",
    "psnr_target",
    "best_psnr",
    "best_psnr_paper",
    "best_psnr_step",
    "best_psnr_held_out",
    "best_psnr_held_out_step",
)
_SHAPE_METRICS = (
    "iou",
    "sdf_error_near",
    "sdf_error_far",
    "distance_to_target",
    "distance_to_fit",
    "chamfer_l1",
    "chamfer_l2",
    "normal_consistency",
    "f_score_0.5%",
    "f_score_1%",
    "edge_normal_degrees",
    "best_iou",
    "best_iou_step",
)


@dataclass(frozen=True)
class _Traits:
    """What an experiment needs to know of a kind, see the functions of the same names."""

    metric_names: tuple[str, ...]
    default_columns: tuple[str, ...]
    headline_metric: str = "psnr_paper"
    curve_metric: str = "psnr"
    curve_label: str = "PSNR, peak 1 (dB)"
    accepts_noise: bool = True
    drawing_options: tuple[str, ...] = ()


_TRAITS = {
    "audio": _Traits(
        (*_GRID_METRICS, "snr", "si_snr", "log_spectral_distance"),
        ("psnr_paper", "best_psnr_paper", "psnr_peak_to_peak", "psnr_between", "log_spectral_distance"),
    ),
    "image": _Traits(
        (*_GRID_METRICS, "ssim"), ("psnr_paper", "best_psnr_paper", "psnr_peak_to_peak", "psnr_between", "ssim")
    ),
    "volume": _Traits(
        (*_GRID_METRICS, "iou", "iou_held_out"), ("psnr_paper", "psnr_peak_to_peak", "psnr_between", "iou")
    ),
    "sdf": _Traits(
        _SHAPE_METRICS,
        (
            "iou",
            "chamfer_l1",
            "chamfer_l2",
            "normal_consistency",
            "f_score_0.5%",
            "sdf_error_near",
            "sdf_error_far",
        ),
        headline_metric="iou",
        curve_metric="iou",
        curve_label="IoU",
        accepts_noise=False,
        drawing_options=("surface_fraction", "near_fraction", "near_sigmas"),
    ),
}


def metric_names(kind: str) -> tuple[str, ...]:
    """Return the metrics that runs on a kind of signal have; those named ``best_`` are taken over a run's curve."""
    return _TRAITS[kind].metric_names


def default_columns(kind: str) -> tuple[str, ...]:
    """Return the metrics that a table shows where the experiment names none."""
    return _TRAITS[kind].default_columns


def headline_metric(kind: str) -> str:
    """Return the metric that is printed as soon as a run has finished."""
    return _TRAITS[kind].headline_metric


def curve_metric(kind: str) -> str:
    """Return the metric that is measured during a run and drawn over its steps."""
    return _TRAITS[kind].curve_metric


def curve_label(kind: str) -> str:
    """Return the label of the axis that curves are drawn along."""
    return _TRAITS[kind].curve_label


def accepts_noise(kind: str) -> bool:
    """Return whether noise can be added to a signal, which then has samples."""
    return _TRAITS[kind].accepts_noise


def signal_options(kind: str) -> set[str]:
    """Return the options that change the signal itself, so that all variants of an experiment must share them."""
    return set(loading_options(kind)) - set(_TRAITS[kind].drawing_options)  # type: ignore[arg-type]


def count_samples(signal: Signal) -> int | None:
    """Return the number of samples that are fitted; None for a signal whose points are drawn anew."""
    if not isinstance(signal, Grid):
        return None
    return signal.lattice.count if signal.fitted is None else len(signal.fitted)


def quick_measure(signal: Any) -> Callable[[grid.Function], dict[str, float]]:
    """Return the function that measures a fit at a point of its curve.

    Args:
        signal: The target.

    Returns:
        A function from a fit to its metrics: ``psnr`` and ``psnr_held_out`` of samples, ``iou`` of a shape.
    """
    if isinstance(signal, Grid):
        samples = grid.quick_samples(signal, CURVE_SAMPLES)
        return lambda function: grid.quick_figures(function, signal, samples)
    quick = shape.quick_points(truth_of(signal))
    return lambda function: shape.quick_figures(function, quick)


def evaluate_samples(function: grid.Function, signal: Signal) -> NDArray[Any]:
    """Return the values of a fit at all samples of its target, float32 [*axes, c].

    Args:
        function: The fit, at coordinates [n, d].
        signal: The target, one that has samples.
    """
    assert isinstance(signal, Grid)
    return grid.evaluate_grid(function, signal.lattice)


def draw_samples(axes: Axes, target: Grid, samples: NDArray[Any]) -> None:
    """Draw a sound's first channel as a spectrogram, a picture as it is, and the middle slice of a volume.

    Args:
        axes: Where to draw.
        target: The signal that the samples belong to.
        samples: Values in [-1, 1], [*axes, c].
    """
    if isinstance(target, Audio):
        window = min(512, 1 << (len(samples).bit_length() - 3))
        rate = target.sample_rate / 1000
        options: dict[str, Any] = {"noverlap": window * 3 // 4, "cmap": "magma", "vmin": -120, "vmax": 0}
        axes.specgram(samples[:, 0] + 1e-12, NFFT=window, Fs=rate, **options)
        axes.set(xlabel="ms", ylabel="kHz")
        axes.label_outer()
        return
    picture = samples[samples.shape[0] // 2] if target.dim == 3 else samples
    unit = (np.clip(picture[..., :3], -1, 1) + 1) / 2
    axes.imshow(unit if unit.shape[-1] == 3 else unit[..., 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.axis("off")


def hash_data(signal: Any, source: str) -> str:
    """Return a digest that changes with the data.

    It is that of the samples, else of the file, else of the vertices, to six digits, of a shape that is made by code.

    Args:
        signal: The target, loaded.
        source: The file it was loaded from, or ``sample:NAME``.
    """
    if "digest" in signal.record:
        return str(signal.record["digest"])
    file = Path(source)
    content = file.read_bytes() if file.is_file() else np.round(signal.mesh.vertices, 6).astype("<f4").tobytes()
    return blake2b(content, digest_size=16).hexdigest()
