"""Runs that rows compare: each is made once, by whoever asks for it first."""

import json
import threading
from pathlib import Path

from . import program as programs
from .verdicts import Differs

RECORDED = "steps of a whole batch are recorded from here on"
NOT_RECORDED = "steps are not recorded"
ON_CPU = "--cuda-graphs is for GPUs"


class Net:
    """A network with how it is trained."""

    def __init__(self, name, file, seeds, levels, sets):
        self.name, self.file, self.seeds, self.levels = name, file, seeds, levels
        self.arguments = [f"prune.levels={levels}", *sets]


class Runs:
    """Runs of nets, in folders of their own."""

    def __init__(self, program, folder):
        self.program, self.folder = program, folder
        self.locks, self.guard, self.made = {}, threading.Lock(), set()

    def run(self, net, name, *sets, more=()):
        """A folder of runs with one run of this net; what the program said lies beside it."""
        return self.once(f"{net.name}-{name}", lambda to: self.train(net, to, sets, more))

    def reference(self, net, precision):
        """The run that others are compared with."""
        return self.run(net, f"{precision}-first", *of(precision))

    def once(self, name, make):
        """Makes a folder, unless it was made."""
        folder = self.folder / name
        with self.guard:
            lock = self.locks.setdefault(name, threading.Lock())
        with lock:
            if folder not in self.made:
                make(folder)
                self.made.add(folder)
        return folder

    def train(self, net, folder, sets, more):
        ended = self.program.expect(*self.arguments(net, folder, sets, more))
        folder.with_suffix(".log").write_text(ended.err)

    def arguments(self, net, folder, sets, more):
        """What `run` is called with."""
        seeds = [] if "--seeds" in more else ["--seeds", ",".join(map(str, net.seeds))]
        sets = [it for key in (*net.arguments, *sets) for it in ("--set", key)]
        device = ["--device", self.program.device, "--threads", "1"]
        return ["run", net.file, *sets, *seeds, *device, "-v", "--runs", folder, *more]

    def killed(self, net, name, sets, more=()):
        """The same, killed within its last level and gone on with."""
        for attempt in range(3):
            folder = self.folder / f"{net.name}-{name}-{attempt}"
            arguments = self.arguments(net, folder, sets, [*more, "--checkpoint-every", "0"])
            child = self.program.start([self.program.path, *arguments])
            is_there = lambda: has_checkpoint(folder, net.levels)  # noqa: E731
            found = programs.wait_until(is_there, child, self.program.limit)
            programs.kill(child)
            ended = self.program.end_of(child)
            if not found and ended.code > 0:
                raise Differs(f"`run` ended with {ended.code}: {ended.last_lines()}")
            if found and ended.code < 0 and not list(folder.glob(f"*/seed-0/level-{net.levels:02}/done.json")):
                self.train(net, folder, sets, more)
                self.made.add(folder)
                return folder
        raise Differs("the run was at its end each time before it could be killed within its last level")

    def log(self, folder):
        """What the program said when a folder was made."""
        return folder.with_suffix(".log").read_text()


def of(precision):
    """What an experiment changes for a precision."""
    return () if precision == "fp32" else (f"train.precision={precision}",)


def has_checkpoint(folder, level):
    """Whether a run was interrupted, if it were now, after some steps of this level."""
    for path in folder.glob("*/seed-0/progress/checkpoint.json"):
        try:
            checkpoint = json.loads(path.read_text())
        except (OSError, ValueError):
            return False
        if checkpoint["level"] == level and checkpoint["position"]["step"] > 4:
            return True
    return False


def recording(log, program):
    """Whether steps were recorded, and if not why."""
    if not program.is_on_gpu:
        if ON_CPU not in log:
            raise Differs("no warning says that steps are not recorded on a CPU")
        return "not recorded, as the warning says"
    if RECORDED in log:
        return "recorded"
    said = [line.split(NOT_RECORDED, 1)[1].strip(" :") for line in log.splitlines() if NOT_RECORDED in line]
    return f"not recorded: {said[0]}" if said else "not recorded, and nothing says why"


def of_the_house(root, folder, is_short):
    """An MLP whose seeds are lanes, a convolution net, and ResNet-20 on images that are made here."""
    from . import samples

    count = (64, 20) if is_short else (512, 100)
    samples.write_images(folder / "images.safetensors", *count, (3, 32, 32) if not is_short else (3, 16, 16))
    path = Path(folder) / "resnet.toml"
    path.write_text(RESNET.format(width=4 if is_short else 16, batch=32 if is_short else 64))
    epochs = 2 if is_short else 5
    experiments = root / "experiments"
    small = [f"train.epochs={epochs}"]
    narrow = ["model.width=4", "train.epochs=1"] if is_short else ["train.epochs=3"]
    return [
        Net("mlp", experiments / "lrr.toml", [0, 1, 2], 2 if is_short else 4, small),
        Net("cnn1d", experiments / "mnist1d-cnn-lrr.toml", [0, 1], 1 if is_short else 2, narrow),
        Net("resnet-20", path, [0, 1], 1 if is_short else 2, []),
    ]


def of_files(folder, is_short):
    """ResNet-20 on images that stay in their files."""
    from . import samples

    count, side = ((40, 20), 16) if is_short else ((512, 100), 40)
    images = Path(folder) / "images"
    samples.write_folder(images, *count, side)
    path = Path(folder) / "files.toml"
    path.write_text(FILES.format(images=json.dumps(str(images)), width=4 if is_short else 16, size=side - 8))
    return Net("files", path, [0, 1], 1, [])


FILES = """\
name = "files"
seeds = [0, 1]
model = {{ name = "resnet-20", width = {width} }}
strategy = "lrr"
[data]
name = "image-folder"
dir = {images}
size = {size}
memory = 0
augment = {{ flip = true }}
[train]
epochs = 2
batch_size = 16
optimizer = {{ name = "sgd", lr = 0.05, momentum = 0.9, weight_decay = 5e-4 }}
schedule = {{ name = "cosine" }}
[prune]
levels = 1
rate = 0.3
"""

RESNET = """\
name = "resnet"
seeds = [0, 1]
data = {{ name = "arrays", train = "images.safetensors", augment = {{ crop = 4, flip = true }} }}
model = {{ name = "resnet-20", width = {width} }}
strategy = "lrr"
[train]
epochs = 3
batch_size = {batch}
optimizer = {{ name = "sgd", lr = 0.05, momentum = 0.9, weight_decay = 5e-4 }}
schedule = {{ name = "cosine", warmup = "1ep" }}
[prune]
levels = 2
rate = 0.3
"""
