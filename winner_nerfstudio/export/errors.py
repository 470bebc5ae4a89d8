"""The error a request that cannot be met ends in."""

from ..messages import MessageError


class ExportError(MessageError):
    """A request that cannot be met; the message is one line for the user."""
