"""The optimisers of a fit: Adam, SOAP and Muon, for single networks and for banks, whose weights have a member's axis.

SOAP and Muon treat weights of at least `LEAST_SIDE` rows and columns as matrices: those between hidden layers of so
many units, and the last layer's if it has so many values. All other parameters they treat as Adam does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from inspect import unwrap
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

if TYPE_CHECKING:
    from jaxtyping import Float

OptimizerName = Literal["adam", "soap", "muon"]
"""The names of the optimisers."""
EPSILON = 1e-8
"""What is added to the divisor of Adam, and of what SOAP and Muon do like Adam."""
BLOCK = 1 << 16
"""Numbers of the matrices, about, that Muon orthogonalises at a time on a CPU, for each of its threads."""
ADAM_STATES = {"step", "exp_avg", "exp_avg_sq"}
"""The names of the entries of the state of a parameter that is trained as by Adam."""
LEAST_SIDE = 8
"""A weight is a matrix for SOAP and Muon if both its sides are no shorter; those by coordinates and values are."""


def train_as_adam(parameters: Iterable[Tensor]) -> None:
    """Let parameters be trained as by Adam also where their optimiser has another rule for matrices."""
    for parameter in parameters:
        parameter.is_for_adam = True  # type: ignore[attr-defined]


def build_optimizer(
    parameters: Iterable[Tensor], name: str = "adam", lr: float = 5e-4, eps: float = EPSILON, weight_decay: float = 0.0
) -> torch.optim.Optimizer:
    """Build an optimiser by its name.

    Args:
        parameters: the parameters of a network, or of several.
        name: adam, soap or muon; only adam for those that `train_as_adam` has named.
        lr: the learning rate; all three change a weight by about this much in a step.
        eps: Adam's epsilon.
        weight_decay: what the weights, times this, add to their gradients.

    Raises:
        ValueError: there is no optimiser of that name, or it has no rule for complex weights.
    """
    parameters = list(parameters)
    has_complex = any(parameter.is_complex() for parameter in parameters)
    if name == "adam":
        axes = max(parameter.ndim for parameter in parameters)
        others = [each for each in parameters if each.ndim < axes] if weight_decay else []
        groups = [{"params": [each for each in parameters if each.ndim == axes]}] if others else parameters
        adam = Adam(groups, lr, eps=eps, weight_decay=weight_decay, fused=not has_complex)
        if others:
            adam.add_param_group({"params": others, "weight_decay": 0.0})
        return adam
    check_optimizer(name)
    if has_complex:
        raise ValueError(f"optimizer={name!r} has no rule for complex weights; use adam")
    return _MATRIX_OPTIMIZERS[name](parameters, lr, eps, weight_decay)


def check_optimizer(name: str) -> None:
    """Check the name of an optimiser.

    Raises:
        ValueError: there is no optimiser of that name.
    """
    if name not in get_args(OptimizerName):
        raise ValueError(f"optimizer={name!r} is not one of: {', '.join(get_args(OptimizerName))}")


_step_adam = unwrap(torch.optim.Adam.step)


class EagerOptimizer(torch.optim.Optimizer):
    """An optimiser whose methods do not import torch's compiler.

    torch wraps them for networks whose steps are compiled, and the first call imports the compiler, which takes more
    than half as long as the import of torch. The functions that are wrapped do the same without it.
    """

    add_param_group = unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = unwrap(torch.optim.Optimizer.zero_grad)


class Adam(EagerOptimizer, torch.optim.Adam):
    """torch's Adam (Kingma and Ba 2015, arXiv 1412.6980), without the import of torch's compiler.

    The fused step of torch does not count as a change of the parameters; this one does.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change all parameters that have a gradient by one step; return what the closure returns."""
        result = _step_adam(self, closure)
        increment_version(each for group in self.param_groups for each in group["params"] if each.grad is not None)
        return result


class MatrixOptimizer(EagerOptimizer):
    """An optimiser with a rule of its own for matrices, which does what Adam does with all other parameters.

    Parameters that `train_as_adam` has named have no matrices.

    Args:
        parameters: the parameters of a network.
        lr: the learning rate.
        eps: Adam's epsilon.
        weight_decay: what the weights, times this, add to their gradients.
        betas: the decay rates of the means of gradients and of their squares.
    """

    matrix_states: ClassVar[set[str]]
    """The names of the entries of a matrix' state."""
    square_states: ClassVar[dict[str, int]] = {}
    """The entries of a matrix' state that are square matrices, and the axis of the weights that gives their side."""

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, eps: float, weight_decay: float, betas: tuple[float, float]
    ) -> None:
        super().__init__(parameters, {"lr": lr, "eps": eps, "weight_decay": weight_decay, "betas": betas})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change all parameters that have a gradient by one step; return what the closure returns."""
        result = None
        if closure is not None:
            with torch.enable_grad():
                result = closure()
        for group in self.param_groups:
            for parameter, is_weight, is_matrix in _sort_parameters(group):
                if parameter.grad is None:
                    continue
                gradient = parameter.grad
                if group["weight_decay"] and is_weight:
                    gradient = gradient.add(parameter, alpha=group["weight_decay"])
                rule = self.update_matrix if is_matrix else update_as_adam
                parameter.sub_(rule(self.state[parameter], gradient, group), alpha=group["lr"])
        return result

    def find_matrices(self) -> set[Tensor]:
        """Return the parameters that are trained as matrices."""
        sorted_groups = map(_sort_parameters, self.param_groups)
        return {parameter for group in sorted_groups for parameter, _, is_matrix in group if is_matrix}

    def update_matrix(self, state: dict[str, Any], gradient: Float[Tensor, "*m b a"], group: dict[str, Any]) -> Tensor:
        """Return the direction in which weights are changed, and update their state."""
        raise NotImplementedError


def _sort_parameters(group: dict[str, Any]) -> Iterator[tuple[Tensor, bool, bool]]:
    """Yield each parameter of a group, whether it is a weight, and whether it is trained as a matrix."""
    axes = max(parameter.ndim for parameter in group["params"])
    for parameter in group["params"]:
        # The biases of a bank are tables too, but its weights have an axis more.
        is_weight = axes >= 2 and parameter.ndim == axes
        is_matrix = is_weight and min(parameter.shape[-2:]) >= LEAST_SIDE
        yield parameter, is_weight, is_matrix and not getattr(parameter, "is_for_adam", False)


def update_as_adam(state: dict[str, Any], gradient: Tensor, group: dict[str, Any]) -> Tensor:
    """Return Adam's direction (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1), and update its state."""
    first, second = group["betas"]
    if "step" not in state:
        state |= {"step": 0, "exp_avg": torch.zeros_like(gradient), "exp_avg_sq": torch.zeros_like(gradient)}
    state["step"] += 1
    mean = state["exp_avg"].lerp_(gradient, 1 - first) / (1 - first ** state["step"])
    square = state["exp_avg_sq"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
    return mean / (square / (1 - second ** state["step"])).sqrt_().add_(group["eps"])


class Soap(MatrixOptimizer):
    """SOAP (Vyas et al. 2024, arXiv 2409.11321, algorithm 3): Adam in the eigenbases of Shampoo's two covariances.

    The mean of gradients is kept in the eigenbases, and is turned when they are, as in the authors' code. The rates
    of decay and the number of steps between two updates of the eigenbases are the paper's.
    """

    square_states: ClassVar[dict[str, int]] = {"left": -2, "right": -1, "left_basis": -2, "right_basis": -1}
    matrix_states: ClassVar[set[str]] = {*ADAM_STATES, *square_states}
    every = 10
    """Steps between two updates of the eigenbases."""

    def __init__(self, parameters: Iterable[Tensor], lr: float, eps: float, weight_decay: float) -> None:
        super().__init__(parameters, lr, eps, weight_decay, (0.95, 0.95))

    def update_matrix(self, state: dict[str, Any], gradient: Float[Tensor, "*m b a"], group: dict[str, Any]) -> Tensor:
        """Return Adam's direction in the eigenbases, turned back; then update the covariances and the eigenbases."""
        decay, covariances = group["betas"][1], (gradient @ gradient.mT, gradient.mT @ gradient)
        if not state:
            state["left"], state["right"] = (covariance * (1 - decay) for covariance in covariances)
            for side in ("left", "right"):
                state[f"{side}_basis"] = torch.linalg.eigh(state[side])[1].flip(-1)
        left, right = state["left_basis"], state["right_basis"]
        direction = update_as_adam(state, left.mT @ gradient @ right, group)
        direction = left @ direction @ right.mT
        if state["step"] > 1:
            for side, covariance in zip(("left", "right"), covariances, strict=True):
                state[side].lerp_(covariance, 1 - decay)
        if state["step"] % self.every == 0:
            self._update_bases(state)
        return direction

    def _update_bases(self, state: dict[str, Any]) -> None:
        """Bring the eigenbases closer to the covariances' by one power iteration, and turn the means to them.

        The vectors are first sorted by their eigenvalues, because the orthogonalisation favours the first ones.
        """
        mean = state["left_basis"] @ state["exp_avg"] @ state["right_basis"].mT
        for side, axis in (("left", -2), ("right", -1)):
            basis, product = state[f"{side}_basis"], state[side] @ state[f"{side}_basis"]
            order = (basis * product).sum(-2).argsort(dim=-1, descending=True)
            along = order.unsqueeze(-1 if axis == -2 else -2)
            state["exp_avg_sq"] = torch.take_along_dim(state["exp_avg_sq"], along, axis)
            product = torch.take_along_dim(product, order.unsqueeze(-2), -1)
            state[f"{side}_basis"] = torch.linalg.qr(product)[0]
        state["exp_avg"] = state["left_basis"].mT @ mean @ state["right_basis"]


class Muon(MatrixOptimizer):
    """Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): the mean of gradients, orthogonalised.

    The direction is scaled to the size of Adam's (Liu et al. 2025, arXiv 2502.16982, section 2.2), so that the learning
    rates are alike. All is computed in the weights' precision; `torch.optim.Muon` computes in bfloat16, which most CPUs
    do slowly.
    """

    matrix_states: ClassVar[set[str]] = {"momentum_buffer"}
    momentum = 0.95
    """The decay rate of the mean of gradients."""

    def __init__(self, parameters: Iterable[Tensor], lr: float, eps: float, weight_decay: float) -> None:
        super().__init__(parameters, lr, eps, weight_decay, (0.9, 0.999))

    def update_matrix(self, state: dict[str, Any], gradient: Float[Tensor, "*m b a"], group: dict[str, Any]) -> Tensor:
        """Return the orthogonalised mean of gradients, with Nesterov's step ahead, in the size of Adam's direction."""
        if not state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        mean = state["momentum_buffer"].lerp_(gradient, 1 - self.momentum)
        ahead = gradient.lerp(mean, self.momentum)
        return orthogonalize(ahead).mul_(0.2 * max(gradient.shape[-2:]) ** 0.5)


def orthogonalize(matrix: Float[Tensor, "*m b a"], steps: int = 5) -> Float[Tensor, "*m b a"]:
    """Return about ``U V^T`` of each matrix ``U S V^T``, with singular values between 0.7 and 1.2.

    This is Newton's and Schulz' iteration with the polynomial of Muon's authors, whose slope at 0 is great. It is done
    for some matrices at a time, which stay in a processor's cache.
    """
    wide = matrix.mT if matrix.shape[-2] > matrix.shape[-1] else matrix
    flat = wide.reshape(-1, *wide.shape[-2:])
    count = max(1, torch.get_num_threads() * BLOCK // flat[0].numel()) if flat.is_cpu else len(flat)

    def orthogonalize_all(matrices: Float[Tensor, "m b a"]) -> Float[Tensor, "m b a"]:
        return torch.cat([_orthogonalize_wide(some, steps) for some in matrices.split(count)])

    # Those of members that are not trained are zero; on a GPU to know which would mean to wait for it.
    if not flat.is_cpu or (moved := flat.flatten(1).any(1)).all():
        done = orthogonalize_all(flat)
    else:
        done = torch.zeros_like(flat)
        done[moved] = orthogonalize_all(flat[moved])
    done = done.reshape(wide.shape)
    return done.mT if matrix.shape[-2] > matrix.shape[-1] else done


def _orthogonalize_wide(x: Float[Tensor, "m b a"], steps: int) -> Float[Tensor, "m b a"]:
    """Do what `orthogonalize` does for matrices that are not taller than wide, all at once."""
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-30)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x


_MATRIX_OPTIMIZERS: dict[str, Callable[..., MatrixOptimizer]] = {"soap": Soap, "muon": Muon}


def find_settings(state: dict[str, Any]) -> dict[str, str | float]:
    """Return what an optimiser was built with, its ``name``, ``eps`` and ``weight_decay``, from its state's dict."""
    group = state["param_groups"][0]
    first, second = group["betas"]
    # Only torch's Adam has switches such as amsgrad, and only SOAP has one rate for both means.
    name = "adam" if "amsgrad" in group else "soap" if first == second else "muon"
    return {"name": name, "eps": group["eps"], "weight_decay": group["weight_decay"]}


def check_state(optimizer: torch.optim.Optimizer) -> None:
    """Check that the loaded state of an optimiser fits its parameters, which torch does not check.

    Raises:
        ValueError: it does not.
    """
    squares: dict[str, int] = getattr(optimizer, "square_states", {})
    matrices = optimizer.find_matrices() if isinstance(optimizer, MatrixOptimizer) else set()
    for parameter, state in optimizer.state.items():
        names: set[str] = getattr(optimizer, "matrix_states", ADAM_STATES) if parameter in matrices else ADAM_STATES
        if state.keys() != names:
            found, needed = (", ".join(sorted(each)) for each in (state, names))
            raise ValueError(f"its optimizer's state of some weights is {found}, not {needed}")
        for name, value in state.items():
            if not isinstance(value, Tensor):
                continue
            shapes = [(), tuple(parameter.shape)]
            if name in squares:
                shapes = [(*parameter.shape[:-2], *2 * (parameter.shape[squares[name]],))]
            if tuple(value.shape) not in shapes or not torch.isfinite(value).all():
                raise ValueError(f"its optimizer's {name} does not fit the weights")
