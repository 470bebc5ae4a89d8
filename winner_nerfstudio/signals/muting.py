"""What libraries write to the terminal themselves, and how to keep it from there."""

import contextlib
import logging
import os
from collections.abc import Iterator


@contextlib.contextmanager
def mute_libraries() -> Iterator[None]:
    """Drop what libraries in C and C++ write to the terminal, such as libpng, OpenEXR, OpenCV and libmpg123.

    No other thread may write or mute meanwhile.
    """
    with contextlib.ExitStack() as stack:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        stack.callback(os.close, nowhere)
        for output in (1, 2):
            with contextlib.suppress(OSError):  # a closed output needs no muting
                kept = os.dup(output)
                stack.callback(os.close, kept)
                stack.callback(os.dup2, kept, output)
                os.dup2(nowhere, output)
        yield


@contextlib.contextmanager
def mute_logger(name: str) -> Iterator[None]:
    """Drop what a library in Python logs."""
    logger = logging.getLogger(name)
    was_disabled, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = was_disabled
