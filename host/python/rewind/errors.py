"""What can go wrong. Every message names the file or the command, what was found and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Optional


class RewindError(Exception):
    """Whatever this package refuses."""


class NoRun(RewindError, LookupError):
    """A name or a folder that is no run, or a seed, level or cell that a run does not have."""


class Unfinished(RewindError):
    """A level that is not finished. Others of the run can be read."""


class Damaged(RewindError):
    """A file of a run that is missing, cut off or not what its name says."""


class LaterVersion(RewindError):
    """A run that a later version wrote, in a form that this one does not know."""


class NoProgram(RewindError):
    """The program is nowhere to be found, or cannot be started."""


class Misfit(RewindError, ValueError):
    """A module whose tensors are not those of the run: which, with both shapes."""


class ProgramFailed(RewindError):
    """The program ended with an error, which is the message.

    `exit` is its exit code: 2 is wrong input, 3 a plugin, 5 a failure while running; negative, a signal.
    """

    def __init__(self, message: str, exit: int) -> None:
        super().__init__(message)
        self.exit = exit


class Interrupted(KeyboardInterrupt):
    """A run that was stopped by Ctrl-C. Its checkpoint is written: the same call goes on from there.

    `path` is the folder of the run or the sweep, if the program came as far as to say it.
    """

    def __init__(self, path: Optional[Path]) -> None:
        where = "" if path is None else f" {path}"
        super().__init__(f"stopped{where}; the same call goes on from there")
        self.path = path
