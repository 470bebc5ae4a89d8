"""Fits of many files: which files, in which tasks, on which machines, and the table of what came of them."""
