"""The error a request that cannot be met ends in."""

from ..signals.messages import MessageError


class ExportError(MessageError):
    """A request that cannot be met; the message is one line for the user."""
