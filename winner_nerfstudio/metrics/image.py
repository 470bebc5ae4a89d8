"""The structural similarity of pictures."""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

SIGMA = 1.5
"""Standard deviation of SSIM's Gaussian window, pixels."""
REACH = 5
"""Pixels that the window reaches to either side; smaller pictures have no SSIM."""
ROWS = 256
"""Rows that are compared at a time, which limits the memory."""
C1, C2 = 0.01**2, 0.03**2
"""The constants that keep SSIM's two divisions from being ones by zero, for pictures in [0, 1]."""


def ssim(
    fitted: Float[ndarray, "h w c"], truth: Float[ndarray, "h w c"], missing: Bool[ndarray, "h w"] | None = None
) -> float | None:
    """Compute the structural similarity (Wang et al. 2004) of pictures in [-1, 1], the mean over channels.

    It is the value of torchmetrics for the pictures mapped to [0, 1]: the mean over all pixels, with pictures mirrored
    at their borders. It is None for pictures with a side of at most `REACH` pixels.
    Where pixels are missing, the fit is taken to be right, and only the others are counted.
    """
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
        similarity = _compute_similarity((fitted[first:last] + 1) / 2, (truth[first:last] + 1) / 2)
        rows = similarity[start - first : stop - first]
        if missing is None:
            summed += float(rows.mean(dtype=np.float64)) * (stop - start)
        else:
            summed += float(rows.mean(-1, dtype=np.float64)[~missing[start:stop]].sum())
    return summed / (height if missing is None else int((~missing).sum()))


def _compute_similarity(a: Float[ndarray, "h w c"], b: Float[ndarray, "h w c"]) -> Float[ndarray, "h w c"]:
    """Compute the similarity around every pixel of two pictures in [0, 1], equation (13) of Wang et al. 2004."""
    mean_a, mean_b = _blur(a), _blur(b)
    covariance = _blur(a * b) - mean_a * mean_b
    # Rounding may leave the variance of a constant a little below zero.
    variances = np.maximum(_blur(a * a) - mean_a**2, 0) + np.maximum(_blur(b * b) - mean_b**2, 0)
    similarity: ndarray = (2 * mean_a * mean_b + C1) * (2 * covariance + C2)
    similarity /= (mean_a**2 + mean_b**2 + C1) * (variances + C2)
    return similarity


def _blur(values: Float[ndarray, "h w c"]) -> Float[ndarray, "h w c"]:
    """Return the mean in SSIM's window around every pixel."""
    import cv2

    size = (2 * REACH + 1, 2 * REACH + 1)
    return cv2.GaussianBlur(values, size, SIGMA, borderType=cv2.BORDER_REFLECT_101).reshape(values.shape)
