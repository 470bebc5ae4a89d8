"""Experiments described by files: every signal fitted by every variant and seed, with tables and plots."""
