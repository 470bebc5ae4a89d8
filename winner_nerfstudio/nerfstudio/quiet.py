"""Filters for warnings of libraries about which a user can do nothing."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

VERBOSE = "WINNER_VERBOSE"
"""The environment variable that shows nerfstudio's own lines; ns-train can have no flag for what comes before it."""


def quiet_libraries() -> None:
    """Ignore warnings of torch and nerfstudio that concern these libraries only, while one of our methods runs."""
    for category in (FutureWarning, UserWarning, DeprecationWarning):
        warnings.filterwarnings("ignore", category=category, module=r"(torch|torchvision|nerfstudio|viser)(\.|$)")


def quiet_imports() -> None:
    """Ignore a warning that nerfstudio's imports raise for every method, from the import of this package on."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"nerfstudio\.field_components\.activations")


@contextmanager
def quiet_nerfstudio() -> Iterator[None]:
    """Keep nerfstudio's lines about itself off the terminal, unless the environment variable `VERBOSE` is set."""
    from nerfstudio.utils.rich_utils import CONSOLE

    before, CONSOLE.quiet = CONSOLE.quiet, CONSOLE.quiet or not os.environ.get(VERBOSE)
    try:
        yield
    finally:
        CONSOLE.quiet = before
