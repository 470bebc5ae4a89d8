"""A learning-rate schedule whose checkpoints load everywhere."""

from dataclasses import dataclass, field

from nerfstudio.engine.schedulers import Scheduler, SchedulerConfig
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ...training.decay import FINAL_FACTOR, cosine_decay


@dataclass
class CosineDecayConfig(SchedulerConfig):
    """Half a cosine from the initial learning rate to a part of it."""

    _target: type = field(default_factory=lambda: CosineDecay)
    max_steps: int | None = None
    """Steps until the final rate is reached; the run's --max-num-iterations if left out."""
    final_factor: float = FINAL_FACTOR
    """The final rate as a part of the initial one."""


class CosineDecay(Scheduler):
    """Builds the torch scheduler. nerfstudio's own cosine leaves numpy scalars in checkpoints, which safe loading
    (torch 2.6 and later) refuses; this one computes with Python floats.
    """

    config: CosineDecayConfig

    def get_scheduler(self, optimizer: Optimizer, lr_init: float) -> LambdaLR:
        """The scheduler; it ignores `lr_init`, which the optimizer holds."""
        steps, final = self.config.max_steps, self.config.final_factor
        if steps is None:
            raise ValueError("max_steps is not set: SignalTrainerConfig sets it from max_num_iterations")

        return LambdaLR(optimizer, cosine_decay(steps, final))
