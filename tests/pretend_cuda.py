"""A pretended CUDA device: its tensors are the CPU's, with a note on their memory of where they would be.

An operation on tensors of two devices fails as it would on a GPU, and so does NumPy with a tensor of the device. What
other threads do is not seen.
"""

from contextlib import contextmanager

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")
MAY_MIX = {torch.Tensor.copy_, torch.Tensor.set_, torch._has_compatible_shallow_copy_type}
"""What may have tensors of two devices."""


def find_device(tensor):
    """Return the device of a tensor, None for one that was made out of sight, such as a gradient."""
    return getattr(find_memory(tensor), "pretended", None)


def find_memory(tensor):
    """Return a tensor's storage, None for what torch.func wraps."""
    try:
        return tensor.untyped_storage()
    except NotImplementedError:
        return None


def put(result, device):
    """Note the device of all tensors of a result, but of views of others, whose device is known."""
    for memory in map(find_memory, find_tensors([result])):
        if device is not None and memory is not None and not hasattr(memory, "pretended"):
            memory.pretended = device


def find_tensors(values):
    """Yield all tensors among values."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from find_tensors(value)
        elif isinstance(value, dict):
            yield from find_tensors(value.values())


def read_device(name):
    """Return a device by its name, a tensor's or none; CUDA has only one here."""
    if isinstance(name, torch.Tensor):
        return find_device(name)
    device = None if name is None else torch.device(name)
    return CUDA if device is not None and device.type == "cuda" else device


class PretendCuda(TorchFunctionMode):
    """Keep account of the device that each tensor would be on, and of copies between devices that wait for a GPU."""

    def __init__(self):
        super().__init__()
        self.waits = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = getattr(function, "__name__", "")
        if function == torch.Tensor.device.__get__:
            return find_device(args[0]) or CPU
        if function == torch.Tensor.is_cuda.__get__:
            return find_device(args[0]) == CUDA
        if function == torch.Tensor.is_cpu.__get__:
            return find_device(args[0]) != CUDA
        if function in (torch.Tensor.to, torch.Tensor.cuda, torch.Tensor.cpu):
            return self._move(name, *args, **kwargs)
        if function in (torch.Tensor.numpy, torch.Tensor.__array__) and find_device(args[0]) == CUDA:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")
        wanted = read_device(kwargs.get("device"))
        if wanted is not None:
            kwargs["device"] = CPU
        elif function in _device_constructors():
            wanted = next(map(find_device, find_tensors(args[:1])), CPU)
        elif name in ("__get__", "__set__"):
            wanted = next(map(find_device, find_tensors(args[:1])), None)
        else:
            wanted = self._find_common(name, args, kwargs, function in MAY_MIX)
        if wanted == CUDA and name in ("tensor", "as_tensor", "asarray", "new_tensor"):
            self.waits.append(name)
        result = function(*args, **kwargs)
        put(result, wanted)
        return result

    def _find_common(self, name, args, kwargs, may_mix):
        """Return the device of an operation's result; fail if its tensors are on two."""
        tensors = list(find_tensors([args, kwargs]))
        if name in ("__getitem__", "__setitem__"):  # a tensor of the device may be indexed by the CPU's
            if find_device(args[0]) == CPU and CUDA in map(find_device, find_tensors(args[1:2])):
                raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor")
            tensors = list(find_tensors([args[0], *args[2:]]))
        devices = {find_device(each) for each in tensors}
        if not may_mix and {CPU, CUDA} <= {find_device(each) for each in tensors if each.ndim}:
            raise RuntimeError(f"{name}: Expected all tensors to be on the same device, but found cuda:0 and cpu")
        return CUDA if CUDA in devices else CPU if devices == {CPU} else None

    def _move(self, name, tensor, *args, **kwargs):
        """Do what `to`, `cuda` and `cpu` do; another device has a copy."""
        before, args = find_device(tensor), list(args)
        wanted = read_device(kwargs.pop("device", {"cuda": CUDA, "cpu": CPU}.get(name)))
        if name == "to" and args and isinstance(args[0], (str, int, torch.device, torch.Tensor)):
            first = args.pop(0)
            wanted = read_device(first)
            if isinstance(first, torch.Tensor):
                kwargs["dtype"] = first.dtype
        elif name != "to":
            args = []
        if wanted is not None and wanted != (before or CPU):
            kwargs["copy"] = True
            if not (kwargs.get("non_blocking") and hasattr(find_memory(tensor), "is_pinned")):
                self.waits.append(name)
        result = tensor.to(CPU, *args, **kwargs)
        put(result, wanted or before)
        return result


def pin(tensor):
    """Return a copy of a tensor in memory that a GPU reads while the program goes on, as `Tensor.pin_memory` does."""
    result = torch.empty_like(tensor).copy_(tensor)
    put(result, CPU)
    find_memory(result).is_pinned = True
    return result


def note_birth(create):
    """Return a function that creates CPU tensors out of the mode's sight, which notes their device."""

    def create_here(*args, **kwargs):
        result = create(*args, **kwargs)
        put(result, CPU)
        return result

    return create_here


@contextmanager
def pretend_cuda():
    """Let there be a CUDA device in this thread; yield the mode, whose `waits` are the copies that waited for it."""
    mode, run = PretendCuda(), torch.autograd._engine_run_backward

    def run_backward(*args, **kwargs):  # torch calls it without the mode, and it calls functions of Python
        with mode:
            return run(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "device_count", lambda: 1)
        patch.setattr(torch.cuda, "get_device_name", lambda *arguments: "a pretended device")
        patch.setattr(torch.cuda, "synchronize", lambda *arguments: None)
        patch.setattr(torch.Tensor, "pin_memory", pin)
        for name in ("from_numpy", "frombuffer"):
            patch.setattr(torch, name, note_birth(getattr(torch, name)))
        patch.setattr(torch.optim.Optimizer, "_accelerator_graph_capture_health_check", lambda optimizer: None)
        patch.setattr(torch.autograd, "_engine_run_backward", run_backward)
        with mode:
            yield mode
