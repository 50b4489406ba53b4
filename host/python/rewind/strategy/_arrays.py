"""Arrays that the program and this process share, and what is taken back."""

from __future__ import annotations

import mmap
import os
import sys
import weakref
from typing import Any, Callable, Sequence

import numpy as np


class Array(np.ndarray):
    """A NumPy array that also has, as methods, the functions of one argument that torch's tensors have."""


def _method(function: Callable[[Any], Any]) -> Callable[[Array], Any]:
    return lambda self: function(self)


for _name in ("abs", "sign", "sqrt", "square", "exp", "log", "tanh", "reciprocal", "isfinite"):
    setattr(Array, _name, _method(getattr(np, _name)))


class _Block:
    """What an array and all views of it refer to in the end."""

    def __init__(self, map: mmap.mmap, interface: dict[str, Any]) -> None:
        self.map = map
        self.__array_interface__ = interface


class Memory:
    """The memory that the program writes arrays into and reads them from."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.size = 0
        self.map: mmap.mmap | None = None
        #: Places that nothing here refers to any more, for the program to use again.
        self.freed: list[int] = []
        #: Called with a number of bytes before so many more are mapped.
        self.before_growing: Callable[[int], None] = lambda size: None

    def grow(self, size: int) -> None:
        """Maps the memory, which has this many bytes now. Arrays in what was mapped before stay."""
        if size > self.size:
            self.before_growing(size)
            self.map = mmap.mmap(self.descriptor, size)
            self.size = size

    def take_freed(self) -> list[int]:
        freed, self.freed = self.freed, []
        return freed

    def view(self, place: int, dtype: str, shape: Sequence[int]) -> np.ndarray:
        """The array at a place; the place is free when nothing refers to the array any more."""
        if self.map is None or 0 in shape:
            return np.zeros(shape, dtype)
        start = np.frombuffer(self.map, np.uint8, 1, place).ctypes.data
        block = _Block(self.map, {"version": 3, "typestr": dtype, "shape": tuple(shape), "data": (start, False)})
        weakref.finalize(block, self.freed.append, place)
        return np.asarray(block)

    def give(self, place: int, array: np.ndarray) -> None:
        """Copies an array to a place."""
        if array.size and self.map is not None:
            whole = np.frombuffer(self.map, array.dtype, array.size, place)
            np.copyto(whole.reshape(array.shape), array)


def torch_of(module: Any) -> Any:
    """PyTorch, if a file imports it; which kind of arrays it gets depends on its text alone."""
    torch = sys.modules.get("torch")
    for value in vars(module).values():
        name = getattr(value, "__name__", "") if isinstance(value, type(sys)) else ""
        if torch is not None and (name == "torch" or name.startswith("torch.")):
            return torch
    return None


def lend(array: np.ndarray, torch: Any) -> Any:
    """An array as a strategy sees it."""
    if torch is not None:
        return torch.from_numpy(array)
    return array.view(Array)


def _shape(value: Any) -> str:
    return str(tuple(int(it) for it in value.shape))


class WrongArrays(ValueError):
    """What a strategy gave, or asked with, is not what it should be."""


def receive(who: str, what: str, given: Any, layers: Sequence[Any], is_mask: bool = False) -> list[np.ndarray]:
    """A list of one float32 array for each layer, row by row; masks may be of bool.

    Nothing is rounded here: what is float64 may have other ties as float32, so that is for the strategy to say.
    """
    if isinstance(given, (str, bytes, dict)) or not hasattr(given, "__iter__"):
        raise WrongArrays(f"{who} gave {_words(given)} as {what}, expected a list with one array for each layer")
    if hasattr(given, "shape"):
        raise WrongArrays(f"{who} gave one {type(given).__name__} as {what}, expected a list with one for each layer")
    given = list(given)
    if len(given) != len(layers):
        raise WrongArrays(
            f"{who} gave {len(given)} arrays as {what}, expected {len(layers)}: one for each prunable layer"
        )
    return [_one(who, what, value, layer, is_mask) for value, layer in zip(given, layers)]


def _one(who: str, what: str, value: Any, layer: Any, is_mask: bool) -> np.ndarray:
    where = f"{who} gave as {what} of layer `{layer.name}`"
    if type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "detach"):
        if value.device.type != "cpu":
            raise WrongArrays(f"{where} a tensor on {value.device}, expected one on the CPU: `.cpu()`")
        dtype = str(value.dtype).removeprefix("torch.")
        wanted = f"`.to(torch.float32)`, which rounds {dtype}"
        if dtype == "bfloat16":
            raise WrongArrays(f"{where} a tensor of {dtype}, expected float32: {wanted}")
        value = value.detach().numpy()
    elif isinstance(value, np.ndarray):
        dtype = value.dtype.name
        wanted = f'`.astype("float32")`, which rounds {dtype}'
    else:
        raise WrongArrays(f"{where} {_words(value)}, expected a NumPy array or a torch tensor")
    if dtype == "bool" and is_mask:
        value = value.astype(np.float32)
    elif dtype != "float32":
        raise WrongArrays(f"{where} an array of {dtype}, expected {'bool or ' if is_mask else ''}float32: {wanted}")
    if tuple(value.shape) != tuple(layer.shape):
        raise WrongArrays(f"{where} an array of shape {_shape(value)}, expected {tuple(layer.shape)}")
    return np.asarray(value)


def _words(value: Any) -> str:
    if value is None:
        return "None"
    name = type(value).__name__
    article = "an" if name[:1].lower() in "aeiou" else "a"
    return f"{article} {name}"


def shared(descriptor: int) -> Memory:
    """The memory behind a descriptor."""
    memory = Memory(descriptor)
    memory.grow(os.fstat(descriptor).st_size)
    return memory
