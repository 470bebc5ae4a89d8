"""Training, evaluating and reporting a run."""
