"""How signed values are coloured, on screen and in files."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray


def diverging(values: Float[ndarray, " n"]) -> Float[ndarray, "n 3"]:
    """Colours in [0, 1] of values in [-1, 1]: blue below, grey at zero, red above."""
    import matplotlib

    return matplotlib.colormaps["coolwarm"]((np.clip(values, -1, 1) + 1) / 2)[..., :3].astype(np.float32)
