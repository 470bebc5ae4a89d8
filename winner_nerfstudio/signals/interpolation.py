"""Interpolation of regularly sampled signals between their samples, by Lanczos' windowed sinc (Duchon 1979)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy import ndarray
from numpy.lib.stride_tricks import sliding_window_view

if TYPE_CHECKING:
    from jaxtyping import Float, Int

LANCZOS_TAPS = 4
"""Half the number of samples, along each axis, from which a value between two samples is interpolated."""
_TAPS = np.arange(1 - LANCZOS_TAPS, LANCZOS_TAPS + 1)


def interpolate_half_way(values: Float[ndarray, "*axes c"], half: Sequence[bool]) -> Float[ndarray, "*fewer c"]:
    """Interpolate a whole signal at the points that are half-way between neighbouring samples along some axes.

    Args:
        values: the samples, which are mirrored at the ends.
        half: along which axes the points are half-way; there is one fewer along these.

    Returns:
        The interpolated values, float32.
    """
    weights = _lanczos(np.array(0.5)).tolist()[:LANCZOS_TAPS]
    for axis in np.flatnonzero(half):
        ends = [(0, 0)] * values.ndim
        ends[axis] = (LANCZOS_TAPS - 1,) * 2
        windows = sliding_window_view(np.pad(values, ends, "reflect"), 2 * LANCZOS_TAPS, axis)
        # Samples that are as far away on both sides have the same weight.
        pairs = (windows[..., tap] + windows[..., -1 - tap] for tap in range(LANCZOS_TAPS))
        values = np.asarray(sum(weight * pair for weight, pair in zip(weights, pairs, strict=True)), np.float32)
    return values


def interpolate(
    values: Float[ndarray, "*axes c"], low: Int[ndarray, "n d"], offset: Float[ndarray, "n d"]
) -> Float[ndarray, "n c"]:
    """Interpolate a signal at single points.

    Args:
        values: the samples, which are mirrored at the ends.
        low: the index of the sample below each point along each axis.
        offset: how far above that sample the point lies, 0 to 1 samples; without effect along axes of one sample.

    Returns:
        The interpolated values, float64.
    """
    gathered, kernel = [], np.ones((len(low), 1))
    for axis, size in enumerate(values.shape[:-1]):
        taps = _mirror(low[:, axis, None] + _TAPS, size) if size > 1 else low[:, axis, None]
        gathered.append(np.expand_dims(taps, [1 + other for other in range(low.shape[1]) if other != axis]))
        weight = _lanczos(offset[:, axis]) if size > 1 else np.ones((len(low), 1))
        kernel = (kernel[:, :, None] * weight[:, None]).reshape(len(low), -1)
    found = values[tuple(gathered)].astype(np.float64)
    return np.einsum("nkc,nk->nc", found.reshape(len(low), -1, values.shape[-1]), kernel)


def _lanczos(offset: Float[ndarray, "*n"]) -> Float[ndarray, "*n k"]:
    """Return the weights of the samples around points that lie so far above the fourth of them."""
    distance = _TAPS - offset[..., None]
    weight = np.sinc(distance) * np.sinc(distance / LANCZOS_TAPS) * (np.abs(distance) < LANCZOS_TAPS)
    return weight / weight.sum(-1, keepdims=True)


def _mirror(index: Int[ndarray, "*n"], size: int) -> Int[ndarray, "*n"]:
    """Reflect indices at the first and the last of `size` samples."""
    period = 2 * (size - 1)
    folded = np.abs(index) % period
    return np.minimum(folded, period - folded)
