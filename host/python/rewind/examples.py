"""The experiment files that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import List

from .errors import RewindError

SHIPPED = Path(__file__).parent / "experiments"
# In a checkout they lie where everybody looks for them.
CHECKOUT = Path(__file__).parents[3] / "experiments"


def examples() -> List[str]:
    """Names of the experiment files: "lrr", "mnist1d/paper"."""
    folder = _folder()
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.toml"))


def example(name: str) -> Path:
    """The path of the experiment file of this name, with or without its ending."""
    plain = name[: -len(".toml")] if name.endswith(".toml") else name
    known = examples()
    if plain not in known:
        raise RewindError(f"there is no example `{name}`; there are {', '.join(known)}")
    return _folder() / f"{plain}.toml"


def _folder() -> Path:
    return SHIPPED if SHIPPED.is_dir() else CHECKOUT
