"""Fitting without nerfstudio: options, start, batches, loss and metrics that all ways to a fit share."""
