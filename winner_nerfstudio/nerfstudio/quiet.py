"""Filters for warnings of libraries about which a user can do nothing."""

import warnings


def quiet_libraries() -> None:
    """Ignore warnings of torch and nerfstudio that concern these libraries only, while one of our methods runs."""
    for category in (FutureWarning, UserWarning, DeprecationWarning):
        warnings.filterwarnings("ignore", category=category, module=r"(torch|torchvision|nerfstudio|viser)(\.|$)")


def quiet_imports() -> None:
    """Ignore a warning that nerfstudio's imports raise for every method, from the import of this package on."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"nerfstudio\.field_components\.activations")
