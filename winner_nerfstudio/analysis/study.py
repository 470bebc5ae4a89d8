"""A target and the networks that a fit would have for it, after initialisation and after some training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import nn

from ..registry import kind_named
from ..training.initialize import build_field, describe_initialization, initialize_, start
from ..training.plan import Course, Plan, make_plan
from ..training.prepare import find_device, sort_options
from .compare import State, compare_states, train
from .members import Progress, study_members
from .options import SINGLE_BATCH, Init, Study
from .targets import target_of


def study(signal: Any, options: Study, on_progress: Progress = lambda doing: None) -> dict[str, Any]:
    """Measure a target and the networks for it.

    Args:
        signal: The target, loaded.
        options: What to measure.
        on_progress: Called with what is being done.

    Returns:
        The content of `analysis.json`, see docs/analysis.md: strings, numbers, lists and dicts.

    Raises:
        ValueError: The options cannot be used, the target is too short, or a fit has diverged.
    """
    options.check()
    plans = make_plans(signal, options)
    plan = next(iter(plans.values()))
    if plan.options.network.has_parts:
        return study_members(signal, options, plans, find_steps(signal, options, plan), on_progress)
    on_progress("measuring the target")
    states = (
        state for init, plan in plans.items() for state in _train_single(signal, options, init, plan, on_progress)
    )
    found = compare_states(target_of(signal), options, plan, find_steps(signal, options, plan), states)
    found["reduced"] += [plan.note] if plan.note else []
    return found


def make_plans(signal: Any, options: Study) -> dict[Init, Plan]:
    """Return how the network of each initialisation is fitted.

    All are single networks if one of them would be.

    Raises:
        ValueError: The options cannot be used; the message is one line.
    """
    plans = {init: _make_plan(signal, options, init, options.steps) for init in options.init}
    divided = [init for init, plan in plans.items() if plan.options.network.has_parts]
    if options.parts == "auto" and len(divided) < len(plans):
        single = replace(options, parts=(1,))
        plans |= {init: _make_plan(signal, single, init, options.steps) for init in divided}
    return plans


def find_steps(signal: Any, options: Study, plan: Plan) -> int:
    """Return the training steps of a whole fit of a plan's network, the first of `make_plans`."""
    parts = options.parts if plan.options.network.has_parts else (1,)
    return _make_plan(signal, replace(options, parts=parts), options.init[0], None).steps


def _make_plan(signal: Any, options: Study, init: Init, steps: int | None) -> Plan:
    given = sort_options(kind_named(signal.kind), options.network(init), loaded=True)
    plan = make_plan(signal, given, Course(steps, options.learning_rate, seed=options.seed))
    if options.batch_size is None and not plan.options.network.has_parts:
        batches = replace(plan.options.batches, batch_size=SINGLE_BATCH)
        plan = replace(plan, options=replace(plan.options, batches=batches))
    return plan


def _train_single(signal: Any, options: Study, init: Init, plan: Plan, on_progress: Progress) -> Iterator[State]:
    """Yield a network after initialisation and, if it is trained, after training."""
    on_progress(f"initialising {init}")
    network = plan.options.network
    field = build_field(signal, network, options.seed)
    record = describe_initialization(initialize_(field, signal, network, options.seed), network)
    assert isinstance(field.network, nn.Sequential)  # as a `Siren` is
    yield State(init, 0, record, field.network)
    if plan.steps:
        on_progress(f"fitting {init}, {plan.steps:,} steps")
        started = start(signal, plan.options, find_device(None), plan.seed)
        train(started, plan, init)
        assert isinstance(started.field.network, nn.Sequential)
        on_progress(f"measuring {init} after {plan.steps:,} steps")
        yield State(init, plan.steps, record, started.field.network)
