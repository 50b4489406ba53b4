"""Finds the program and asks it: what it computes is not computed here once more."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence

from . import libtorch
from .errors import NoProgram, ProgramFailed

# The program of a wheel, beside this file.
SHIPPED = Path(__file__).parent / "bin" / "rewind"
# The environment variable that names another one.
VARIABLE = "REWIND"
# What the program says of itself: `host` is a DNS tool on many systems, and others are called `rewind`.
ABOUT = "prunes them level by level with strategies"


class RewindWarning(UserWarning):
    """What the program warns of."""


class Program(NamedTuple):
    """The program, and what its environment needs beside this one's."""

    path: Path
    environment: Mapping[str, str]

    def command(self, arguments: Sequence[str]) -> Dict[str, Any]:
        """What `subprocess` takes to start it."""
        return {
            # It calls itself by the name of its file in its messages.
            "args": [self.path.name, *arguments],
            "executable": str(self.path),
            # Strategies in Python run with what is installed here, unless something else is asked for.
            "env": {"REWIND_PYTHON": sys.executable, **os.environ, **self.environment},
        }


def find() -> Program:
    """The program: what `$REWIND` names, else that of the installed wheel, else `rewind` or `host` on the PATH.

    Raises `NoProgram` if there is none, or if the wheel's has no PyTorch that it can be loaded with.
    """
    if named := os.environ.get(VARIABLE):
        found = shutil.which(named)
        if found is None:
            raise NoProgram(f"${VARIABLE} is {named}, which is no program: let it name one, or unset it")
        return Program(Path(found).absolute(), {})
    if SHIPPED.exists():
        return Program(SHIPPED, libtorch.environment(SHIPPED))
    for name in ("rewind", "host"):
        found = shutil.which(name)
        if found is not None and _is_ours(found):
            return Program(Path(found), {})
    raise NoProgram(
        "the program was not found: there is neither `rewind` nor Rewind's `host` on the PATH. Install the wheel, or "
        f"run `make install` in a checkout, or let ${VARIABLE} name the program"
    )


def _is_ours(path: str) -> bool:
    try:
        said = subprocess.run([path, "--help"], stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ABOUT in said.stdout.decode("utf-8", "replace")


def ask(arguments: Sequence[str], allowed: Sequence[int] = (0,)) -> List[Dict[str, Any]]:
    """What the program answers to a command with `--json`: one object a line.

    Raises `ProgramFailed` with its message if it ends with an exit code that is not allowed.
    """
    command = find().command([*arguments, "--json"])
    try:
        done = subprocess.run(**command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:
        raise NoProgram(f"failed to start {command['executable']}: {error.strerror}") from error
    told = Told()
    for line in done.stderr.decode("utf-8", "replace").splitlines():
        told.take(line)
    if done.returncode not in allowed:
        raise told.failure(done.returncode)
    try:
        answers = [json.loads(line) for line in done.stdout.splitlines()]
    except ValueError as error:
        text = done.stdout[:200].decode("utf-8", "replace")
        raise ProgramFailed(f"{command['executable']} answered what is no JSON: {text}", done.returncode) from error
    if not answers:
        raise ProgramFailed(f"{command['executable']} answered nothing to `{' '.join(arguments)}`", done.returncode)
    return answers


class Told:
    """What the program tells people on stderr: warnings are passed on, errors are kept."""

    def __init__(self) -> None:
        self._errors: List[str] = []
        self._last: List[str] = []

    def take(self, line: str) -> None:
        """Reads a line."""
        try:
            value = json.loads(line) if line.startswith("{") else {}
        except ValueError:
            value = {}
        if "error" in value or "errors" in value:
            self._errors += [value["error"]] if "error" in value else map(_diagnostic, value["errors"])
        elif "warnings" in value:
            for warning in value["warnings"]:
                _warn(_diagnostic(warning))
        elif line.startswith("[WARN ]"):
            _warn(line[7:].strip())
        elif line.startswith("[ERROR]"):
            self._errors.append(line[7:].strip())
        elif not line.startswith("["):
            self._last = [*self._last, line][-20:]

    def failure(self, exit: int) -> ProgramFailed:
        """The errors that the program ended with."""
        ended = f"was ended by signal {-exit}" if exit < 0 else f"ended with exit code {exit}"
        return ProgramFailed("\n".join(self._errors or [*self._last, f"the program {ended}"]), exit)


def _warn(text: str) -> None:
    warnings.warn(text, RewindWarning, stacklevel=2)


def _diagnostic(found: Mapping[str, Any]) -> str:
    """A problem of an experiment file with its place, as `file:line:column: message (label)`."""
    place = [str(found[key]) for key in ("file", "line", "column") if found.get(key) is not None]
    text = ": ".join([":".join(place), found["message"]] if place else [found["message"]])
    text += f" ({found['label']})" if found.get("label") else ""
    return "\n    ".join([text, *found.get("notes", [])])
