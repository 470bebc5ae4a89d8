"""The error a request that cannot be met ends in."""

from ..fields import Field


class ExportError(ValueError):
    """A request that cannot be met; the message is one line for the user."""


def require_kind(field: Field, what: str, *kinds: str) -> None:
    """See that a field is of a kind that can be written so.

    Raises:
        ExportError: it is of another.
    """
    if field.kind not in kinds:
        these = " or ".join(map(repr, kinds))
        raise ExportError(f"a field of kind {field.kind!r} has no {what}; only one of kind {these} has")
