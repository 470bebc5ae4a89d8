"""The error a request that cannot be met ends in."""

from ..fields import Field


class ExportError(ValueError):
    """A request that cannot be met; the message is one line for the user."""


def require_kind(field: Field, kind: str, what: str) -> None:
    """See that a field is of the kind that can be written so.

    Raises:
        ExportError: it is of another.
    """
    if field.kind != kind:
        raise ExportError(f"a field of kind {field.kind!r} has no {what}; only one of kind {kind!r} has")
