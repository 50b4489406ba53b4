"""What this process may do: a part of the machine's memory, no other process, and no life after the program's."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
import sys

_GIB = 1 << 30
#: Address space that libraries reserve and do not use, CUDA's above all, while a file is loaded.
_RESERVED = 64 * _GIB

# From <linux/prctl.h>, <linux/seccomp.h>, <linux/audit.h> and <sched.h>.
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 1, 38, 22
_SECCOMP_MODE_FILTER, _ALLOW, _ERRNO = 2, 0x7FFF0000, 0x00050000
_CLONE_THREAD = 0x00010000

#: Of each machine its number for filters, and the system calls fork, vfork, clone and clone3.
_MACHINES = {
    "x86_64": (0xC000003E, (57, 58), 56, 435),
    "aarch64": (0xC00000B7, (), 220, 435),
}


def die_with_parent() -> None:
    """Has the system end this process when the program ends, however it does."""
    if sys.platform.startswith("linux"):
        parent = os.getppid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def start_no_process() -> bool:
    """Refuses whatever would start another process, for good; threads may be started. Whether the system does so."""
    machine = _MACHINES.get(platform.machine())
    if machine is None or not sys.platform.startswith("linux"):
        return False
    audit, forks, clone, clone3 = machine
    # Without the call of many flags the library goes back to the one whose flags can be seen here.
    refuse, unknown = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS
    load, equal, some, done = 0x20, 0x15, 0x45, 0x06
    program = [
        (load, 0, 0, 4),  # the machine
        (equal, 1, 0, audit),
        (done, 0, 0, refuse),
        (load, 0, 0, 0),  # the call's number
    ]
    for fork in forks:
        program += [(equal, 0, 1, fork), (done, 0, 0, refuse)]
    program += [
        (equal, 0, 1, clone3),
        (done, 0, 0, unknown),
        (equal, 0, 3, clone),
        (load, 0, 0, 16),  # its first argument: flags
        (some, 1, 0, _CLONE_THREAD),
        (done, 0, 0, refuse),
        (done, 0, 0, _ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *it) for it in program))
    header = struct.pack("@HP", len(program), ctypes.addressof(code))
    if _prctl(_PR_SET_NO_NEW_PRIVS, 1) != 0:
        return False
    return _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.create_string_buffer(header)) == 0


class MemoryLimit:
    """How much memory this process may take beyond what it has when its file is loaded; 0 for no limit."""

    def __init__(self, gib: float) -> None:
        self.bytes = int(gib * _GIB)
        self.limit = 0
        self.allow(_RESERVED)

    def begin(self) -> None:
        """Counts from here on."""
        self.allow(0)

    def allow(self, more: int) -> None:
        """Sets the limit to what is taken now, `more`, and what may be taken."""
        if self.bytes and (taken := _address_space()) is not None:
            self.set(taken + self.bytes + more)

    def raise_by(self, more: int) -> None:
        """What the program shares with this process does not count."""
        if self.bytes and self.limit:
            self.set(self.limit + more)

    def set(self, limit: int) -> None:
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        if hard == resource.RLIM_INFINITY or limit < hard:
            resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
            self.limit = limit


def _address_space() -> int | None:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return None


def _prctl(option: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    padded = [*arguments, *[0] * (4 - len(arguments))]
    return libc.prctl(option, *(ctypes.c_ulong(it) if isinstance(it, int) else it for it in padded))
