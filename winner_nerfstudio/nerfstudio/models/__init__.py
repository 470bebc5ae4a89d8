"""One nerfstudio model for each kind of signal."""
