"""A fit in one call, without nerfstudio: what ``ns-train`` does, for notebooks and scripts."""

import functools
import math
import time
import warnings
from dataclasses import fields
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from ..fields.checkpoint import provenance
from ..fields.fitted import FittedField
from ..signals.grid import Grid
from ..signals.load import Kind, is_mesh, kind_of, load_signal, loading_options
from ..signals.signal import Signal
from .figures import figures_of_grid, figures_of_shape
from .options import DistanceOptions, DrawnOptions, NetworkOptions, NoiseConfig, ResidentOptions
from .recipes import ADAM_EPSILON, RECIPES, Recipe, loss_of
from .schedule import cosine_decay
from .start import build_field, initialize_, told

if TYPE_CHECKING:
    Batches = ResidentOptions | DrawnOptions

SECONDS_PER_UPDATE = 0.5
"""The loss is fetched from the device no oftener than this."""
_COLUMNS = (
    TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
    BarColumn(),
    TextColumn("loss {task.fields[loss]:.4g}"),
    TimeRemainingColumn(),
)


def fit(
    data: Any,
    kind: Kind | None = None,
    *,
    steps: int | None = None,
    learning_rate: float | None = None,
    seed: int = 42,
    device: str | torch.device | None = None,
    progress: bool = True,
    measure: bool = True,
    **options: Any,
) -> FittedField:
    """Fit a sine network with WINNER's initialisation to a shape, a picture, a sound or a volume.

    The same signal, network, initialisation, batches and loss as ``ns-train winner-KIND --data DATA``: on one machine's
    CPU, one seed gives the same weights to the bit.

    Args:
        data: a file, ``sample:NAME``, an array or tensor, channels last (a picture [h, w] or [h, w, c], a series [n] or
            [n, c], a volume [x, y, z], points [n, 3] or with normals [n, 6]), a mesh of trimesh's, or a signal that is
            loaded already.
        kind: "sdf", "image", "audio" or "volume"; told by the file's name or the array's shape if left out.
        steps: of training; those of the kind's method if left out.
        learning_rate: of Adam at first, likewise.
        seed: of the network and the batches; that of noise and held-out samples is the option ``data_seed``.
        device: left out, CUDA where there is one.
        progress: whether to show it, and what is done to the data.
        measure: whether to measure the fit at the end, ``field.provenance["figures"]``.
        options: by the names of the command line: of the data (``max_side``, ``sample_rate``, ``sign`` ...), the
            network (``hidden_dim``, ``num_layers``, ``init`` ...), the noise (``s0``, ``s1``, ``schedule``), the
            batches (``batch_size`` ...) and, of shapes, the loss (``truncation`` ...).

    Returns:
        The fitted field, in the data's own coordinates and units; if interrupted (Ctrl-C, or the notebook's stop), as
        it was then.

    Raises:
        ValueError: options or data that won't do, in one line.
    """
    console = Console(quiet=not progress)
    place = _checked(1 if steps is None else steps, 1.0 if learning_rate is None else learning_rate, seed, device)
    with console.status("Loading..."):
        signal, network, batches, recipe = _prepared(_array(data), kind, options)
        steps = recipe.steps if steps is None else steps
        learning_rate = recipe.learning_rate if learning_rate is None else learning_rate
    for line in signal.describe():
        console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)
    with console.status("Initialising..."):
        sampler, loss = batches.sampler(signal, place, seed), loss_of(signal, network)
        sampler.start()
        field = build_field(signal, network, seed)
        chosen = told(initialize_(field, signal, network, seed), network)
        field.to(place)
    console.print(f"initialisation: {chosen['init']}", markup=False, highlight=False)
    optimizer = torch.optim.Adam(field.network.parameters(), learning_rate, eps=ADAM_EPSILON)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, cosine_decay(steps))
    last, done = torch.tensor(math.nan), 0
    start = shown = time.perf_counter()
    with torch.enable_grad(), Progress(*_COLUMNS, console=console, disable=not progress) as bar:
        task = bar.add_task("", total=steps, loss=math.nan)
        try:
            while done < steps:
                batch = loss.chosen(field, sampler.batch(done))
                optimizer.zero_grad()
                terms = loss.terms(loss.outputs(field, batch["coords"]), batch)
                total = functools.reduce(torch.add, terms.values())
                total.backward()
                optimizer.step()
                schedule.step()
                last, done = total.detach(), done + 1
                if progress and (time.perf_counter() - shown > SECONDS_PER_UPDATE or done == steps):
                    shown = time.perf_counter()
                    bar.update(task, completed=done, loss=float(last))
        except KeyboardInterrupt:
            if done == 0:
                raise
            warnings.warn(f"interrupted: the field is that of {done} of {steps} steps", stacklevel=2)
        final = float(last)  # waits for the device
    seconds = time.perf_counter() - start
    optimizer.zero_grad(set_to_none=True)
    if not math.isfinite(final):
        warnings.warn("the fit has diverged; a lower learning rate or less noise may help", stacklevel=2)
    field.eval()
    with console.status("Measuring the fit..."):
        figures = _figures(field, signal, network) if measure else {}
    return FittedField(field, provenance(chosen | {"seconds": seconds}, done, figures))


def _checked(steps: Any, learning_rate: Any, seed: Any, device: Any) -> torch.device:
    """The device, the others being what they should.

    Raises:
        ValueError: one of them isn't.
    """
    if not (isinstance(steps, (int, np.integer)) and steps >= 1):
        raise ValueError(f"steps={steps} must be a whole number, at least 1")
    if not (isinstance(learning_rate, (int, float)) and 0 < learning_rate < math.inf):
        raise ValueError(f"learning_rate={learning_rate} must be positive and finite")
    if not (isinstance(seed, (int, np.integer)) and 0 <= seed < 2**62):
        raise ValueError(f"seed={seed} must be a whole number, at least 0")
    try:
        found = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=found)
    except (RuntimeError, TypeError, AssertionError, ValueError) as error:
        raise ValueError(f"device={device!r} cannot be used ({str(error).splitlines()[0][:80]}); try cpu") from None
    return found


def _array(data: Any) -> Any:
    """Tensors, and whatever else offers itself as an array or as a list of one, as an array; anything else as it is.

    Raises:
        ValueError: it cannot be turned into one.
    """
    if isinstance(data, np.ma.MaskedArray):
        raise ValueError("a masked array cannot be fitted; fill it first, with its filled()")
    if isinstance(data, Tensor):
        dense = data.detach().to_dense() if data.layout != torch.strided else data.detach()
        return (dense.float() if dense.dtype == torch.bfloat16 else dense).cpu().numpy()
    if hasattr(data, "geometry") and hasattr(data, "to_mesh"):
        return data.to_mesh()
    if isinstance(data, (list, tuple, np.ndarray)) or hasattr(data, "__array_interface__"):
        return np.asarray(data)
    return data


def _prepared(
    data: Any, kind: Kind | None, options: dict[str, Any]
) -> "tuple[Signal, NetworkOptions, Batches, Recipe]":
    """The signal and the options, each checked.

    Raises:
        ValueError: an option that there is not, or that won't do.
    """
    raw = isinstance(data, (str, Path, np.ndarray)) or is_mesh(data)
    ready = None if raw else data
    if not raw and not all(hasattr(data, name) for name in ("kind", "normalization", "describe")):
        raise ValueError(f"a {type(data).__name__} cannot be fitted; give a file, an array, a mesh or a signal")
    if is_mesh(data) and kind not in (None, "sdf"):
        raise ValueError(f"kind={kind!r}, but a mesh is given, of kind 'sdf'")
    if ready is not None and kind not in (None, ready.kind):
        raise ValueError(f"kind={kind!r}, but the signal given is of kind {ready.kind!r}")
    kind = ready.kind if ready is not None else kind or kind_of(data)
    if ready is None and kind not in RECIPES:
        raise ValueError(f"kind={kind!r} is not one of: {', '.join(RECIPES)}")
    recipe = RECIPES.get(str(kind), Recipe())
    takes = {
        "data": [] if ready is not None else loading_options(kind),
        "network": [option.name for option in fields(recipe.network) if option.name != "noise"],
        "noise": [option.name for option in fields(NoiseConfig)],
        "batches": [option.name for option in fields(recipe.batches)],
    }
    chosen: dict[str, dict[str, Any]] = {part: {} for part in takes}
    for name, value in options.items():
        part = next((part for part, names in takes.items() if name in names), None)
        if part is None:
            close = get_close_matches(name, chain(*takes.values()), 1)
            hint = f"; is {close[0]} meant?" if close else ""
            raise ValueError(f"{name} is no option for a fit of kind {kind!r}{hint}")
        chosen[part][name] = value
    network = recipe.network(**chosen["network"], noise=NoiseConfig(**chosen["noise"]))
    batches = recipe.batches(**chosen["batches"])
    try:
        if problem := network.problem() or batches.problem():
            raise ValueError(problem)
        signal = ready if ready is not None else load_signal(data, kind, **chosen["data"])
    except (TypeError, AttributeError) as error:  # what is of another type fails where it is used
        given = ", ".join(f"{name}={value!r}" for name, value in options.items())
        raise ValueError(f"one of {given[:200]} is of the wrong type ({str(error)[:100]})") from error
    return signal, network, batches, recipe


def _figures(field: Any, signal: Signal, network: NetworkOptions) -> dict[str, float]:
    """Those that a run writes to its ``metrics.json``, but for time."""
    if isinstance(network, DistanceOptions):
        figures = figures_of_shape(field, signal, network.eval_resolution)  # type: ignore[arg-type]
    elif isinstance(signal, Grid):
        figures = figures_of_grid(field.evaluate, signal)
    else:
        return {}
    return {name: value for name, value in figures.items() if math.isfinite(value)}
