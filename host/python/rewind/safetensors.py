"""Reads safetensors files as NumPy arrays or torch tensors.

A file is the length of a header (8 bytes, little-endian), the header as JSON, and the tensors' bytes, row-major
and little-endian, without gaps.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Dict, Literal, Mapping, Tuple

from .errors import Damaged, LaterVersion

Framework = Literal["numpy", "torch"]
"""What tensors are given as."""

# The types that a run's files have, and what NumPy calls them.
TYPES = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "U8": "|u1"}


def read(path: Path, framework: Framework = "numpy") -> Dict[str, Any]:
    """The tensors of a file by name.

    Raises `Damaged` if the file is not whole, `LaterVersion` if a tensor has a type that no run of this version has.
    """
    if framework not in ("numpy", "torch"):
        raise ValueError(f"framework is {framework!r}, expected 'numpy' or 'torch'")
    try:
        whole = path.read_bytes()
    except OSError as error:
        raise Damaged(f"failed to read {path}: {error.strerror}") from error
    tensors = parse(path, whole)
    if framework == "numpy":
        return dict(tensors)
    import torch

    return {name: torch.from_numpy(array) for name, array in tensors.items()}


def parse(path: Path, whole: bytes) -> Mapping[str, Any]:
    """The tensors of these bytes of a file, as arrays that can be written to."""
    numpy = _numpy()
    length = int.from_bytes(whole[:8], "little")
    data = memoryview(whole)[8 + length :]
    if len(whole) < 8 or len(whole) < 8 + length:
        raise Damaged(f"{path} is damaged: it has {len(whole)} bytes, which end within its header")
    try:
        header = json.loads(whole[8 : 8 + length])
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        places = sorted((*_two(entry["data_offsets"]), name) for name, entry in entries.items())
        shapes = {name: tuple(int(size) for size in entry["shape"]) for name, entry in entries.items()}
        types = {name: str(entry["dtype"]) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(f"{path} is damaged: its header is none of safetensors ({error})") from error
    at, tensors = 0, {}
    for start, end, name in places:
        if types[name] not in TYPES:
            raise LaterVersion(
                f"{path}: `{name}` has type {types[name]}, expected one of {', '.join(TYPES)}; a later version of "
                "Rewind may have written it: update this package"
            )
        kind = numpy.dtype(TYPES[types[name]])
        if min(shapes[name], default=0) < 0 or start != at or end - start != math.prod(shapes[name]) * kind.itemsize:
            raise Damaged(f"{path} is damaged: the bytes of `{name}` are {start} to {end}, its shape {shapes[name]}")
        if end > len(data):
            raise Damaged(f"{path} is damaged: it ends within `{name}`, after {len(data)} of {places[-1][1]} bytes")
        tensors[name] = numpy.frombuffer(data[start:end], dtype=kind).reshape(shapes[name]).copy()
        at = end
    if at != len(data):
        raise Damaged(f"{path} is damaged: {len(data) - at} bytes follow its last tensor")
    return {name: tensors[name] for name in entries}


def _two(offsets: Any) -> Tuple[int, int]:
    start, end = offsets
    return int(start), int(end)


def _numpy() -> Any:
    try:
        import numpy
    except ImportError as error:
        raise ImportError("tensors are read by NumPy, which is not installed: pip install numpy") from error
    return numpy
