"""Who writes a run at the moment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple, Optional


class Writer(NamedTuple):
    """A process that has a run."""

    pid: int
    host: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def writer(folder: Path) -> Optional[Writer]:
    """The process that has the run in this folder; none if nobody has it. Nothing is written."""
    try:
        with open(folder / "lock", encoding="utf-8") as file:
            text = file.read()
            # It is empty once the lock is released in order. The system's lock is tried only where the text says that
            # somebody had it: whoever takes the lock in that moment would be refused.
            if not text or not _is_taken(file):
                return None
    except OSError:
        return None
    try:
        held = json.loads(text)
        return Writer(int(held["pid"]), str(held["host"]))
    except (ValueError, KeyError, TypeError):
        return Writer(0, "an unknown machine")


def _is_taken(file: object) -> bool:
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # type: ignore[arg-type]
    except OSError:
        return True
    return False
