#!/usr/bin/env python3
"""Puts libtorch into .libtorch/{include,lib}, where .cargo/config.toml points the build, and CUDA's headers beside it.

    libtorch.py [lean | full | FOLDER]      (or the variable TORCH; `make libtorch` calls this)

lean    the CPU libraries and the headers, 0.5 GB
full    with CUDA and NVIDIA's libraries, 4 GB; the default where there is an NVIDIA GPU
FOLDER  links to a libtorch that is already there: an unpacked libtorch, or the `torch` folder of
        a Python environment

Without an argument, a set-up that is already there is kept as it is.

The libraries come out of PyPI's wheels, which a machine behind a package mirror reaches too. They
are C++, so it does not matter which Python runs this, and no Python package gets installed.
"""

import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

VERSION = "2.13.0"  # what the crate `tch` asks for; change it, the pins below and `tch` together

ROOT = Path(__file__).resolve().parents[2]
DEST = ROOT / ".libtorch"
PART = ROOT / ".libtorch.part"  # all is made here and renamed, so that DEST is never half-filled

MACOS = platform.system() == "Darwin"
MACHINE = {"arm64": "aarch64", "AMD64": "x86_64"}.get(platform.machine(), platform.machine())
LIBTORCH = "libtorch.dylib" if MACOS else "libtorch.so"

# Requirements as pip reads them. The hashes are those of the wheels for x86-64 Linux, 64-bit ARM
# Linux and (torch alone) macOS.
TORCH = r"""
torch==2.13.0 \
    --hash=sha256:60fcdcb2f3876e21146cb4524ef06397d727ca9ad5f020818547e25075fe3cb7 \
    --hash=sha256:092790c696a760c729fd5722835f50b9d81fd7c8f141571f3f3cf4081a8f664c \
    --hash=sha256:e76f9bcecc52b8ff711239a2f7547d5353df95878ab232f0773c1d95928b92f8
"""

# On Linux torch is built with CUDA, and even its CPU library does not load without these two.
CUDA_FOR_CPU = r"""
nvidia-cuda-runtime==13.0.96 \
    --hash=sha256:7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548 \
    --hash=sha256:ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55
nvidia-cuda-cupti==13.0.85 \
    --hash=sha256:4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8 \
    --hash=sha256:796bd679890ee55fb14a94629b698b6db54bcfd833d391d5e94017dd9d7d3151
"""

# Headers alone, of CUDA's runtime (above) and of its compiler, which the former include: what calls CUDA is compiled
# everywhere, whether there is a GPU or not.
CUDA_HEADERS = r"""
nvidia-cuda-crt==13.0.88 \
    --hash=sha256:ee2ea2a97073e02ee62bb27841f437332be2c248e3eac013df07997ada39c003 \
    --hash=sha256:2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4
"""

# The rest of what libtorch_cuda.so links to, in the versions that this torch requires.
CUDA_FOR_GPU = r"""
nvidia-cublas==13.1.1.3 \
    --hash=sha256:37936a16db8fe4ac1f065c2139360608a543a09275cb1a1af612e08cfa065436 \
    --hash=sha256:b7a210458267ac818974c53038fbec2e969d5c99f305ab15c72522fa9f001dd5
nvidia-cuda-nvrtc==13.0.88 \
    --hash=sha256:ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575 \
    --hash=sha256:d27f20a0ca67a4bb34268a5e951033496c5b74870b868bacd046b1b8e0c3267b
nvidia-cudnn-cu13==9.20.0.48 \
    --hash=sha256:0c45dd8eeb50b603f07995b1b300c62ffe6a1980482b82b3bcf94a4ca9d49304 \
    --hash=sha256:e31454ae00094b0c55319d9d15b6fa2fc50a9e1c0f5c8c80fb75258234e731e1
nvidia-cufft==12.0.0.61 \
    --hash=sha256:6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3 \
    --hash=sha256:2708c852ef8cd89d1d2068bdbece0aa188813a0c934db3779b9b1faa8442e5f5
nvidia-cufile==1.15.1.6 \
    --hash=sha256:08a3ecefae5a01c7f5117351c64f17c7c62efa5fffdbe24fc7d298da19cd0b44 \
    --hash=sha256:bdc0deedc61f548bddf7733bdc216456c2fdb101d020e1ab4b88d232d5e2f6d1
nvidia-curand==10.4.0.35 \
    --hash=sha256:1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc \
    --hash=sha256:133df5a7509c3e292aaa2b477afd0194f06ce4ea24d714d616ff36439cee349a
nvidia-cusolver==12.0.4.66 \
    --hash=sha256:0a759da5dea5c0ea10fd307de75cdeb59e7ea4fcb8add0924859b944babf1112 \
    --hash=sha256:02c2457eaa9e39de20f880f4bd8820e6a1cfb9f9a34f820eb12a155aa5bc92d2
nvidia-cusparse==12.6.3.3 \
    --hash=sha256:2b3c89c88d01ee0e477cb7f82ef60a11a4bcd57b6b87c33f789350b59759360b \
    --hash=sha256:80bcc4662f23f1054ee334a15c72b8940402975e0eab63178fc7e670aa59472c
nvidia-cusparselt-cu13==0.8.1 \
    --hash=sha256:786ce87568c303fadb5afcc7102d454cd3040d75f6f8626f5db460d1871f4dd0 \
    --hash=sha256:4dca476c50bf4780d46cd0bfbd82e2bc10a08e4fef7950917ce8d7578d22a23f
nvidia-nccl-cu13==2.29.7 \
    --hash=sha256:edd81538446786ec3b73972543e53bb43bcaf0bfc8ef76cb679fcc390ffe136d \
    --hash=sha256:674a12383e3c38a1bcccae7d4f3633b37852230b6047883cb2f4c2d1b36d9bf5
nvidia-nvjitlink==13.0.88 \
    --hash=sha256:13a74f429e23b921c1109976abefacc69835f2f433ebd323d3946e11d804e47b \
    --hash=sha256:e931536ccc7d467a98ba1d8b89ff7fa7f1fa3b13f2b0069118cd7f47bff07d0c
nvidia-nvshmem-cu13==3.4.5 \
    --hash=sha256:290f0a2ee94c9f3687a02502f3b9299a9f9fe826e6d0287ee18482e78d495b80 \
    --hash=sha256:6dc2a197f38e5d0376ad52cd1a2a3617d3cdc150fd5966f4aee9bcebb1d68fe9
"""

# Bytes needed in the checkout while setting up, and kept afterwards.
DISK = {"lean": (1_200_000_000, 500_000_000), "full": (5_200_000_000, 3_800_000_000)}

# Libraries of the wheel that a C++ program has no use for; in the lean set, those for the GPU too.
UNUSED = re.compile(r"torch_python|libshm|global_deps")
GPU_ONLY = re.compile(r"cuda|nvrtc|nvshmem|libtorch\.so")


def main():
    if sys.version_info < (3, 9):
        fail(f"Python 3.9 or newer is needed; {sys.executable} is {platform.python_version()}.")
    _lock = wait_for_lock()  # held until the process ends
    before = read_stamp()
    asked = "".join(sys.argv[1:2]) or os.environ.get("TORCH")
    variant = asked or before.get("variant") or ("full" if has_nvidia_gpu() else "lean")
    if variant not in DISK:
        variant = str(Path(variant).expanduser().resolve())
    elif MACOS:
        variant = "lean"  # Apple's machines have no CUDA: one set for all
    wheels = re.findall(r"\S+==\S+|sha256:\w+", pins(variant))
    stamp = {"variant": variant, "version": VERSION, "wheels": wheels}
    if before == stamp and is_complete(DEST):
        return

    remove(PART)
    try:
        if variant in DISK:
            unpack_wheels(variant)
        else:
            link_folder(Path(variant))
        if not is_complete(PART):
            fail(f"{PART} is not complete; this is a fault of {Path(__file__).name}.")
        (PART / "build-version").write_text(VERSION + "\n")  # torch-sys reads this one
        (PART / "stamp.json").write_text(json.dumps(stamp, indent=2) + "\n")
        replace(DEST, PART)
    finally:
        remove(PART)
    print(f"libtorch {VERSION} ({variant}) is in {DEST}")
    if before.get("variant", variant) != variant:
        forget_former_libraries()


def unpack_wheels(variant):
    """Fills PART with the headers and libraries of the wheels of `variant`."""
    compiler = cxx_compiler()  # all that can be missing is asked for before the long download
    work = PART / "work"
    for wheel in download_wheels(variant, work):
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            archive.extractall(PART, [n for n in names if is_wanted(n, wheel.name, variant)])
        wheel.unlink()
    remove(work)

    if variant == "full" and not MACOS:
        # torch's libraries look for NVIDIA's in ../../nvidia, so the wheels' layout has to stay.
        (PART / "include").symlink_to("torch/include")
        (PART / "lib").symlink_to("torch/lib")
        return
    lib = PART / "lib"
    (PART / "torch/include").rename(PART / "include")
    (PART / "torch/lib").rename(lib)
    for include in PART.glob("nvidia/*/include"):
        (PART / "cuda").mkdir()
        include.rename(PART / "cuda/include")
    for library in PART.glob("nvidia/*/lib/*"):
        library.rename(lib / library.name)
    remove(PART / "torch")
    remove(PART / "nvidia")
    if not MACOS:
        make_stub(compiler, lib)


def download_wheels(variant, work):
    """Has pip put the wheels of `variant` into `work`, and returns their paths."""
    wheel_platforms()  # before anything else, whether there are any for this machine
    during, after = DISK[variant]
    free = shutil.disk_usage(ROOT).free
    if free < during:
        fail(
            f"{ROOT} is on a disk with {free:,} bytes free, and setting up libtorch ({variant}) "
            f"takes {during:,} bytes, of which {after:,} stay. Make room and run it again."
        )

    wheels = work / "wheels"
    wheels.mkdir(parents=True)
    requirements = work / "requirements.txt"
    requirements.write_text(pins(variant))
    command = download_command(work, requirements, wheels)
    print(f"libtorch {VERSION} ({variant}): downloading", flush=True)
    # pip's own temporary files belong on the disk whose room was checked.
    if subprocess.run(command, env={**os.environ, "TMPDIR": str(work)}).returncode != 0:
        fail(
            "pip could not download libtorch; what it says is above. Without a way to PyPI, set "
            "pip's PIP_INDEX_URL, PIP_PROXY or PIP_CERT for your mirror or proxy, or name a "
            f"folder that holds libtorch {VERSION}: make libtorch TORCH=/path/to/libtorch"
        )
    print(f"libtorch {VERSION} ({variant}): unpacking", flush=True)
    return sorted(wheels.iterdir())


def download_command(work, requirements, wheels):
    """The command by which pip puts the wheels of a list into the folder `wheels`."""
    # The tags are those of one Python, so that every machine gets the files whose hashes are here.
    command = pip(work) + ["download", "--no-cache-dir", "--no-deps", "--only-binary=:all:"]
    command += ["--require-hashes", "-r", str(requirements), "-d", str(wheels)]
    command += ["--python-version=3.11", "--implementation=cp", "--abi=cp311", "--abi=none"]
    return command + [f"--platform={name}" for name in wheel_platforms()]



def is_wanted(name, wheel, variant):
    """Whether the file `name` of a wheel goes into the set-up."""
    if name.startswith("torch/include/"):
        return True
    if re.match(r"nvidia/\w+/include/", name):
        return wheel.startswith(("nvidia_cuda_runtime-", "nvidia_cuda_crt-"))
    library = re.fullmatch(r"(torch|nvidia/\w+)/lib/([^/]+\.(?:so|dylib)[.\d]*)", name)
    if not library or UNUSED.search(name):
        return False
    folder, file = library.groups()
    if variant == "full" or MACOS:
        return True
    if folder == "torch":
        return not GPU_ONLY.search(file)
    return file.startswith(("libcudart.", "libcupti."))


def make_stub(compiler, lib):
    """Links a libtorch.so without the GPU's libraries, which the wheel's own one pulls in."""
    command = compiler + ["-shared", "-o", str(lib / "libtorch.so"), f"-L{lib}"]
    command += ["-Wl,-soname,libtorch.so", "-Wl,-rpath,$ORIGIN", "-Wl,--allow-shlib-undefined"]
    command += ["-Wl,--no-as-needed", "-l:libtorch_cpu.so", "-l:libc10.so"]
    if subprocess.run(command).returncode != 0:
        fail(f"the C++ compiler could not link libtorch.so; this failed: {shlex.join(command)}")


def link_folder(folder):
    """Makes PART point to the libtorch in `folder`, after looking at its version."""
    if folder == DEST or DEST in folder.parents:
        fail(f"{folder} is where libtorch is set up, so it can't be the folder to link to.")
    if not is_complete(folder):
        fail(
            f"there is no libtorch in {folder}: include/torch/csrc/api/include/torch/torch.h and "
            f"lib/{LIBTORCH} are expected in it. Of a Python environment, give the folder "
            "site-packages/torch. TORCH is lean, full or such a folder."
        )
    version = libtorch_version(folder)
    if version != VERSION:
        fail(
            f"{folder} holds libtorch {version or 'of an unknown version'}, and exactly {VERSION} "
            "is needed: the bindings are made for it. `make libtorch TORCH=lean` fetches it."
        )
    PART.mkdir()
    (PART / "include").symlink_to(folder / "include")
    (PART / "lib").symlink_to(folder / "lib")


def libtorch_version(folder):
    """The version that an unpacked libtorch or a Python torch states, or None."""
    for file, pattern in (
        ("build-version", r"\s*([\d.]+)"),
        ("version.py", r".*?__version__ = '([\d.]+)"),
    ):
        if (folder / file).is_file():
            found = re.match(pattern, (folder / file).read_text(), re.DOTALL)
            return found and found[1]
    return None


def is_complete(folder):
    header = folder / "include/torch/csrc/api/include/torch/torch.h"
    return header.is_file() and (folder / "lib" / LIBTORCH).is_file()


def pins(variant):
    """The requirements of a variant; empty for a folder."""
    if variant not in DISK:
        return ""
    if MACOS:
        return TORCH
    return TORCH + CUDA_FOR_CPU + CUDA_HEADERS + (CUDA_FOR_GPU if variant == "full" else "")


def wheel_platforms():
    """The platform tags of the wheels that this machine can use."""
    here = f"{platform.system()} on {platform.machine()}"
    if MACOS and MACHINE == "aarch64" and int(platform.mac_ver()[0].split(".")[0]) >= 14:
        return ["macosx_14_0_arm64"]
    if platform.system() == "Linux" and MACHINE in ("x86_64", "aarch64"):
        libc, version = platform.libc_ver()
        if libc == "glibc" and tuple(map(int, version.split(".")[:2])) >= (2, 28):
            # pip takes each tag literally, and NVIDIA's wheels carry various older ones.
            return [f"manylinux_2_{minor}_{MACHINE}" for minor in range(28, 11, -1)] + [
                f"manylinux2014_{MACHINE}"
            ]
        here += f" with {libc or 'another C library than glibc'} {version}".rstrip()
    fail(
        f"no libtorch {VERSION} is published for {here}. There are builds for Linux (x86-64 and "
        "64-bit ARM, glibc 2.28 or newer) and for macOS 14 or newer on Apple silicon. With a "
        "libtorch of your own: make libtorch TORCH=/path/to/libtorch"
    )


def cxx_compiler():
    """The C++ compiler's command, which the build needs as well."""
    words = shlex.split(os.environ.get("CXX") or os.environ.get("CC") or "c++")
    if not shutil.which(words[0]):
        fail(
            f"the C++ compiler `{words[0]}` was not found. Install one (Debian and Ubuntu: apt "
            "install g++; Fedora: dnf install gcc-c++; macOS: xcode-select --install) or name "
            "yours in the variable CXX."
        )
    return words


def pip(work):
    """The command that runs pip: this Python's, or one in a throw-away environment."""
    if succeeds([sys.executable, "-m", "pip", "--version"]):
        return [sys.executable, "-m", "pip"]
    if succeeds([sys.executable, "-m", "venv", str(work / "venv")]):
        return [str(work / "venv/bin/python"), "-m", "pip"]
    fail(
        f"{sys.executable} has neither pip nor venv, and one of them is needed to download "
        "libtorch. On Debian and Ubuntu: apt install python3-venv python3-pip; on Fedora: "
        "dnf install python3-pip"
    )


def has_nvidia_gpu():
    return Path("/dev/nvidia0").exists() or succeeds(["nvidia-smi", "-L"])


def succeeds(command):
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def forget_former_libraries():
    """Makes cargo look again: torch-sys decided which libraries to link from the former ones."""
    for profile in ("dev", "release"):
        succeeds(["cargo", "clean", "--offline", f"--profile={profile}", "--package=torch-sys"])


def wait_for_lock():
    """Waits for another set-up of this checkout: two at once would remove each other's files."""
    try:
        import fcntl

        lock = open(__file__, "r+")
        fcntl.flock(lock, fcntl.LOCK_EX)
        return lock
    except (ImportError, OSError):
        return None  # some network file systems have no locks; go on without


def read_stamp():
    try:
        return json.loads((DEST / "stamp.json").read_text())
    except (OSError, ValueError):
        return {}


def replace(old, new):
    """Puts `new` in the place of `old`, which is there in whole or not at all at any moment."""
    aside = old.with_name(old.name + ".old")
    remove(aside)
    if os.path.lexists(old):
        old.rename(aside)
    new.rename(old)
    remove(aside)


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()


def fail(message):
    sys.exit(f"libtorch: {message}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("libtorch: interrupted; nothing was changed")
    except OSError as error:
        fail(f"failed to set up {DEST}: {error}")
