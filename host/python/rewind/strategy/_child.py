"""The process that runs a file for the program: it makes components, calls them, and asks for what they ask for.

Messages are JSON with their length before it, over a socket; arrays lie in memory that both sides share.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import socket
import struct
import sys
import types
from pathlib import PurePath
from typing import Any, NoReturn, Sequence

import numpy as np

from . import _components, _confine, _state
from ._arrays import Memory, WrongArrays, lend, receive, shared, torch_of
from ._context import Context, HostError, Layer
from ._options import BadOption, resolve
from ._plan import Plan

_DTYPES = {"f32": "<f4", "f64": "<f8", "i64": "<i8"}


class Channel:
    """Both ends' messages."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end

    def send(self, message: dict[str, Any]) -> None:
        text = json.dumps(message).encode()
        try:
            self.end.sendall(struct.pack("<I", len(text)) + text)
        except OSError:
            os._exit(0)  # The program is gone.

    def receive(self) -> dict[str, Any]:
        length = struct.unpack("<I", self._exactly(4))[0]
        return json.loads(self._exactly(length))

    def _exactly(self, count: int) -> bytearray:
        data = bytearray()
        while len(data) < count:
            more = self.end.recv(count - len(data))
            if not more:
                os._exit(0)  # The program is gone.
            data += more
        return data


class Asking:
    """Asks the program during a call."""

    def __init__(self, channel: Channel, memory: Memory, torch: Any, who: str, layers: Sequence[Layer]) -> None:
        self.channel = channel
        self.memory = memory
        self.torch = torch
        self.who = who
        self.layers = layers

    def tensors(self, service: str, request: Any = None, inputs: Sequence[Any] | None = None) -> list[Any]:
        message: dict[str, Any] = {"ask": service, "request": request}
        if inputs is not None:
            message["inputs"] = self.give(receive(self.who, f"what `ctx.{service}` is asked with", inputs, self.layers))
        return [lend(self._array(it), self.torch) for it in self._ask(message)["tensors"]]

    def query(self, service: str, request: Any = None) -> Any:
        return self._ask({"ask": "query", "service": service, "request": request})["answer"]

    def say(self, level: int, text: str) -> None:
        self.channel.send({"say": text, "level": level})

    def give(self, arrays: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        """Puts arrays where the program reads them."""
        places = self._ask({"ask": "room", "request": [it.nbytes for it in arrays]})["places"]
        for place, array in zip(places, arrays):
            self.memory.give(place, array)
        return [{"place": place, "shape": it.shape} for place, it in zip(places, arrays)]

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        freed = self.memory.take_freed()
        self.channel.send({**message, "freed": freed})
        answer = self.channel.receive()
        self.memory.grow(answer["size"])
        if "error" in answer:
            raise HostError(answer["error"])
        return answer

    def _array(self, told: dict[str, Any]) -> np.ndarray:
        return self.memory.view(told["place"], _DTYPES[told["dtype"]], told["shape"])


class Instance:
    """A component that was made."""

    def __init__(self, component: _components.Component, options: dict[str, Any]) -> None:
        self.component = component
        self.options = options
        self.state: dict[str, Any] = {}


class Child:
    """The process."""

    def __init__(self, end: socket.socket, memory: int, hello: dict[str, Any]) -> None:
        self.channel = Channel(end)
        self.memory = shared(memory)
        self.path = hello["file"]
        self.name = PurePath(self.path).name
        self.limit = _confine.MemoryLimit(hello["memory"])
        self.memory.before_growing = self.limit.raise_by
        self.torch: Any = None
        self.made: dict[int, Instance] = {}

    def load(self, source: str) -> dict[str, Any]:
        """Runs the file, and says what is in it."""
        module = types.ModuleType("__strategy__")
        module.__file__ = self.path
        sys.modules[module.__name__] = module
        exec(compile(source, self.path, "exec", dont_inherit=True), module.__dict__)
        self.torch = torch_of(module)
        self.limit.begin()
        versions = {"Python": sys.version.split()[0], "NumPy": np.__version__}
        if self.torch is not None:
            versions["torch"] = str(self.torch.__version__)
        schemas = {kind: it.schema() for kind, it in _components.FOUND.items()}
        return {"components": schemas, "versions": versions}

    def serve(self) -> NoReturn:
        """Does what it is told, until the program is gone."""
        while True:
            message = self.channel.receive()
            self.memory.grow(message.get("size", 0))
            if message["do"] == "drop":
                self.made.pop(message["id"], None)
                continue
            try:
                answer = {"ok": getattr(self, message["do"])(message)}
            except BaseException as error:  # What ends an interpreter, such as sys.exit, is an error of this call.
                answer = {"error": self.tell(error), "options": isinstance(error, BadOption)}
            self.channel.send(answer)

    def make(self, message: dict[str, Any]) -> dict[str, Any]:
        component = _components.FOUND[message["kind"]]
        instance = Instance(component, resolve(component, message["options"]))
        made = component.made(instance.options)
        self.made[message["id"]] = instance
        return made

    def call(self, message: dict[str, Any]) -> dict[str, Any]:
        instance, facts = self.made[message["id"]], message["facts"]
        component = instance.component
        asking = Asking(self.channel, self.memory, self.torch, f"`{component.name}`", [])
        context = Context(asking, facts, instance.state)
        asking.layers = context.layers
        given = component.function(context, **instance.options)
        self._keep(instance, context)
        if component.kind == "rewind":
            return self._plan(asking, given)
        what, is_mask = f"the {component.kind}", component.kind == "mask"
        return {"tensors": asking.give(receive(asking.who, what, given, context.layers, is_mask))}

    def _plan(self, asking: Asking, given: Any) -> dict[str, Any]:
        if not isinstance(given, Plan):
            raise WrongArrays(f"{asking.who} gave {type(given).__name__}, expected an rs.Plan")
        plan, lists = given.wire()
        arrays = [it for what, list in lists for it in receive(asking.who, what, list, asking.layers)]
        return {"plan": plan, "tensors": asking.give(arrays)}

    def _keep(self, instance: Instance, context: Context) -> None:
        if not isinstance(context.state, dict):
            raise _state.BadState(f"ctx.state is {type(context.state).__name__}, expected a table")
        instance.state = context.state

    def save(self, message: dict[str, Any]) -> dict[str, Any]:
        saved = np.array(bytearray(_state.save(self.made[message["id"]].state)), np.uint8)
        asking = Asking(self.channel, self.memory, None, "", [])
        return {"state": asking.give([saved])[0]}

    def restore(self, message: dict[str, Any]) -> None:
        place, length = message["state"]
        saved = self.memory.view(place, "|u1", [length]).tobytes() if length else b""
        self.made[message["id"]].state = _state.load(saved)

    def tell(self, error: BaseException) -> str:
        """An error in a line: where in the file it was, how it came there, and what it is."""
        places: list[str] = []
        trace = error.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            if code.co_filename == self.path:
                where = f"{self.name}:{trace.tb_lineno}"
                places.append(where if code.co_name == "<module>" else f"{where} in {code.co_name}")
            trace = trace.tb_next
        text = " ".join(str(error).split()) or "no text"
        if isinstance(error, SyntaxError) and error.filename == self.path:
            return f"{self.name}:{error.lineno}: {type(error).__name__}: {error.msg}"
        if isinstance(error, MemoryError):
            text += f"; it may take {self.limit.bytes / 2**30:g} GiB beyond what it begins with: `memory = ...` says how much"
        if isinstance(error, (BadOption, WrongArrays, _state.BadState)):
            return f"{self.name}: {text}" if not isinstance(error, BadOption) else text
        via = f" (from {', '.join(places[:-1][:3])})" if len(places) > 1 else ""
        at = f"{places[-1]}{via}: " if places else f"{self.name}: "
        return f"{at}{type(error).__name__}: {text}"


def main(end: socket.socket, memory: int, hello: dict[str, Any]) -> NoReturn:
    """Answers the program, of which `hello` is the first message, until it is gone."""
    child = Child(end, memory, hello)
    faulthandler.enable(all_threads=False)
    faulthandler.register(signal.SIGUSR1, all_threads=False)
    _confine.die_with_parent()
    confined = _confine.start_no_process()
    try:
        answer = {"ok": {**child.load(hello["source"]), "confined": confined}}
    except BaseException as error:
        answer = {"error": child.tell(error)}
    child.channel.send(answer)
    child.serve()
