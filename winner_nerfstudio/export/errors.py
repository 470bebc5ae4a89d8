"""The error a request that cannot be met ends in."""


class ExportError(ValueError):
    """A request that cannot be met; the message is one line for the user."""
