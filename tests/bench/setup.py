#!/usr/bin/env python3
"""Makes the Python environment that `make bench` compares with: PyTorch as pip installs it, and ONNX Runtime, which
`host bench-export` finds by REWIND_PYTHON.

    setup.py FOLDER

What is there is kept if it is complete. PyPI's wheel for x86-64 Linux brings NVIDIA's libraries
along; they are not used here, but this is what users get.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

PINS = ["torch==2.13.0", "numpy>=2,<3", "onnxruntime==1.32.0", "pillow==13.0.0"]  # the torch whose libtorch the host is built with
ROOM = 8_000_000_000  # bytes while pip unpacks


def main():
    folder = Path(sys.argv[1])
    stamp = folder / "bench-stamp.txt"
    wanted = "\n".join(PINS) + "\n"
    if stamp.is_file() and stamp.read_text() == wanted:
        return
    if sys.version_info < (3, 10):
        fail(f"PyTorch 2.13 needs Python 3.10 or newer; {sys.executable} is {sys.version.split()[0]}.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free
    if free < ROOM:
        fail(f"{folder.parent} has {free:,} bytes free and PyTorch needs {ROOM:,}. Make room and try again.")
    if subprocess.run([sys.executable, "-m", "venv", str(folder)]).returncode != 0:
        fail("python3 cannot make a virtual environment. On Debian and Ubuntu: apt install python3-venv")
    print(f"fetching {', '.join(PINS)} into {folder} (some 5 GB on disk)", flush=True)
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--no-cache-dir"]
    # pip's temporary files belong on the disk whose room was checked.
    environment = {**os.environ, "TMPDIR": str(folder)}
    if subprocess.run(pip + PINS, env=environment).returncode != 0:
        fail("pip could not install them; what it says is above. PIP_INDEX_URL names a mirror.")
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").is_file():
        print("note: Python.h is missing, so torch.compile cannot be measured (apt install python3-dev)")
    stamp.write_text(wanted)


def fail(message):
    sys.exit(f"bench: {message}")


if __name__ == "__main__":
    main()
