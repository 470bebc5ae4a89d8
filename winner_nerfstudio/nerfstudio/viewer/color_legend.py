"""Signed values as colours, and the legend that explains them in a picture."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...colors import diverging as diverging_colors

SMALLEST_FONT = 7
"""Font size, pixels, below which a legend could not be read and is left out."""
QUIETEST = 80.0
"""Decibels below the data range at which an error is shown black."""


def diverging(values: Float[Tensor, " n"]) -> Float[Tensor, "n 3"]:
    """Return the colours, in [0, 1], of values in [-1, 1]: blue below zero, grey at zero, red above.

    Values beyond [-1, 1] are clamped.
    """
    return torch.from_numpy(diverging_colors(values.cpu().numpy())).to(values.device)


def error_colors(fitted: Float[Tensor, "n c"], truth: Float[Tensor, "n c"]) -> Float[Tensor, "n 3"]:
    """Return colours of the root mean square error over the channels, on a logarithmic scale.

    An error of `QUIETEST` decibels below the data range, or less, is black; one of the full range is the brightest.
    """
    error = (fitted - truth).square().mean(-1).sqrt() / 2
    decibels = 20 * torch.log10(error.clamp(min=10 ** (-QUIETEST / 20)))
    return from_black_to_bright(1 + 2 * decibels / QUIETEST)


def from_black_to_bright(numbers: Float[Tensor, " n"]) -> Float[Tensor, "n 3"]:
    """Return the colours of numbers in [-1, 1], from black to the brightest."""
    from nerfstudio.utils.colormaps import apply_float_colormap

    return apply_float_colormap(((1 + numbers[:, None]) / 2).clamp(0, 1), "inferno")


def round_length(length: float) -> float:
    """Round a positive length down to 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(length))
    return max(step * power for step in (1, 2, 5) if step * power <= length * (1 + 1e-9))


def with_legend(
    picture: Float[Tensor, "h w 3"], reach: float, title: str, middle: float = 0.0
) -> Float[Tensor, "h w 3"]:
    """Return a copy of a picture with a bar of the `diverging` colours, see `with_bar`.

    Args:
        picture: the picture, values in [0, 1].
        reach: the values at the ends of the bar are ``middle - reach`` and ``middle + reach``.
        title: text above the bar.
        middle: the value at the middle of the bar, which is grey.
    """
    ends = [
        f"{value:{'+' if value > 0 > middle - reach else ''}g}" for value in (middle - reach, middle, middle + reach)
    ]
    return with_bar(picture, diverging, title, ends)


def with_error_legend(picture: Float[Tensor, "h w 3"], title: str) -> Float[Tensor, "h w 3"]:
    """Return a copy of a picture of errors with a bar of the colours of `error_colors`, see `with_bar`."""
    ends = [f"-{QUIETEST:g} dB", f"-{QUIETEST / 2:g} dB", "0 dB"]
    return with_bar(picture, from_black_to_bright, title, ends)


def with_bar(
    picture: Float[Tensor, "h w 3"],
    colors: Callable[[Float[Tensor, " n"]], Float[Tensor, "n 3"]],
    title: str,
    labels: Sequence[str],
) -> Float[Tensor, "h w 3"]:
    """Return a copy of a picture with a bar of colours in its lower right corner.

    A picture that is too small for a legend is returned as it is.

    Args:
        picture: the picture, values in [0, 1].
        colors: function from numbers in [-1, 1], the bar's ends, to colours in [0, 1].
        title: text above the bar.
        labels: texts below the bar's beginning, middle and end.
    """
    from PIL import Image, ImageDraw, ImageFont

    height, width = picture.shape[:2]
    size = min(height, width) // 32
    if size < SMALLEST_FONT:
        return picture
    font = ImageFont.load_default(size)
    length = 12 * size
    left, top = width - length - 3 * size, height - 5 * size
    pixels = Image.fromarray((picture.clamp(0, 1).cpu().numpy() * 255 + 0.5).astype(np.uint8))
    draw = ImageDraw.Draw(pixels, "RGBA")
    draw.rectangle((left - 2 * size, top - 2 * size, width, height), fill=(255, 255, 255, 200))
    bar = colors(torch.linspace(-1, 1, length)).numpy()
    pixels.paste(Image.fromarray((np.tile(bar[None], (size, 1, 1)) * 255 + 0.5).astype(np.uint8)), (left, top))
    draw.rectangle((left - 1, top - 1, left + length, top + size), outline=(60, 60, 60))
    draw.text((left + length / 2, top - size * 0.4), title, (60, 60, 60), font, anchor="ms")
    for part, label in zip((0, 0.5, 1), labels, strict=True):
        position = (left + part * length, top + size + size * 1.4)
        draw.text(position, label, (60, 60, 60), font, anchor="ms")
    return torch.from_numpy(np.asarray(pixels).astype(np.float32) / 255).to(picture.device)
