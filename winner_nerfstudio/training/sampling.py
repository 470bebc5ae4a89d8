"""The two samplers: one draws new points all the time, the other keeps all samples of a signal on the device."""

from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from itertools import product
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..signals.grid import Grid
from ..signals.interpolation import LANCZOS_TAPS, interpolate_half_way
from ..signals.lattice import Lattice
from ..signals.signal import Drawable

Batch = dict[str, Tensor]
"""Tensors by name on the device: ``coords`` [n, d], ``values`` [n, c], and more for some signals."""

EVALUATION_STREAM = 1 << 40  # no run is long enough to reach a chunk with this index


class Sampler(Protocol):
    """A source of batches. A step's batch depends on the seed and the step only, so that a run can be resumed."""

    batch_size: int
    """Number of points per step."""

    def start(self) -> None:
        """Prepare the first batch."""
        ...

    def batch(self, step: int) -> Batch:
        """Return the batch of a step."""
        ...

    def evaluation(self) -> Batch:
        """Return the points for an evaluation's losses, always the same; unseen in training if there are such."""
        ...


class Drawn:
    """A sampler that draws points in chunks; a thread draws the next chunk while the current one is used.

    A chunk depends on the seed and its index only. Three times the ``batch_size * steps_per_chunk / passes`` points of
    a chunk are in memory, whatever the signal's size: as they were drawn, in the order of a pass, and the next ones.

    Args:
        signal: signal to draw points from.
        device: device of the batches.
        seed: seed of the points and their order.
        batch_size: number of points per step.
        steps_per_chunk: number of steps that use one chunk.
        passes: greatest number of times that a point is used, in a new order each time, see `DrawnOptions`.

    Attributes:
        steps: the steps of the run, for which enough chunks are drawn; None where their number is not known.
    """

    def __init__(
        self, signal: Drawable, device: torch.device, seed: int, batch_size: int, steps_per_chunk: int, passes: int
    ) -> None:
        self.signal, self.device, self.seed = signal, device, seed
        self.batch_size, self.steps_per_chunk, self.passes = batch_size, steps_per_chunk, passes
        self.steps_per_pass = -(-steps_per_chunk // passes)
        self.steps: int | None = None
        self._drawing: tuple[int, Future[Batch]] | None = None
        self._chunk: tuple[int, Batch] | None = None
        self._order: tuple[int, Batch] | None = None
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="draw")

    def start(self) -> None:
        """Start to draw the first chunk in the thread, while the model is being built."""
        self._drawing = (0, self._submit(0))

    def batch(self, step: int) -> Batch:
        """Return the batch of a step."""
        chunk_index, step_in_chunk = divmod(step, self.steps_per_chunk)
        pass_index, row = divmod(step_in_chunk, self.steps_per_pass)
        rows = slice(row * self.batch_size, (row + 1) * self.batch_size)
        return {name: values[rows] for name, values in self._shuffle_chunk(chunk_index, pass_index).items()}

    def evaluation(self) -> Batch:
        """Return points that training never sees."""
        return {name: values.to(self.device) for name, values in self._draw(EVALUATION_STREAM, self.batch_size).items()}

    def _shuffle_chunk(self, index: int, pass_index: int) -> Batch:
        """Return a chunk in the order of one of its passes, on the device."""
        key = index * self.passes + pass_index
        if self._order is None or self._order[0] != key:
            chunk = self._get_chunk(index)
            order = torch.randperm(len(chunk["coords"]), generator=build_generator(self.seed, key))
            order = send(order, self.device)
            self._order = (key, {name: values.index_select(0, order) for name, values in chunk.items()})
        return self._order[1]

    def _get_chunk(self, index: int) -> Batch:
        """Return a chunk on the device, and start to draw the next one."""
        if self._chunk is None or self._chunk[0] != index:
            if self._drawing is None or self._drawing[0] != index:
                self._drawing = (index, self._submit(index))
            chunk = self._drawing[1].result()
            self._chunk = (index, {name: values.to(self.device, non_blocking=True) for name, values in chunk.items()})
            if self.steps is None or (index + 1) * self.steps_per_chunk < self.steps:
                self._drawing = (index + 1, self._submit(index + 1))
        return self._chunk[1]

    def _submit(self, index: int) -> "Future[Batch]":
        """Begin to draw a pass's samples in another thread."""
        return self._worker.submit(self._draw, index, self.batch_size * self.steps_per_pass)

    def _draw(self, index: int, count: int) -> Batch:
        """Draw a pass's samples, the same for each index."""
        samples = self.signal.draw(np.random.default_rng([self.seed, index]), count)
        batch = {name: torch.from_numpy(values) for name, values in samples.items()}
        return {name: values.pin_memory() for name, values in batch.items()} if self.device.type == "cuda" else batch


def expect_steps(samplers: Iterable[Sampler], steps: int) -> None:
    """Tell the samplers of a run how many steps it has: points that are drawn for later ones would be waited for."""
    for sampler in samplers:
        if isinstance(sampler, Drawn):
            sampler.steps = steps


class Passes:
    """Passes over all of a number of samples, each in a new order that is shared equally among the steps of a pass.

    The order of a pass takes four bytes of memory per sample.

    Args:
        count: number of samples.
        batch_size: greatest number of samples per step.
        seed: seed of the order.
        device: device of the indices.
    """

    def __init__(self, count: int, batch_size: int, seed: int, device: torch.device) -> None:
        self.count, self.seed, self.device = count, seed, device
        self.steps = -(-count // batch_size)
        self._order: tuple[int, Tensor] | None = None

    def select(self, step: int) -> Tensor:
        """Return the indices of a step's samples, int64."""
        pass_index, row = divmod(step, self.steps)
        if self._order is None or self._order[0] != pass_index:
            order = torch.randperm(self.count, generator=build_generator(self.seed, pass_index), dtype=torch.int32)
            self._order = (pass_index, send(order, self.device))
        rows = slice(row * self.count // self.steps, (row + 1) * self.count // self.steps)
        return self._order[1][rows].long()


class Resident:
    """A sampler that keeps all values on the device and serves each sample once per pass, in a new order each pass.

    If a batch holds all samples, it is the same at every step, in unchanged order. Otherwise the order of a pass takes
    four bytes of memory per sample, besides the values themselves.

    Args:
        signal: signal whose samples are served.
        device: device of the values and the batches.
        seed: seed of the order.
        batch_size: greatest number of samples per step; the samples are shared equally among the steps of a pass.
    """

    def __init__(self, signal: Grid, device: torch.device, seed: int, batch_size: int) -> None:
        self.lattice, self.device, self.seed = signal.lattice, device, seed
        self._signal = signal
        self.count = signal.lattice.count if signal.fitted is None else len(signal.fitted)
        self._passes = Passes(self.count, batch_size, seed, device)
        self.steps_per_pass = self._passes.steps
        self.batch_size = -(-self.count // self.steps_per_pass)
        self._full: Batch | None = None

    def start(self) -> None:
        """Copy the values to the device."""
        _ = self._values, self._fitted

    @cached_property
    def _values(self) -> Tensor:
        return torch.from_numpy(self._signal.values.reshape(-1, self._signal.channels)).to(self.device)

    @cached_property
    def _fitted(self) -> Tensor | None:
        return None if self._signal.fitted is None else torch.from_numpy(self._signal.fitted).to(self.device)

    def batch(self, step: int) -> Batch:
        """Return the batch of a step."""
        if self.steps_per_pass == 1:
            if self._full is None:
                self._full = self._gather(torch.arange(self.count, device=self.device))
            return self._full
        return self._gather(self._passes.select(step))

    def evaluation(self) -> Batch:
        """Return samples that are held out, if there are any, else some of those that are fitted."""
        rng, held_out = np.random.default_rng([self.seed, EVALUATION_STREAM]), self._signal.held_out
        if len(held_out):
            return self._get_samples(torch.from_numpy(rng.choice(held_out, self.batch_size)).to(self.device))
        return self._gather(torch.from_numpy(rng.integers(self.count, size=self.batch_size)).to(self.device))

    def _gather(self, index: Tensor) -> Batch:
        """Return samples by their index among those that are fitted."""
        return self._get_samples(index if self._fitted is None else self._fitted[index])

    def _get_samples(self, index: Tensor) -> Batch:
        """Return samples by their index in row-major order."""
        return {"coords": self.lattice.coords(index), "values": self._values.index_select(0, index)}


class Derived(Resident):
    """A sampler of a signal that is fitted by its derivatives, whose ``derivatives`` [n, c, k] are in the batches too.

    Every other step fits them half-way between the samples, along some of the axes, where they are interpolated: a
    network can have the right derivatives at all samples and, by what it does between them, the wrong values. They are
    NaN, and not fitted, where that is too close to the border.

    If values are known at some samples, ``known`` [n, 1] is 1 there, else 0. To a batch that does not hold all samples
    known ones are added, a quarter of its number at most, a new choice at each step.
    """

    def batch(self, step: int) -> Batch:
        """Return the batch of a step."""
        turn, is_between = divmod(step, 2) if self._halves else (step, 0)
        batch = self._get_between(turn) if is_between else super().batch(turn)
        if self._known is None or (self.steps_per_pass == 1 and not is_between):
            return batch
        rows, most = self._known_rows, max(1, self.batch_size // 4)
        if len(rows) > most:
            generator = build_generator(self.seed, EVALUATION_STREAM + step)
            rows = rows[send(torch.randint(len(rows), (most,), generator=generator), self.device)]
        more = self._get_samples(rows)
        return {name: torch.cat([values, more[name]]) for name, values in batch.items()}

    @cached_property
    def _halves(self) -> list[tuple[bool, ...]]:
        """The choices of axes along which points are half-way between samples; short axes are left out."""
        choices = product(*[(False, True) if size > 2 * LANCZOS_TAPS else (False,) for size in self.lattice.shape])
        return [half for half in choices if any(half)]

    def _get_between(self, turn: int) -> Batch:
        """Return points half-way between samples, drawn at random."""
        half = self._halves[turn % len(self._halves)]
        if half not in self._cut:
            assert self._signal.derivatives is not None
            values, data = self._signal.values, self._signal.derivatives.data
            cut = interpolate_half_way(data.reshape(*data.shape[:-2], -1), half)
            for axis, between in enumerate(half):
                if between:  # what is interpolated from samples beyond the border, as in a mirror, is no derivative
                    ends = np.r_[: LANCZOS_TAPS - 1, 1 - LANCZOS_TAPS : 0]
                    np.moveaxis(cut, axis, 0)[ends] = np.nan
            tensors = torch.from_numpy(interpolate_half_way(values, half)), torch.from_numpy(cut)
            self._cut[half] = tensors[0].to(self.device), tensors[1].to(self.device)
        middle, slopes = self._cut[half]
        shape = middle.shape[:-1]
        generator = build_generator(self.seed, 2 * EVALUATION_STREAM + turn)
        rows = send(torch.randint(shape.numel(), (self.batch_size,), generator=generator), self.device)
        index = Lattice(tuple(shape)).positions(rows).unbind(-1)
        places = [along + between / 2 for along, between in zip(index, half, strict=True)]
        batch = {
            "coords": torch.stack(self.lattice.axis_coords(places), dim=-1),
            "values": middle.flatten(0, -2)[rows],
            "derivatives": slopes.flatten(0, -2)[rows].unflatten(-1, (middle.shape[-1], -1)),
        }
        return batch if self._known is None else batch | {"known": torch.zeros_like(batch["values"][:, :1])}

    @cached_property
    def _cut(self) -> dict[tuple[bool, ...], tuple[Tensor, Tensor]]:
        """The values and the derivatives half-way between samples, as far as they have been asked for."""
        return {}

    @cached_property
    def _derivatives(self) -> Tensor:
        assert self._signal.derivatives is not None
        data = self._signal.derivatives.data
        return torch.from_numpy(data.reshape(-1, *data.shape[-2:])).to(self.device)

    @cached_property
    def _known(self) -> Tensor | None:
        assert self._signal.derivatives is not None
        known = self._signal.derivatives.known
        return None if known is None else torch.from_numpy(known.reshape(-1, 1)).float().to(self.device)

    @cached_property
    def _known_rows(self) -> Tensor:
        """The samples at which values are known; found on the CPU, so that no step waits for the device."""
        assert self._signal.derivatives is not None
        assert self._signal.derivatives.known is not None
        return torch.from_numpy(np.flatnonzero(self._signal.derivatives.known)).to(self.device)

    def _get_samples(self, index: Tensor) -> Batch:
        """Return samples by their index in row-major order."""
        batch = super()._get_samples(index) | {"derivatives": self._derivatives[index]}
        return batch if self._known is None else batch | {"known": self._known[index]}


def send(values: Tensor, device: torch.device) -> Tensor:
    """Return the CPU's values on a device; a GPU takes them while the program goes on."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def build_generator(seed: int, stream: int) -> torch.Generator:
    """Return a random generator for one of the many streams of a seed."""
    return torch.Generator().manual_seed((seed * 1_000_003 + stream) % 2**63)
