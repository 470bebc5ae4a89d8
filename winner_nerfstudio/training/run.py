"""The training of a field from its first step to its last, with its progress shown."""

import math
import time
from dataclasses import dataclass, field

from rich.console import Console

from ..progress import progress_bar
from ..registry import Monitor
from .initialize import Start
from .loop import Training
from .plan import Plan
from .sampling import expect_steps
from .watch import LINES_PER_RUN, SECONDS_PER_UPDATE, Entry, describe_status, steps_per_measurement


@dataclass
class Outcome:
    """What a training has come to.

    Attributes:
        steps: number of finished steps.
        seconds: time of training, without the measuring in between.
        loss: loss before the last step.
        history: for each measurement the step, the loss and the metrics by name.
        interrupted: whether the user has stopped it.
    """

    steps: int = 0
    seconds: float = 0.0
    loss: float = math.nan
    history: list[Entry] = field(default_factory=list)
    interrupted: bool = False

    @property
    def diverged(self) -> bool:
        """Whether the loss is no longer finite."""
        return not math.isfinite(self.loss)


def train(started: Start, plan: Plan, console: Console, monitor: Monitor | None) -> Outcome:
    """Train a field in place; Ctrl-C ends the training, and so does a loss that is not finite.

    Args:
        started: the field, its batches and the loss.
        plan: the steps, the learning rate and the optimiser.
        console: where the progress is shown, a bar on a terminal and some lines elsewhere.
        monitor: the metrics that are computed during the run, or None for no metrics.

    Raises:
        KeyboardInterrupt: the user has stopped the training before the first step was finished.
    """
    training, outcome = Training(started, plan.learning_rate, plan.decay, plan.optimizer), Outcome()
    steps, every = plan.steps, math.inf
    expect_steps(training.samplers, steps)
    if monitor is not None and monitor.points:
        every = min(steps_per_measurement(monitor.points, started.sampler.batch_size), max(1, steps // 2))
    display = _Display(console, steps)
    try:
        with display.bar:
            while training.done < steps:
                began = time.perf_counter()
                training.step()
                done = training.done
                is_due, is_shown = done % every == 0 or done == steps, display.is_due(done)
                if is_due or is_shown:
                    outcome.loss = float(training.loss)  # waits for the device, so it belongs to the measured time
                outcome.seconds, outcome.steps = outcome.seconds + time.perf_counter() - began, done
                if is_due and monitor is not None and not outcome.diverged:
                    metrics = monitor.metrics(training.field)
                    outcome.history.append([done, outcome.loss, metrics])
                if is_shown:
                    display.show(done, describe_status(outcome.loss, outcome.history))
                if (is_due or is_shown) and outcome.diverged:
                    break
    except KeyboardInterrupt:
        if training.done == 0:
            raise
        outcome.interrupted, outcome.loss = True, float(training.loss)
    training.finish()
    return outcome


class _Display:
    """The progress of a training: a bar on a terminal, lines in a file.

    Args:
        console: where it is shown.
        steps: number of steps of the run.
    """

    def __init__(self, console: Console, steps: int) -> None:
        self._console, self._steps, self._is_live = console, steps, console.is_terminal or console.is_jupyter
        before, after = "step {task.completed:.0f}/{task.total:.0f}", "{task.fields[status]}"
        self.bar = progress_bar(console, before, after, disable=not self._is_live or console.quiet)
        self._task = self.bar.add_task("", total=steps, status="")
        self._shown = time.perf_counter()

    def is_due(self, done: int) -> bool:
        """Return whether the progress is to be shown after so many steps."""
        if self._is_live or self._console.quiet:
            return done == self._steps or time.perf_counter() - self._shown > SECONDS_PER_UPDATE
        return done % max(1, self._steps // LINES_PER_RUN) == 0 or done == self._steps

    def show(self, done: int, status: str) -> None:
        """Show the steps that are done and the status."""
        self._shown = time.perf_counter()
        if self._is_live:
            self.bar.update(self._task, completed=done, status=status)
        else:
            self._console.print(f"step {done}/{self._steps}, {status}", markup=False, highlight=False, soft_wrap=True)
