"""The two ways to batches: points drawn anew for ever, and samples that are all there and on the device."""

from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..signals.grid import Grid
from ..signals.signal import Drawable

Batch = dict[str, Tensor]
"""``coords`` [n, d] and ``values`` [n, c], on the device."""

_EVAL_STREAM = 1 << 40  # no run gets as far as a chunk of this number


class Sampler(Protocol):
    """Serves a run's batches; that of a step depends on the run's seed and the step only, so that runs resume."""

    batch_size: int
    """Points per step."""

    def start(self) -> None:
        """Get ready for the first step."""
        ...

    def batch(self, step: int) -> Batch:
        """The points of a step."""
        ...

    def evaluation(self) -> Batch:
        """Points for the losses of an evaluation, the same each time; unseen ones where there are any."""
        ...


class Drawn:
    """Draws points in chunks, the next in a thread while the last is used.

    A chunk depends on the seed and its own number. Memory: two chunks of
    ``batch_size * steps_per_chunk / passes`` points, whatever the signal's size.

    Args:
        signal: what to draw from.
        device: where batches are put.
        seed: of the points.
        batch_size: points per step.
        steps_per_chunk: steps that are served from one chunk.
        passes: times that each point is used, in a new order each time.
    """

    def __init__(
        self, signal: Drawable, device: torch.device, seed: int, batch_size: int, steps_per_chunk: int, passes: int
    ) -> None:
        self.signal, self.device, self.seed = signal, device, seed
        self.batch_size, self.steps_per_chunk, self.passes = batch_size, steps_per_chunk, passes
        self.steps_per_pass = -(-steps_per_chunk // passes)
        self._drawing: tuple[int, Future[Batch]] | None = None
        self._chunk: tuple[int, Batch] | None = None
        self._order: tuple[int, Batch] | None = None
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="draw")

    def start(self) -> None:
        """Draw the first chunk, while the model is being built."""
        self._drawing = (0, self._submit(0))

    def batch(self, step: int) -> Batch:
        """The points of a step."""
        index, place = divmod(step, self.steps_per_chunk)
        number, row = divmod(place, self.steps_per_pass)
        rows = slice(row * self.batch_size, (row + 1) * self.batch_size)
        return {name: values[rows] for name, values in self._shuffled(index, number).items()}

    def evaluation(self) -> Batch:
        """Points that training never sees."""
        return {name: values.to(self.device) for name, values in self._draw(_EVAL_STREAM, self.batch_size).items()}

    def _shuffled(self, index: int, number: int) -> Batch:
        """The chunk of that index in the order of its pass `number`, on the device."""
        key = index * self.passes + number
        if self._order is None or self._order[0] != key:
            chunk = self._get_chunk(index)
            order = torch.randperm(len(chunk["coords"]), generator=_generator(self.seed, key)).to(self.device)
            self._order = (key, {name: values[order] for name, values in chunk.items()})
        return self._order[1]

    def _get_chunk(self, index: int) -> Batch:
        if self._chunk is None or self._chunk[0] != index:
            if self._drawing is None or self._drawing[0] != index:
                self._drawing = (index, self._submit(index))
            chunk = self._drawing[1].result()
            self._chunk = (index, {name: values.to(self.device, non_blocking=True) for name, values in chunk.items()})
            self._drawing = (index + 1, self._submit(index + 1))
        return self._chunk[1]

    def _submit(self, index: int) -> "Future[Batch]":
        return self._worker.submit(self._draw, index, self.batch_size * self.steps_per_pass)

    def _draw(self, index: int, count: int) -> Batch:
        samples = self.signal.draw(np.random.default_rng([self.seed, index]), count)
        batch = {name: torch.from_numpy(values) for name, values in samples.items()}
        return {name: values.pin_memory() for name, values in batch.items()} if self.device.type == "cuda" else batch


class Resident:
    """Keeps all values on the device and serves them without replacement: each once per pass, in a new order each time.

    A batch that would hold them all is the same at every step, in order. Otherwise memory grows by four bytes per
    sample for the order of a pass, besides the values themselves.

    Args:
        signal: whose samples to serve.
        device: where they are kept.
        seed: of the order.
        batch_size: most points per step; the steps of a pass share them equally.
    """

    def __init__(self, signal: Grid, device: torch.device, seed: int, batch_size: int) -> None:
        self.lattice, self.device, self.seed = signal.lattice, device, seed
        self._signal = signal
        self.count = signal.lattice.count if signal.fitted is None else len(signal.fitted)
        self.steps_per_pass = -(-self.count // batch_size)
        self.batch_size = -(-self.count // self.steps_per_pass)
        self._order: tuple[int, Tensor] | None = None
        self._full: Batch | None = None

    def start(self) -> None:
        """Put the values on the device."""
        _ = self._values, self._fitted

    @cached_property
    def _values(self) -> Tensor:
        return torch.from_numpy(self._signal.values.reshape(-1, self._signal.channels)).to(self.device)

    @cached_property
    def _fitted(self) -> Tensor | None:
        return None if self._signal.fitted is None else torch.from_numpy(self._signal.fitted).to(self.device)

    def batch(self, step: int) -> Batch:
        """The samples of a step."""
        number, row = divmod(step, self.steps_per_pass)
        if self.steps_per_pass == 1:
            if self._full is None:
                self._full = self._gather(torch.arange(self.count, device=self.device))
            return self._full
        if self._order is None or self._order[0] != number:
            order = torch.randperm(self.count, generator=_generator(self.seed, number), dtype=torch.int32)
            self._order = (number, order.to(self.device))
        rows = slice(row * self.count // self.steps_per_pass, (row + 1) * self.count // self.steps_per_pass)
        return self._gather(self._order[1][rows].long())

    def evaluation(self) -> Batch:
        """Samples that are held out, if there are any; else some that are fitted."""
        rng, held_out = np.random.default_rng([self.seed, _EVAL_STREAM]), self._signal.held_out
        if len(held_out):
            return self._samples(torch.from_numpy(rng.choice(held_out, self.batch_size)).to(self.device))
        return self._gather(torch.from_numpy(rng.integers(self.count, size=self.batch_size)).to(self.device))

    def _gather(self, place: Tensor) -> Batch:
        """Samples by their place among those that are fitted."""
        return self._samples(place if self._fitted is None else self._fitted[place])

    def _samples(self, number: Tensor) -> Batch:
        return {"coords": self.lattice.coords(number), "values": self._values[number]}


def _generator(seed: int, number: int) -> torch.Generator:
    return torch.Generator().manual_seed((seed * 1_000_003 + number) % 2**63)
