"""A learning-rate schedule whose checkpoints every version of torch can load."""

import math
from dataclasses import dataclass, field

from nerfstudio.engine.schedulers import Scheduler, SchedulerConfig
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ...training.decay import cosine_decay, find_final_factor
from ...training.optimizers import Muon


@dataclass
class CosineDecayConfig(SchedulerConfig):
    """A learning rate that falls along half a cosine from its initial to its final value."""

    _target: type = field(default_factory=lambda: CosineDecay)
    max_steps: int | None = None
    """Steps until the final rate is reached; if left out, the run's --max-num-iterations."""
    final_factor: float | None = None
    """Ratio of the final rate to the initial one; if left out, 0.001 for muon and 0.02 for the others."""

    def check(self, flag: str) -> None:
        """Check the options.

        Args:
            flag: prefix of the options' names in error messages.

        Raises:
            ValueError: one of them is out of its range; the message is one line.
        """
        if self.max_steps is not None and self.max_steps < 1:
            raise ValueError(f"{flag}max-steps {self.max_steps} must be at least 1")
        if self.final_factor is not None and not 0 <= self.final_factor < math.inf:
            raise ValueError(f"{flag}final-factor {self.final_factor} must be finite and not negative")


class CosineDecay(Scheduler):
    """The scheduler of a cosine decay, computed with Python floats.

    nerfstudio's own cosine schedule leaves numpy scalars in checkpoints, and torch 2.6 and later refuse to load those.
    """

    config: CosineDecayConfig

    def get_scheduler(self, optimizer: Optimizer, lr_init: float) -> LambdaLR:
        """Return torch's scheduler; it ignores `lr_init`, because the optimizer has it already."""
        steps, final = self.config.max_steps, self.config.final_factor
        if steps is None:
            raise ValueError("max_steps is not set: SignalTrainerConfig sets it from max_num_iterations")
        if final is None:
            final = find_final_factor("muon" if isinstance(optimizer, Muon) else "adam")
        return LambdaLR(optimizer, cosine_decay(steps, final))
