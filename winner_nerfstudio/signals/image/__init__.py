"""Pictures: `load_image` reads one, `Image` is the target made of it, and `save_image` writes a fit back."""

from .image import Image, load_image
from .writing import cannot_save, save_image

__all__ = ["Image", "cannot_save", "load_image", "save_image"]
