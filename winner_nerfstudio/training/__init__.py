"""Fitting without nerfstudio: options, start, batches, loss and figures that all ways to a fit share."""
