"""The structural similarity of pictures."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray

REACH = 5
"""Pixels that SSIM's Gaussian window (sigma 1.5) reaches to either side; smaller pictures have no SSIM."""
ROWS = 256
"""Rows that are compared at a time, which limits the memory."""


def ssim(
    fitted: Float[ndarray, "h w c"], truth: Float[ndarray, "h w c"], missing: Bool[ndarray, "h w"] | None = None
) -> float | None:
    """Compute the structural similarity (Wang et al. 2004) of pictures in [-1, 1], the mean over channels.

    It is the value of torchmetrics for the pictures mapped to [0, 1]: the mean over all pixels, with pictures mirrored
    at their borders. It is None for pictures with a side of at most `REACH` pixels.
    Where pixels are missing, the fit is taken to be right, and only the others are counted.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    height, width, _ = truth.shape
    if min(height, width) <= REACH:
        return None
    if missing is not None:
        fitted = np.where(missing[..., None], truth, fitted)
    summed = 0.0
    for start in range(0, height, ROWS):
        stop = min(start + ROWS, height)
        # Neighbouring rows are included, so that only the borders of the whole picture are mirrored.
        first, last = max(start - REACH, 0), min(max(stop + REACH, REACH + 1), height)
        first = min(first, last - REACH - 1)
        # In [0, 1], because the measure compares means and expects them not to be negative.
        got, wanted = ((torch.from_numpy(x[first:last]).movedim(-1, 0)[None] + 1) / 2 for x in (fitted, truth))
        _, similarity = structural_similarity_index_measure(got, wanted, data_range=1.0, return_full_image=True)
        rows = similarity[..., start - first : stop - first, :].double()
        if missing is None:
            summed += float(rows.mean()) * (stop - start)
        else:
            summed += float(rows.mean(1)[0][torch.from_numpy(~missing[start:stop])].sum())
    return summed / (height if missing is None else int((~missing).sum()))
