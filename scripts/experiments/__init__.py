"""Experiments from files: what is fitted by what, the runs, and what is told of them."""
