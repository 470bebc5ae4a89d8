"""Structural similarity of pictures."""

import torch
from jaxtyping import Float
from numpy import ndarray

REACH = 5
"""Pixels that SSIM's Gaussian window (sigma 1.5) reaches to either side; smaller pictures have no SSIM."""
ROWS = 256
"""Rows that are compared at a time; what bounds the memory."""


def ssim(fitted: Float[ndarray, "h w c"], truth: Float[ndarray, "h w c"]) -> float | None:
    """Structural similarity (Wang et al. 2004) of pictures in [-1, 1], the mean over channels.

    The value that torchmetrics gives for [0, 1]: the mean over all pixels, windows at the borders mirrored. None for
    pictures smaller than a window reaches.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    height, width, _ = truth.shape
    if min(height, width) <= REACH:
        return None
    summed = 0.0
    for start in range(0, height, ROWS):
        stop = min(start + ROWS, height)
        # With neighbouring rows, so that only the picture's own borders are mirrored.
        first, last = max(start - REACH, 0), min(max(stop + REACH, REACH + 1), height)
        first = min(first, last - REACH - 1)
        # In [0, 1], for the measure compares means, which have no sign there.
        got, wanted = ((torch.from_numpy(x[first:last]).movedim(-1, 0)[None] + 1) / 2 for x in (fitted, truth))
        _, similarity = structural_similarity_index_measure(got, wanted, data_range=1.0, return_full_image=True)
        summed += float(similarity[..., start - first : stop - first, :].double().mean()) * (stop - start)
    return summed / height
