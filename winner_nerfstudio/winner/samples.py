"""A target's samples as the formulas take them: checked, channels last, line by line."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .inputs import convert_input, fill_missing

Samples: TypeAlias = Any
"""Regularly sampled values, channels last: [n, c], [h, w, c] or [d, h, w, c]; see `inputs.convert_input` for what can
hold them."""

MOST_CHANNELS = 16
"""The longest last axis that is taken for channels where nothing says so."""
_BLOCK_SIZE = 1 << 22  # bounds the memory of the spectra


def check_samples(signal: Samples, dim: int | None) -> Tensor:
    """Return the samples as a tensor, channels last.

    Args:
        signal: The samples, with or without an axis of channels.
        dim: The number of spatial axes, 1 to 3. Left out, it is what the object says (xarray, pandas), or the last axis
            of anything but [n] holds channels.

    Raises:
        ValueError: The signal is empty, has values that are not finite or not real, axes that do not fit `dim`, or
            channels that seem to come first.
    """
    values, known_dim = convert_input(signal)[:2]
    dim = known_dim if dim is None else dim
    shape = tuple(values.shape)
    spatial = max(len(shape) - 1, 1) if dim is None else dim
    if spatial not in (1, 2, 3) or len(shape) not in (spatial, spatial + 1) or 0 in shape:
        raise ValueError(
            f"a signal of shape {shape} does not fit dim={dim}: expected 1 to 3 non-empty spatial axes, then at most"
            " one of channels"
        )
    samples = _convert_to_tensor(values if isinstance(values, Tensor) else _fill(values, spatial))
    if samples.ndim == spatial:
        samples = samples[..., None]
    channels = samples.shape[-1]
    if channels > MOST_CHANNELS and shape[0] <= MOST_CHANNELS:
        raise ValueError(
            f"a signal of shape {shape} has {channels} channels if they come last, {shape[0]} if they come first; they"
            " belong last: pass signal.movedim(0, -1) of a tensor, numpy.moveaxis(signal, 0, -1) of an array"
        )
    if dim is None and channels > MOST_CHANNELS:
        raise ValueError(
            f"the last axis of a signal of shape {shape} would be {channels} channels; pass dim=2 for a grey image,"
            " dim=3 for a volume, dim=1 if they are channels"
        )
    if not torch.isfinite(samples).all():
        raise ValueError("the signal holds NaN or infinite samples; every sample must be finite")
    return samples


def _fill(values: NDArray[Any], spatial: int) -> NDArray[Any]:
    """Return an array without its mask, and masked samples filled from their neighbours, see `fill_missing`.

    A sample is masked if one of its channels is.
    """
    if not isinstance(values, np.ma.MaskedArray):
        return values
    shape, mask = values.shape, np.ma.getmaskarray(values)
    missing = mask.any(-1) if values.ndim > spatial else mask
    if missing.all():
        raise ValueError("every sample of the signal is masked; there is nothing to measure")
    return fill_missing(values.data.reshape(*missing.shape, -1), missing).reshape(shape)


def _convert_to_tensor(values: Tensor | NDArray[Any]) -> Tensor:
    if values.dtype.is_complex if isinstance(values, Tensor) else np.iscomplexobj(values):
        raise ValueError("the signal is complex; a centroid is defined here for real samples")
    if isinstance(values, Tensor):
        return values
    # As torch takes arrays: native byte order, no negative strides, writable; float64 for the types that it lacks.
    dtype = np.float32 if values.dtype == np.float32 else np.float64
    return torch.from_numpy(np.require(values, dtype, ["C", "W"]))


def iterate_lines(samples: Tensor, axis: int) -> Iterator[Tensor]:
    """Yield the lines along an axis in blocks [lines, n], in float64, since sums run over up to millions of bins."""
    lines = samples.movedim(axis, -1).reshape(-1, samples.shape[axis])
    for block in torch.split(lines, max(1, _BLOCK_SIZE // lines.shape[-1])):
        yield block.double()
