"""Who writes a run at the moment."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Mapping, NamedTuple, Optional


class Writer(NamedTuple):
    """A process that has a run."""

    pid: int
    host: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def writer(folder: Path) -> Optional[Writer]:
    """The process that has the run in this folder, as far as can be told at once; none if nobody has it. One of
    another machine that died without a word still has it. Nothing is written."""
    try:
        generations = [it for it in os.listdir(folder / "lock") if it.isdigit()]
    except OSError:
        return None
    # Who made the last one has the lock until it is given back.
    last = folder / "lock" / max(generations, key=int, default="none")
    if not last.exists() or (last / "released").exists():
        return None
    try:
        owner = json.loads((last / "owner.json").read_text("utf-8"))
        return None if _is_gone(owner) else Writer(int(owner["pid"]), str(owner["host"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Writer(0, "an unknown machine")


def _is_gone(owner: Mapping[str, Any]) -> bool:
    """Whether a process of this machine ended without giving its lock back."""
    here = (_text("/proc/sys/kernel/random/boot_id"), _text("/proc/sys/kernel/hostname"), _namespace())
    if None in here or here != (owner.get("boot"), owner["host"], owner.get("namespace")):
        return False
    if owner.get("user") != os.getuid():
        return False
    return bool(_started(int(owner["pid"])) != owner.get("started"))


def _started(pid: int) -> Optional[int]:
    """When a process started, in ticks since its machine did; none if it ended."""
    stat = _text(f"/proc/{pid}/stat")
    if stat is None:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZXx" else int(fields[18])


def _namespace() -> Optional[str]:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def _text(path: str) -> Optional[str]:
    try:
        return Path(path).read_text("utf-8", "replace").strip()
    except OSError:
        return None
