"""The program as a child: with a limit of time, and ended with whoever started it."""

import os
import signal
import subprocess
import threading
import time

from .verdicts import Differs


class Stopped(Exception):
    """The user wants no more."""


class Ended:
    """How a child came to its end."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def last_lines(self, count=3):
        """What it said at the end."""
        lines = [it.strip() for it in (self.err or self.out).splitlines() if it.strip()]
        return " | ".join(lines[-count:]) or "it said nothing"


class Program:
    """Starts the program and others, and ends what is still there."""

    def __init__(self, path, device, limit, configuration):
        self.path, self.device, self.limit = path, device, limit
        # Nobody's trust in plugins, and no thread that waits for another one's.
        self.environment = {**os.environ, "REWIND_CONFIG": str(configuration)}
        self.children, self.lock, self.stopped = set(), threading.Lock(), False

    @property
    def is_on_gpu(self):
        return self.device.startswith("cuda")

    def start(self, command, folder=None):
        """A child with a group of processes of its own."""
        with self.lock:
            if self.stopped:
                raise Stopped
            child = subprocess.Popen(
                [str(it) for it in command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env=self.environment,
                cwd=folder,
                start_new_session=True,
            )
            self.children.add(child)
        return child

    def end_of(self, child, limit=None):
        """Waits for a child, and ends it after the limit."""
        limit = limit or self.limit
        try:
            out, err = child.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            kill(child)
            out, err = child.communicate()
            said = Ended(child.returncode, out, err).last_lines(1)
            raise Differs(f"ended after {limit:.0f} s without an end: {said}") from None
        finally:
            with self.lock:
                self.children.discard(child)
        if self.stopped:
            raise Stopped
        return Ended(child.returncode, out, err)

    def call(self, command, folder=None, limit=None):
        """A child's whole life."""
        return self.end_of(self.start(command, folder), limit)

    def expect(self, *arguments):
        """The program, which has to end well."""
        ended = self.call([self.path, *arguments])
        if ended.code != 0:
            raise Differs(f"`{arguments[0]}` ended with {ended.code}: {ended.last_lines()}")
        return ended

    def stop(self):
        """Ends every child and starts no more."""
        with self.lock:
            self.stopped = True
            for child in self.children:
                kill(child)


def kill(child):
    """SIGKILL for a child and for its children."""
    if child.poll() is None:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def wait_until(condition, child, seconds):
    """Whether a condition came to hold while a child ran, for so many seconds at most."""
    end = time.monotonic() + seconds
    while child.poll() is None and time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.001)
    return False
