"""The built-in kinds of signals, a module each; `winner_nerfstudio.registry` says what a kind is."""
