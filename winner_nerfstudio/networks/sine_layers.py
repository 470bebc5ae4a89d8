"""The values of a chain of sine layers and their gradients by its weights, in few passes over the memory.

Between the matrix products, plain layers pass over each hidden layer's values about ten times in a training step, and
take new memory for most of the results. Here the frequency is a factor of the matrix products, the bias is added in
place, the cosines of the backward pass replace the sines' arguments, and the memory of a step serves the next one.
`evaluate_plainly` is the same function as plain layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

if TYPE_CHECKING:
    from jaxtyping import Float


def evaluate_plainly(
    coords: Float[Tensor, "*m n _"],
    weights: Sequence[Float[Tensor, "... _ _"]],
    biases: Sequence[Float[Tensor, "... _"]],
    frequencies: Sequence[float],
) -> Float[Tensor, "*m n _"]:
    """Compute ``sin(f (W x + b))`` for each layer in turn, and ``W x + b`` for the last one.

    Args:
        coords: the inputs of the first layer.
        weights: the weights of each layer; with members in front, each member has its own.
        biases: the biases of each layer.
        frequencies: the frequency of each layer but the last.
    """
    for weight, bias, frequency in zip(weights, biases, frequencies, strict=False):
        coords = torch.sin(frequency * (coords @ weight.mT + bias[..., None, :]))
    return coords @ weights[-1].mT + biases[-1][..., None, :]


NUMPY_THREADS = 2
"""The number of threads up to which NumPy's sines, for which it uses one, take no more time than torch's on all."""


class Workspace:
    """Memory of a training step that the next step uses again; a copy has none.

    It grows to what one step needs, twice the hidden layers' values, and is kept until `clear`.
    """

    def __init__(self) -> None:
        self._spare: list[Tensor] = []

    def take(self, like: Float[Tensor, "*n _"], width: int) -> Float[Tensor, "*n width"]:
        """Return a tensor with arbitrary values, of the type, the device and all but the last size of `like`."""
        shape = (*like.shape[:-1], width)
        count = like.shape[:-1].numel() * width
        while self._spare:
            spare = self._spare.pop()
            if spare.dtype == like.dtype and spare.device == like.device and spare.numel() >= count:
                return spare[:count].view(shape)
        return like.new_empty(count).view(shape)

    def give(self, tensors: Sequence[Tensor]) -> None:
        """Take back tensors that `take` has returned and that are no longer needed."""
        self._spare += [tensor.new_empty(0).set_(tensor.untyped_storage()) for tensor in tensors]

    def clear(self) -> None:
        """Release the memory."""
        self._spare.clear()

    def __deepcopy__(self, memo: dict[int, Any]) -> Workspace:
        return Workspace()

    def __reduce__(self) -> tuple[type[Workspace], tuple[()]]:
        return Workspace, ()


def can_evaluate(coords: Tensor, parameters: Sequence[Tensor]) -> bool:
    """Return whether `evaluate_sines` may be used for these coordinates and parameters; plain layers always may.

    It has no gradients by the coordinates, and PyTorch's transformations (export, tracing, compilation,
    ``torch.func``, forward mode, autocast, modes that see each operation) are left to plain layers.
    """
    plain = (
        coords.requires_grad
        or not coords.is_floating_point()
        or torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or coords.device.type not in ("cpu", "cuda")
        or torch.is_autocast_enabled(coords.device.type)
    )
    return not plain and all(
        type(tensor) in (Tensor, nn.Parameter) and tensor.dtype == coords.dtype and tensor.device == coords.device
        for tensor in (coords, *parameters)
    )


def evaluate_sines(
    coords: Float[Tensor, "*m n _"],
    weights: Sequence[Float[Tensor, "... _ _"]],
    biases: Sequence[Float[Tensor, "... _"]],
    frequencies: Sequence[float],
    workspace: Workspace,
) -> Float[Tensor, "*m n _"]:
    """Compute what `evaluate_plainly` does, to rounding; gradients by weights and biases may be taken of any order.

    Args:
        coords: as in `evaluate_plainly`, with one or no axis of members.
        weights: as in `evaluate_plainly`.
        biases: as in `evaluate_plainly`.
        frequencies: as in `evaluate_plainly`.
        workspace: the memory for what the backward pass needs.
    """
    if torch.is_grad_enabled():
        values: Tensor = _Sines.apply(coords, frequencies, workspace, *weights, *biases)
        return values
    memory, inputs = Workspace(), coords
    for weight, bias, frequency in zip(weights, biases, frequencies, strict=False):
        outputs = _apply_layer(inputs, weight, bias, frequency, memory.take(coords, weight.shape[-2]))
        _compute("sin", outputs, outputs)
        if inputs is not coords:
            memory.give([inputs])
        inputs = outputs
    return _apply_last_layer(inputs, weights[-1], biases[-1])


def _apply_layer(inputs: Tensor, weight: Tensor, bias: Tensor, factor: float, out: Tensor) -> Tensor:
    """Compute ``factor (W x + b)`` in `out`."""
    return _multiply(inputs, weight.mT, factor, out).add_(factor * bias[..., None, :])


def _apply_last_layer(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute ``W x + b`` in memory of its own, which outlives the step."""
    return _apply_layer(inputs, weight, bias, 1.0, inputs.new_empty(*inputs.shape[:-1], weight.shape[-2]))


def _compute(name: Literal["sin", "cos"], values: Tensor, out: Tensor) -> Tensor:
    """Compute sines or cosines in `out`, which may be `values`: by NumPy where it is faster than torch.

    On one core NumPy takes two fifths of torch's time in single precision (scripts/benchmark_step.py), but it uses one
    thread only. Both are within 1.2e-7 of the true value.
    """
    if values.dtype == torch.float32 and values.device.type == "cpu" and torch.get_num_threads() <= NUMPY_THREADS:
        with np.errstate(invalid="ignore"):
            getattr(np, name)(values.detach().numpy(), out=out.numpy())
        return out
    computed: Tensor = getattr(torch, name)(values, out=out)
    return computed


def _multiply(left: Tensor, right: Tensor, factor: float, out: Tensor) -> Tensor:
    """Compute the matrix product, or with members in front one of each, times a factor in `out`."""
    product = torch.addmm if left.ndim == 2 else torch.baddbmm
    return product(left.new_zeros(()), left, right, beta=0, alpha=factor, out=out)


class _Sines(torch.autograd.Function):
    """A chain of sine layers, as a function of weights and biases.

    The backward pass computes the cosines where the sines' arguments were, and the gradients by a layer's inputs where
    the inputs were, because it reads each of them just before for the last time. What it has consumed is computed anew,
    by plain layers, for a second backward pass, and so are gradients that are differentiated in their turn.
    """

    @staticmethod
    def forward(
        context: Any, coords: Tensor, frequencies: Sequence[float], workspace: Workspace, *parameters: Tensor
    ) -> Tensor:
        weights, biases = _halve(parameters)
        arguments, sines, inputs = [], [], coords
        for weight, bias, frequency in zip(weights, biases, frequencies, strict=False):
            out = workspace.take(coords, weight.shape[-2])
            arguments.append(_apply_layer(inputs, weight, bias, frequency, out))
            inputs = _compute("sin", out, workspace.take(coords, weight.shape[-2]))
            sines.append(inputs)
        context.save_for_backward(coords, *parameters)
        context.frequencies, context.workspace, context.kept = frequencies, workspace, (arguments, sines)
        return _apply_last_layer(inputs, weights[-1], biases[-1])

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        coords, *parameters = context.saved_tensors
        if context.kept is None or torch.is_grad_enabled():
            again = torch.is_grad_enabled()
            with torch.enable_grad():
                values = evaluate_plainly(coords, *_halve(parameters), context.frequencies)
                gradients = torch.autograd.grad(
                    values, parameters, gradient, create_graph=again, materialize_grads=True
                )
            return None, None, None, *gradients
        (arguments, sines), context.kept = context.kept, None
        weights, biases = _halve(parameters)
        by_weights = [torch.empty_like(weight) for weight in weights]
        by_biases = [torch.empty_like(bias) for bias in biases]
        ones = coords.new_ones(1, coords.shape[-2]).expand(*coords.shape[:-2], 1, -1)
        for index in range(len(weights) - 1, -1, -1):
            inputs = sines[index - 1] if index else coords
            factor = context.frequencies[index] if index < len(sines) else 1.0
            _multiply(gradient.mT, inputs, factor, by_weights[index])
            _multiply(ones, gradient, factor, by_biases[index][..., None, :])
            if index:
                by_inputs = _multiply(gradient, weights[index], factor, inputs)
                argument = arguments[index - 1]
                gradient = _compute("cos", argument, argument).mul_(by_inputs)
        context.workspace.give([*chain(arguments, sines)])
        return None, None, None, *by_weights, *by_biases


def _halve(parameters: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Return the weights and the biases."""
    return parameters[: len(parameters) // 2], parameters[len(parameters) // 2 :]
