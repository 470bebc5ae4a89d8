"""Metrics for each kind of signal."""
