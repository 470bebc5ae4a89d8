"""Fitted networks with their normalisation."""

from .field import Field

__all__ = ["Field"]
