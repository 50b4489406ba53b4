"""Runs an experiment in the program, with progress, and lets it stop in order."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
from pathlib import Path
from typing import IO, Any, Callable, Dict, List, Mapping, Optional, Sequence, Union

from . import program
from .errors import Interrupted, NoProgram, NoRun
from .progress import Progress
from .runs import AnyPath, Run
from .sweeps import Sweep
from .toml import value

Event = Dict[str, Any]


def run(
    file: AnyPath,
    *,
    set: Optional[Mapping[str, Any]] = None,
    seeds: Union[Sequence[int], str, None] = None,
    runs: AnyPath = "runs",
    device: Optional[str] = None,
    threads: Optional[int] = None,
    jobs: Optional[int] = None,
    only: Sequence[str] = (),
    fresh: bool = False,
    allow_plugins: bool = False,
    data_dir: Optional[AnyPath] = None,
    arguments: Sequence[str] = (),
    progress: bool = True,
    on_event: Optional[Callable[[Event], None]] = None,
) -> Union[Run, Sweep]:
    """Runs an experiment or a sweep, or goes on with it where it stopped; gives the run or the sweep.

    `set` changes keys of the file: `{"train.epochs": 5, "model.hidden": [64, 64]}`. `seeds` are a list or text such
    as "0..5". The other options are those of `rewind run`, and `arguments` are passed on as they are. `on_event` is
    called with every event, as `rewind run --json` writes them. `progress` is tqdm's bar if tqdm is installed, and a
    line a level if not.

    Ctrl-C, or a notebook's "interrupt the kernel", lets the program write its checkpoint and raises `Interrupted`,
    which is a `KeyboardInterrupt`; the same call goes on from there. A second one leaves at once. If this process
    dies, the program stops in order, too.

    Raises `ProgramFailed` with the program's message: mistakes in the file, each with its place; seeds or cells that
    were given up; a plugin that broke a rule.
    """
    options: List[str] = []
    for name, given in (("device", device), ("threads", threads), ("jobs", jobs), ("data-dir", data_dir)):
        if given is not None:
            options += [f"--{name}", os.fspath(given) if isinstance(given, os.PathLike) else str(given)]
    for name, flag in (("fresh", fresh), ("allow-plugins", allow_plugins)):
        options += [f"--{name}"] if flag else []
    for key, new in (set or {}).items():
        options += ["--set", f"{key}={value(new)}"]
    for cell in only:
        options += ["--only", cell]
    if seeds is not None:
        options += ["--seeds", seeds if isinstance(seeds, str) else ",".join(map(str, seeds))]
    # It stops by itself when its stdin ends, so also if this process is killed.
    command = ["run", os.fspath(file), "--json", "--until-stdin-closes", "--runs", os.fspath(runs)]
    command += [*options, *arguments]
    with Progress(progress) as shown:
        finished = _follow(command, lambda event: _tell(event, shown, on_event))
    if "neuron" in finished:
        raise NoRun(f"{finished['run']} is a simulation of the hidden neuron, which has no levels: read its files")
    return Sweep(finished["sweep"]) if "sweep" in finished else Run(finished["run"])


def _tell(event: Event, shown: Progress, on_event: Optional[Callable[[Event], None]]) -> None:
    shown.event(event)
    if on_event is not None:
        on_event(event)


def _follow(arguments: Sequence[str], tell: Callable[[Event], None]) -> Event:
    """Starts the program, passes its events on and gives the last one."""
    command = program.find().command(arguments)
    try:
        # A Ctrl-C in the terminal is for this process, which asks the program to stop: in the same group the program
        # would be asked twice, and leave at once.
        child = subprocess.Popen(
            **command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
    except OSError as error:
        raise NoProgram(f"failed to start {command['executable']}: {error.strerror}") from error
    assert child.stdin and child.stdout and child.stderr
    said, told = _Said(child.stderr), program.Told()

    def tell_all(event: Event) -> None:
        # A warning is worth most before hours of training.
        said.pass_on(told)
        tell(event)

    events = _Events(child, tell_all)
    interrupted = False
    try:
        events.read()
    except KeyboardInterrupt:
        interrupted = True
    finally:
        # Whatever went wrong here, such as in `on_event`: the program stops in order.
        if interrupted or child.poll() is None and events.open:
            interrupted = _stop(child, events) or interrupted
        child.stdin.close()
        exit = child.wait()
        said.end()
        child.stdout.close()
    said.pass_on(told)
    last = events.last
    if interrupted or exit == 4:
        path = last.get("sweep") or last.get("run")
        raise Interrupted(Path(path) if path else None)
    if exit != 0:
        raise told.failure(exit)
    return last


class _Events:
    """The events of a program."""

    def __init__(self, child: "subprocess.Popen[bytes]", tell: Callable[[Event], None]) -> None:
        self._child, self._tell = child, tell
        self.last: Event = {}
        self.open = True

    def read(self, silent: bool = False) -> None:
        """Reads to the end."""
        assert self._child.stdout
        for line in self._child.stdout:
            event = json.loads(line)
            if event.get("event") in ("run-started", "sweep-started", "finished") and "cell" not in event:
                self.last = event
            if not silent:
                self._tell(event)
        self.open = False


class _Said:
    """What a program says on stderr, read as it comes: a program whose stderr is full waits."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lines: "queue.SimpleQueue[str]" = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._stream:
            self._lines.put(line.decode("utf-8", "replace").rstrip("\n"))

    def pass_on(self, told: program.Told) -> None:
        """Passes on what it said since."""
        while not self._lines.empty():
            told.take(self._lines.get())

    def end(self) -> None:
        """Reads the rest."""
        self._reader.join()
        self._stream.close()


def _stop(child: "subprocess.Popen[bytes]", events: _Events) -> bool:
    """Lets the program write its checkpoint, and whoever asks once more, leave at once."""
    child.send_signal(signal.SIGINT)
    while True:
        try:
            # What it has to say until then must be read, or it waits for that.
            events.read(silent=True)
            child.wait()
            return True
        except KeyboardInterrupt:
            child.send_signal(signal.SIGINT)
