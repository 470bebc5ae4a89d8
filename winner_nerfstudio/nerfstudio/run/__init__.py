"""The training, evaluation and report of a run of ``ns-train``."""
