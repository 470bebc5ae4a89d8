"""The error a user's mistake ends in."""


class SignalError(ValueError):
    """A target that cannot be used: the message is one line that names the file, the fault and the remedy."""


def refuse(problem: str | None) -> None:
    """End a request that won't do; let any other pass.

    Raises:
        SignalError: there is a problem.
    """
    if problem:
        raise SignalError(problem)
