"""Silence about what a user can do nothing about."""

import warnings


def quiet_libraries() -> None:
    """Drop the warnings that torch and nerfstudio raise at each other while one of our methods runs."""
    for category in (FutureWarning, UserWarning, DeprecationWarning):
        warnings.filterwarnings("ignore", category=category, module=r"(torch|torchvision|nerfstudio|viser)(\.|$)")


def quiet_imports() -> None:
    """Drop what nerfstudio's own imports raise, whatever the method, from the moment that we are loaded."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"nerfstudio\.field_components\.activations")
