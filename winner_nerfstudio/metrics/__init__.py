"""Figures for each kind of signal."""
