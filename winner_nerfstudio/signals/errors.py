"""The error a user's mistake ends in."""


class SignalError(ValueError):
    """A target that cannot be used: the message is one line that names the file, the fault and the remedy."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that memory ran out: Python's, numpy's and CUDA's errors, torch's RuntimeError on the CPU."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or "can't allocate memory" in str(error)
