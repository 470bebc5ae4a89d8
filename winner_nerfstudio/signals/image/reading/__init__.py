"""Picture files: which reader reads which file."""

from .files import READ_ONLY, read_picture
from .picture import Picture, describe_excess

__all__ = ["READ_ONLY", "Picture", "describe_excess", "read_picture"]
