"""A strategy's state as bytes: JSON, with arrays behind it."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

_ARRAY = "$array"
_MAGIC = b"rewind-state-1\n"


class BadState(ValueError):
    """A state that cannot be saved, or is not one."""


def save(state: dict[str, Any]) -> bytes:
    """The bytes of a state, none of an empty one. The same state has the same bytes."""
    if not state:
        return b""
    arrays: list[bytes] = []
    text = json.dumps(_plain(state, "ctx.state", arrays), allow_nan=False).encode()
    return b"".join([_MAGIC, struct.pack("<Q", len(text)), text, *arrays])


def load(saved: bytes) -> dict[str, Any]:
    """The state behind these bytes."""
    if not saved:
        return {}
    start = len(_MAGIC) + 8
    if not saved.startswith(_MAGIC) or len(saved) < start:
        raise BadState(f"{len(saved)} bytes are no state of a strategy in Python")
    end = start + struct.unpack("<Q", saved[len(_MAGIC) : start])[0]
    try:
        value, rest = json.loads(saved[start:end]), saved[end:]
        state, used = _whole(value, rest)
    except (ValueError, KeyError, TypeError) as error:
        raise BadState(f"the state is damaged: {error}") from None
    if used != len(rest) or not isinstance(state, dict):
        raise BadState("the state is damaged: it is longer or shorter than what it says")
    return state


def _plain(value: Any, where: str, arrays: list[bytes]) -> Any:
    """A value as JSON has it, with arrays set apart."""
    if type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biuf":
            raise BadState(f"{where} is an array of {value.dtype}, expected one of numbers")
        array = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
        arrays.append(array.tobytes())
        return {_ARRAY: [array.dtype.str, list(value.shape)]}
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str) or key == _ARRAY:
                raise BadState(f"{where} has the key {key!r}, expected a text")
        return {key: _plain(it, f"{where}[{key!r}]", arrays) for key, it in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(it, f"{where}[{place}]", arrays) for place, it in enumerate(value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    kinds = "numbers, texts, lists, tables with texts as keys, and arrays"
    raise BadState(f"{where} is a {type(value).__name__}, and a state holds {kinds}")


def _whole(value: Any, rest: bytes) -> tuple[Any, int]:
    """A value with its arrays, and how many bytes they took."""
    used = 0

    def walk(value: Any) -> Any:
        nonlocal used
        if isinstance(value, list):
            return [walk(it) for it in value]
        if not isinstance(value, dict):
            return value
        if _ARRAY not in value:
            return {key: walk(it) for key, it in value.items()}
        dtype, shape = value[_ARRAY]
        count = int(np.prod(shape, dtype=np.int64))
        array = np.frombuffer(rest, dtype, count, used).reshape(shape).copy()
        used += array.nbytes
        return array

    return walk(value), used
