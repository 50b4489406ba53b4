"""What `rewind doctor` finds."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import platform
import subprocess
from typing import Callable, Iterator, List, NamedTuple, Optional

from . import libtorch
from .errors import NoProgram
from .examples import examples
from .program import Program


class Finding(NamedTuple):
    """Something that was looked at."""

    what: str
    found: str
    well: bool = True
    do: Optional[str] = None
    """What to type or to know, if there is something to do."""


def examine(find: Callable[[], Program]) -> List[Finding]:
    """Looks at everything that a run depends on."""
    return [*_about_torch(), *_about_program(find), *_about_machine(), *_about_package()]


def _about_torch() -> Iterator[Finding]:
    wanted = f'pip install "torch=={libtorch.VERSION}.*"'
    torch = libtorch.find()
    if torch is None:
        yield Finding("PyTorch", "not installed", False, wanted)
        return
    found = f"{torch.version} in {torch.lib.parent}"
    yield Finding("PyTorch", found, torch.fits, None if torch.fits else f"{libtorch.VERSION} is needed: {wanted}")
    yield _about_cuda(torch)


def _about_cuda(torch: libtorch.Torch) -> Finding:
    driver = _driver()
    if not torch.cuda:
        do = "a GPU is there: a PyTorch with CUDA would use it (--device cuda)" if driver else None
        return Finding("CUDA", "this PyTorch is built without it: --device cpu", True, do)
    if driver is None:
        return Finding("CUDA", "PyTorch is built with it, and there is no NVIDIA driver: --device cpu")
    return Finding("CUDA", driver, True, "add --device cuda to a command to train on it")


def _driver() -> Optional[str]:
    """The NVIDIA driver and the number of its GPUs, as it says itself."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
        version, count = ctypes.c_int(), ctypes.c_int()
        if (
            cuda.cuInit(0)
            or cuda.cuDriverGetVersion(ctypes.byref(version))
            or cuda.cuDeviceGetCount(ctypes.byref(count))
        ):
            return None
    except (OSError, AttributeError):
        return None
    gpus = "1 GPU" if count.value == 1 else f"{count.value} GPUs"
    return f"{gpus}; the driver knows CUDA {version.value // 1000}.{version.value % 1000 // 10}"


def _about_program(find: Callable[[], Program]) -> Iterator[Finding]:
    try:
        program = find()
    except NoProgram as error:
        yield Finding("program", str(error), False)
        return
    version = _ask(program, "--version")
    if version.returncode != 0:
        # The dynamic loader says which library is missing or has another symbol.
        reason = version.stderr.strip().splitlines()
        said = reason[-1] if reason else f"it ends with exit code {version.returncode}"
        yield Finding("program", f"{program.path} does not start: {said}", False, "see docs/python.md, Installing")
        return
    yield Finding("program", f"{version.stdout.strip()} in {program.path}")
    plugins = _lines(_ask(program, "plugin", "list", "--json"))
    names = ", ".join(it["name"] for it in plugins if it.get("name"))
    do = None if plugins else "the folder plugins beside the program is empty: install the wheel again"
    yield Finding("plugins", f"{len(plugins)}: {names}" if plugins else "none", bool(plugins), do)
    data = _lines(_ask(program, "data", "list", "--json"))
    here = ", ".join(it["name"] for it in data if it["status"] != "missing")
    missing = ", ".join(it["name"] for it in data if it["status"] == "missing")
    yield Finding("data", here or "none", True, f"not here: {missing}; `rewind data list` says how to get them")


def _about_machine() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding("processor", f"{platform.machine()}, {cores} threads (--threads N uses fewer)")


def _about_package() -> Iterator[Finding]:
    named = [(name, importlib.util.find_spec(name) is not None) for name in ("numpy", "pandas", "polars", "tqdm")]
    here = ", ".join(name for name, there in named if there)
    has_numpy = dict(named)["numpy"]
    do = None if has_numpy else "pip install numpy: masks and weights are read with it"
    yield Finding(
        "Python", f"{platform.python_version()}, with {here or 'no package that this one uses'}", has_numpy, do
    )
    yield Finding("examples", f"{len(examples())}", True, "rewind run --example lrr")


def _ask(program: Program, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = program.command(arguments)
    return subprocess.run(**command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")


def _lines(done: "subprocess.CompletedProcess[str]") -> "list[dict[str, str]]":
    return [json.loads(line) for line in done.stdout.splitlines()] if done.returncode == 0 else []
