"""The error a user's mistake ends in."""


class SignalError(ValueError):
    """A target that cannot be used: the message is one line that names the file, the fault and the remedy."""
