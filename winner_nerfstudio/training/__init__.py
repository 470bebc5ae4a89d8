"""Fitting a network to a signal without nerfstudio: options, initialisation, batches, loss and training loop."""
