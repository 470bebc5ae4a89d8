"""Picture files: which reader reads which file."""

from .files import read_picture
from .picture import Picture, describe_excess

__all__ = ["Picture", "describe_excess", "read_picture"]
