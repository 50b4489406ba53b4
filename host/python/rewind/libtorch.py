"""The libtorch of the installed PyTorch, found without importing it."""

from __future__ import annotations

import importlib.util
import os
from importlib import metadata
from pathlib import Path
from typing import Dict, NamedTuple, Optional

from .errors import NoProgram

# The version that the program is built for; its C++ interface changes with the second number.
VERSION = "2.13"


class Torch(NamedTuple):
    """An installed PyTorch."""

    version: str
    lib: Path

    @property
    def fits(self) -> bool:
        """Whether the wheel's program can be loaded with it."""
        return self.version.split("+")[0].split(".")[:2] == VERSION.split(".")

    @property
    def cuda(self) -> bool:
        """Whether it was built for CUDA."""
        return (self.lib / "libtorch_cuda.so").exists()


def find() -> Optional[Torch]:
    """The PyTorch that `import torch` would import; none if there is none."""
    try:
        found = importlib.util.find_spec("torch")
    except (ImportError, ValueError):
        return None
    if found is None or not found.submodule_search_locations:
        return None
    folder = Path(found.submodule_search_locations[0])
    return Torch(_version(folder), folder / "lib")


def _version(folder: Path) -> str:
    # The installation beside the folder tells, not whichever comes first on the path.
    for distribution in metadata.distributions(name="torch", path=[str(folder.parent)]):
        return distribution.version
    for line in _lines(folder / "version.py"):
        if line.startswith("__version__"):
            return line.split("=")[1].strip().strip("'\"")
    return "of an unknown version"


def _lines(path: Path) -> "list[str]":
    try:
        return path.read_text("utf-8").splitlines()
    except OSError:
        return []


def environment(program: Path) -> Dict[str, str]:
    """What the wheel's program needs in its environment to be loaded.

    Raises `NoProgram` if PyTorch is missing or of another version, with what to type.
    """
    torch = find()
    wanted = f'"torch=={VERSION}.*"'
    if torch is None:
        raise NoProgram(f"PyTorch is not installed, and the program is loaded with its libraries: pip install {wanted}")
    if not torch.fits:
        raise NoProgram(
            f"the installed PyTorch is {torch.version} (in {torch.lib.parent}), and the program needs {VERSION}: "
            f"pip install {wanted}"
        )
    if not (torch.lib / "libtorch_cpu.so").exists():
        raise NoProgram(
            f"{torch.lib} has no libtorch_cpu.so: PyTorch is half installed: pip install --force-reinstall {wanted}"
        )
    # The program looks there by itself; a PyTorch of another folder has to be pointed to.
    beside = program.parent.parent.parent / "torch" / "lib"
    if beside.exists() and beside.samefile(torch.lib):
        return {}
    before = os.environ.get("LD_LIBRARY_PATH", "")
    return {"LD_LIBRARY_PATH": f"{torch.lib}{os.pathsep if before else ''}{before}"}
