#!/usr/bin/env python3
"""Puts NVRTC, NVIDIA's compiler of CUDA kernels, into target/nvrtc, for tests that compile them.

    nvrtc.py      (`make nvrtc` and `make test` call this)

It runs on machines without a GPU. The libraries come out of PyPI's wheel, as libtorch does, in the version and with
the hashes that libtorch.py lists. Nothing is done where they are there, or where libtorch's full set has them;
without a network the tests that need them are left out.
"""

import os
import re
import subprocess
import sys
import zipfile

import libtorch

PACKAGE = "nvidia-cuda-nvrtc"
DEST = libtorch.ROOT / "target/nvrtc"
PART = libtorch.ROOT / "target/nvrtc.part"  # as libtorch's: DEST is never half-filled

# The compiler, and what is built into its language.
LIBRARIES = ("libnvrtc.so.13", "libnvrtc-builtins.so.13.0")

# Where libtorch's full set has them.
FULL = libtorch.DEST / "nvidia/cu13/lib"


class NotThere(Exception):
    """The wheel cannot be had here."""


def main():
    if libtorch.MACOS:
        return  # Apple's machines have no CUDA
    _lock = libtorch.wait_for_lock()  # held until the process ends
    if any(all((folder / name).is_file() for name in LIBRARIES) for folder in (DEST, FULL)):
        return
    libtorch.remove(PART)
    try:
        unpack(download(PART / "work"), PART / "lib")
        libtorch.replace(DEST, PART / "lib")
    except NotThere as reason:
        print(f"nvrtc: tests that compile CUDA kernels are left out, as pip did not fetch it: {reason}")
        return
    finally:
        libtorch.remove(PART)
    print(f"NVRTC {version()} is in {DEST}")


def download(work):
    """Has pip put the wheel into `work`, and returns its path."""
    wheels = work / "wheels"
    wheels.mkdir(parents=True)
    requirements = work / "requirements.txt"
    requirements.write_text(pin())
    try:
        command = libtorch.download_command(work, requirements, wheels)
    except SystemExit as reason:  # no pip, or no wheels for this machine
        raise NotThere(str(reason)) from None
    # A machine without a network is not to wait long for that to be certain.
    command += ["--quiet", "--retries=1", "--timeout=15"]
    environment = {**os.environ, "TMPDIR": str(work)}
    run = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True)
    if run.returncode != 0:
        errors = re.findall(r"ERROR: (.*)", run.stderr)
        raise NotThere(errors[-1] if errors else "it does not say why")
    return next(wheels.iterdir())


def unpack(wheel, folder):
    """Writes the libraries of a wheel into a folder."""
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            file = name.rsplit("/", 1)[-1]
            if file in LIBRARIES:
                (folder / file).write_bytes(archive.read(name))
    missing = [name for name in LIBRARIES if not (folder / name).is_file()]
    if missing:
        sys.exit(f"nvrtc: {wheel.name} lacks {' and '.join(missing)}")


def pin():
    """The requirement as libtorch's full set has it, with its hashes."""
    return re.search(rf"{PACKAGE}==\S+(?: \\\n +--hash=\S+)+", libtorch.CUDA_FOR_GPU)[0] + "\n"


def version():
    return re.match(rf"{PACKAGE}==(\S+)", pin())[1]


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("nvrtc: interrupted; nothing was changed")
    except OSError as error:
        sys.exit(f"nvrtc: failed to set up {DEST}: {error}")
