"""The config of Adam with a learning rate that may be left open."""

from dataclasses import dataclass

from nerfstudio.engine.optimizers import AdamOptimizerConfig


@dataclass
class AdamConfig(AdamOptimizerConfig):
    """Adam."""

    lr: float | None = None  # type: ignore[assignment]
    """Learning rate at the first step; if left out, it depends on the kind and the size of the signal."""
