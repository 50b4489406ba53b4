"""Python's values as TOML's."""

from __future__ import annotations

import json
import math
from typing import Any


def value(given: Any) -> str:
    """A value as it stands behind `key =` in an experiment file.

    Raises `TypeError` for what TOML has no form for, `None` among them: a key is left out, not set to nothing.
    """
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, str):
        # JSON's text is one of TOML's, but for the one control character that JSON leaves as it is.
        return json.dumps(given, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(given, int):
        return str(int(given))
    if isinstance(given, float):
        return repr(float(given)) if math.isfinite(given) else str(float(given))
    if isinstance(given, (list, tuple)):
        return f"[{', '.join(map(value, given))}]"
    if isinstance(given, dict):
        return "{ " + ", ".join(f"{value(str(key))} = {value(inner)}" for key, inner in given.items()) + " }"
    if hasattr(given, "item") and getattr(given, "ndim", None) == 0:
        return value(given.item())
    if hasattr(given, "__fspath__"):
        return value(given.__fspath__())
    raise TypeError(f"{given!r} has no form in TOML: expected a boolean, number, text, path, list or dict")
