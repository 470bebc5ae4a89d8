"""The nerfstudio models, one for each kind of signal."""
