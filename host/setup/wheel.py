#!/usr/bin/env python3
"""Makes a wheel of the program, its plugins, the Python package and the experiments.

    wheel.py PROGRAM SDK OUT PLUGIN...      (`make wheel` calls this)

PROGRAM and each PLUGIN are what cargo built with the lean libtorch, SDK is the folder that a plugin is written
against, OUT gets the wheel. The program of the wheel finds libtorch in the PyTorch beside it, CPU or CUDA. Its tag
follows from the versions of the symbols that it needs.
"""

import base64
import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from licences import expression, third_parties

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "host/python/rewind"
# The name on the index; in Python it is `rewind`, which is another package there.
NAME = "rewind_pruning"
TORCH = "2.13"  # as in host/setup/libtorch.py and host/python/rewind/libtorch.py

# Where the program finds libtorch: it lies in site-packages/rewind/bin.
RUNPATH = "$ORIGIN/../../torch/lib"
# What comes with PyTorch, and what every Linux of the tag has (PEP 600).
OF_TORCH = {"libtorch.so", "libtorch_cpu.so", "libc10.so", "libgomp.so.1"}
OF_SYSTEM = {
    *("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1"),
    *("libgcc_s.so.1", "libstdc++.so.6", "ld-linux-x86-64.so.2"),
}
# The glibc of the oldest distributions whose libstdc++ has these symbols: GCC 10, 11, 12, 13, 14.
GLIBC_OF = {
    "GLIBCXX": {
        (3, 4, 28): (2, 31),
        (3, 4, 29): (2, 34),
        (3, 4, 30): (2, 35),
        (3, 4, 32): (2, 38),
        (3, 4, 33): (2, 39),
    },
    "CXXABI": {(1, 3, 12): (2, 31), (1, 3, 13): (2, 34), (1, 3, 14): (2, 38), (1, 3, 15): (2, 39)},
}


def main(program, sdk, out, plugins):
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        fail("the wheel is for Linux on x86-64: make it there")
    for tool in ("readelf", "strip"):
        if shutil.which(tool) is None:
            fail(f"{tool} was not found: install binutils (Debian and Ubuntu: apt install binutils)")
    version = re.search(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]
    said = re.search(r'^__version__ = "(.+)"', (PACKAGE / "__init__.py").read_text(), re.M)[1]
    if said != version:
        fail(f"host/python/rewind/__init__.py says version {said}, Cargo.toml {version}")
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        # What the package takes from elsewhere are links, which are followed.
        shutil.copytree(PACKAGE, top / "rewind", ignore=shutil.ignore_patterns("__pycache__"))
        binaries = [place(program, top / "rewind/bin/rewind")]
        binaries += [place(plugin, top / "rewind/bin/plugins" / plugin.name) for plugin in plugins]
        set_runpath(binaries[0], RUNPATH)
        cuda = "librewind_cuda.so"  # found beside the program
        binaries.append(place(program.with_name(cuda), top / "rewind/bin" / cuda))
        shutil.copytree(sdk, top / "rewind/bin/sdk")
        copy_experiments(top / "rewind/experiments")
        tag = f"py3-none-manylinux_{'_'.join(map(str, glibc(binaries)))}_x86_64"
        info = top / f"{NAME}-{version}.dist-info"
        write_info(info, version, tag)
        out.mkdir(parents=True, exist_ok=True)
        for old in out.glob(f"{NAME}-*.whl"):
            old.unlink()
        wheel = out / f"{NAME}-{version}-{tag}.whl"
        pack(top, info, wheel)
    print(f"{wheel} ({wheel.stat().st_size / 1e6:.1f} MB)")


def place(source, target):
    """Copies a binary without the symbols that only a debugger reads."""
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["strip", "--strip-unneeded", "-o", target, source], check=True)
    target.chmod(0o755)
    return target


def needed(binary):
    """The libraries that a binary is loaded with."""
    return set(re.findall(r"\(NEEDED\).*\[(.+)\]", readelf("-d", binary)))


def set_runpath(binary, new):
    """Writes another run path over a longer one, which led to the libtorch of the build."""
    (old,) = re.findall(r"\((?:RUNPATH|RPATH)\).*\[(.+)\]", readelf("-d", binary))
    contents = binary.read_bytes()
    before, after = old.encode() + b"\0", new.encode().ljust(len(old), b"\0") + b"\0"
    if contents.count(b"\0" + before) != 1 or len(after) != len(before):
        fail(f"the run path of {binary.name}, {old}, cannot become {new}")
    binary.write_bytes(contents.replace(b"\0" + before, b"\0" + after))
    (now,) = re.findall(r"\((?:RUNPATH|RPATH)\).*\[(.+)\]", readelf("-d", binary))
    assert now == new, now


def glibc(binaries):
    """The oldest glibc whose systems load these binaries, as (2, 35)."""
    oldest = (2, 17)
    for binary in binaries:
        strange = needed(binary) - OF_TORCH - OF_SYSTEM
        if "libtorch_cuda.so" in strange:
            fail(
                "the program is linked to CUDA, and would not start beside a PyTorch without it: make wheel TORCH=lean"
            )
        if strange:
            fail(f"{binary.name} needs {', '.join(sorted(strange))}, which not every Linux has")
        symbols = readelf("-V", binary)
        for kind, text in re.findall(r"Name: (GLIBC|GLIBCXX|CXXABI)_([0-9.]+)\b", symbols):
            number = tuple(map(int, text.split(".")))
            if kind in GLIBC_OF:
                fits = [glibc for known, glibc in GLIBC_OF[kind].items() if known >= number]
                if not fits:
                    fail(f"{binary.name} needs {kind}_{text}, newer than what this script knows a glibc for")
                number = min(fits)
            oldest = max(oldest, number[:2])
    return oldest


def readelf(what, binary):
    done = subprocess.run(["readelf", what, "-W", binary], check=True, capture_output=True, text=True)
    return done.stdout


def copy_experiments(target):
    for file in sorted((ROOT / "experiments").rglob("*")):
        if file.suffix in (".toml", ".pt2", ".md", ".py"):
            copy = target / file.relative_to(ROOT / "experiments")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)


def write_info(info, version, tag):
    licences = info / "licenses"
    licences.mkdir(parents=True)
    for name in ("LICENSE", "LICENSE-MIT", "LICENSE-APACHE"):
        shutil.copyfile(ROOT / name, licences / name)
    crates, text = third_parties(ROOT)
    (licences / "THIRD-PARTY").write_text(text)
    metadata = [
        "Metadata-Version: 2.4",
        f"Name: {NAME.replace('_', '-')}",
        f"Version: {version}",
        "Summary: Prunes neural networks iteratively, with strategies that are plugins",
        "Requires-Python: >=3.10",
        f"Requires-Dist: torch=={TORCH}.*",
        "Requires-Dist: numpy",
        "Provides-Extra: notebook",
        'Requires-Dist: pandas; extra == "notebook"',
        'Requires-Dist: tqdm; extra == "notebook"',
        f"License-Expression: {expression(crates)}",
        *(f"License-File: {name}" for name in sorted(it.name for it in licences.iterdir())),
        "Classifier: Operating System :: POSIX :: Linux",
        "Classifier: Programming Language :: Python :: 3",
        "Description-Content-Type: text/markdown",
    ]
    description = (ROOT / "docs/python.md").read_text()
    (info / "METADATA").write_text("\n".join(metadata) + "\n\n" + description)
    (info / "WHEEL").write_text(f"Wheel-Version: 1.0\nGenerator: wheel.py\nRoot-Is-Purelib: false\nTag: {tag}\n")
    (info / "entry_points.txt").write_text("[console_scripts]\nrewind = rewind.cli:main\n")


def pack(top, info, wheel):
    """Zips a folder; the same files give the same bytes."""
    record = []
    part = wheel.with_suffix(".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:

        def add(name, contents, mode):
            entry = zipfile.ZipInfo(name)  # dated 1980
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, contents)

        files = [file for file in top.rglob("*") if file.is_file()]
        # The index reads what it says of itself from the archive's end.
        for file in sorted(files, key=lambda it: (info in it.parents, it.as_posix())):
            name, contents = file.relative_to(top).as_posix(), file.read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(contents).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(contents)}")
            add(name, contents, 0o755 if file.stat().st_mode & 0o100 else 0o644)
        name = f"{info.name}/RECORD"
        add(name, "\n".join([*record, f"{name},,"]) + "\n", 0o644)
    part.replace(wheel)


def fail(reason):
    print(f"make: {reason}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    program, sdk, out, *plugins = map(Path, sys.argv[1:])
    main(program, sdk, out, plugins)
