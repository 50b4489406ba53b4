"""The command `rewind` of the wheel: the program with PyTorch's libraries, and two words of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import List, NoReturn, Sequence

from . import doctor, libtorch, program
from .errors import RewindError
from .examples import example

# Exit codes of the program.
BAD_INPUT, FAILED = 2, 5

HELP = """
Beside the program's own commands and options, from the Python package:
  doctor               Say what was found - program, PyTorch, CUDA, plugins, data - and what to do
  run --example NAME   Run an experiment file that came with the package; `plan --example NAME` likewise
"""


def main() -> NoReturn:
    """Does what the command line says and ends the process."""
    arguments = sys.argv[1:]
    try:
        if arguments[:1] == ["doctor"]:
            sys.exit(_doctor(arguments[1:]))
        arguments = with_example(arguments)
        command = own_program().command(arguments)
        if arguments in ([], ["-h"], ["--help"], ["help"]):
            code = subprocess.run(**command).returncode
            print(HELP, end="", file=sys.stdout if code == 0 else sys.stderr)
            sys.exit(code)
        # The program takes the place of this process: signals and the terminal are its own.
        os.execve(command["executable"], command["args"], command["env"])
    except RewindError as error:
        fail(str(error), BAD_INPUT, "--json" in arguments)
    except OSError as error:
        fail(f"failed to start {program.SHIPPED}: {error.strerror}", FAILED, "--json" in arguments)


def own_program() -> program.Program:
    """That of the wheel; in a checkout, which has none, what the package finds."""
    # Not what `$REWIND` names, which may be this very command.
    if program.SHIPPED.exists():
        return program.Program(program.SHIPPED, libtorch.environment(program.SHIPPED))
    return program.find()


def with_example(arguments: Sequence[str]) -> List[str]:
    """These arguments, with the path of an experiment file that came with the package for `--example NAME`."""
    given = list(arguments)
    end = given.index("--") if "--" in given else len(given)
    for at, argument in enumerate(given[:end]):
        if argument.startswith("--example="):
            return [*given[:at], str(example(argument.split("=", 1)[1])), *given[at + 1 :]]
        if argument == "--example":
            name = given[at + 1] if at + 1 < end else ""
            return [*given[:at], str(example(name)), *given[at + 2 :]]
    return given


def _doctor(arguments: Sequence[str]) -> int:
    if unknown := [it for it in arguments if it != "--json"]:
        fail(f"doctor does not know `{unknown[0]}`, expected nothing or --json", BAD_INPUT, "--json" in arguments)
    findings = doctor.examine(own_program)
    if "--json" in arguments:
        for finding in findings:
            print(json.dumps(finding._asdict()))
    else:
        width = max(len(finding.what) for finding in findings)
        for finding in findings:
            print(f"{'ok ' if finding.well else 'NOT'} {finding.what:<{width}}  {finding.found}")
            if finding.do:
                print(f"    {'':<{width}}  {finding.do}")
    return 0 if all(finding.well for finding in findings) else FAILED


def fail(message: str, exit: int, as_json: bool) -> NoReturn:
    """Says what is wrong as the program says it, and ends the process."""
    print(json.dumps({"error": message, "exit": exit}) if as_json else f"error: {message}", file=sys.stderr)
    sys.exit(exit)
