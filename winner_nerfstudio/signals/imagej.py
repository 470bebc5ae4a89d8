"""What ImageJ means by the values that it stores in .tif files."""

from math import isfinite
from typing import Any


def imagej_calibration(tiff: Any) -> tuple[float, float] | None:
    """Return the slope and the intercept from stored to calibrated values, or None if these are the same.

    ImageJ writes signed values of 16 bits as unsigned ones that are 32768 greater, and this line beside them.

    Args:
        tiff: an open file of tifffile's.
    """
    metadata = (tiff.imagej_metadata or {}) if tiff.is_imagej else {}
    if metadata.get("cf", -1) != 0:  # 0 is a straight line; other functions are of optical densities and the like
        return None
    try:
        intercept, slope = float(metadata.get("c0", 0)), float(metadata.get("c1", 1))
    except (TypeError, ValueError):
        return None
    if not (isfinite(intercept) and isfinite(slope)) or slope == 0 or (intercept, slope) == (0, 1):
        return None
    return slope, intercept
