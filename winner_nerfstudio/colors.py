"""The colours of signed values, on screen and in files."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray


def diverging(values: Float[ndarray, " n"]) -> Float[ndarray, "n 3"]:
    """Return colours in [0, 1] for values in [-1, 1]: blue below zero, grey at zero, red above."""
    import matplotlib

    return matplotlib.colormaps["coolwarm"]((np.clip(values, -1, 1) + 1) / 2)[..., :3].astype(np.float32)
