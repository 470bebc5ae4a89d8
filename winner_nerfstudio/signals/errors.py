"""The error for a target that cannot be used, and the test for errors that mean too little memory."""

from .messages import MessageError


class SignalError(MessageError):
    """A target that cannot be used: the message is one line that names the file, the fault and the remedy."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out: in Python, numpy, CUDA, or, as a RuntimeError, in torch on the CPU."""
    has_memory_type = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return has_memory_type or "can't allocate memory" in str(error)
