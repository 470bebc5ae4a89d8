"""A target's samples as the formulas take them: checked, channels last, line by line."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Samples: TypeAlias = Tensor | NDArray[Any]
"""Regularly sampled values, channels last: [n, c], [h, w, c] or [d, h, w, c]."""

_BLOCK_SIZE = 1 << 22  # bounds the memory of the spectra


def check_samples(signal: Samples, dim: int | None) -> Tensor:
    """Return the samples as a tensor, channels last.

    Args:
        signal: The samples, with or without an axis of channels.
        dim: The number of spatial axes, 1 to 3. Left out, the last axis of anything but [n] holds channels.

    Raises:
        ValueError: The signal is empty, has values that are not finite or not real, or axes that do not fit `dim`.
    """
    samples = _convert_to_tensor(signal)
    spatial = max(samples.ndim - 1, 1) if dim is None else dim
    if spatial not in (1, 2, 3) or samples.ndim not in (spatial, spatial + 1) or samples.numel() == 0:
        raise ValueError(
            f"a signal of shape {tuple(samples.shape)} does not fit dim={dim}: expected 1 to 3 non-empty spatial axes,"
            " then at most one of channels"
        )
    if samples.ndim == spatial:
        samples = samples[..., None]
    if dim is None and samples.shape[-1] > 16:
        raise ValueError(
            f"the last axis of a signal of shape {tuple(signal.shape)} would be {samples.shape[-1]} channels; pass"
            " dim=2 for a grey image, dim=3 for a volume, dim=1 if they are channels"
        )
    if not torch.isfinite(samples).all():
        raise ValueError("the signal holds NaN or infinite samples; every sample must be finite")
    return samples


def iterate_lines(samples: Tensor, axis: int) -> Iterator[Tensor]:
    """Yield the lines along an axis in blocks [lines, n], in float64, since sums run over up to millions of bins."""
    lines = samples.movedim(axis, -1).reshape(-1, samples.shape[axis])
    for block in torch.split(lines, max(1, _BLOCK_SIZE // lines.shape[-1])):
        yield block.double()


def _convert_to_tensor(signal: Samples) -> Tensor:
    if signal.dtype.is_complex if isinstance(signal, Tensor) else np.iscomplexobj(signal):
        raise ValueError("the signal is complex; a centroid is defined here for real samples")
    if isinstance(signal, Tensor):
        return signal.detach()
    # As torch takes arrays: native byte order, no negative strides, writable; float64 for the types that it lacks.
    dtype = np.float32 if signal.dtype == np.float32 else np.float64
    return torch.from_numpy(np.require(signal, dtype, ["C", "W"]))
