"""One network on two processes of one thread, beside one process of two threads and PyTorch's DDP with Gloo.

    ranks.py HOST [EPOCHS] [ROUNDS]     with PyTorch; HOST is the program

The network is ResNet-20 of width 8 on generated images of 32x32, in batches of 128, fp32, SGD with momentum. Of each
side the epochs after the first are timed, by when they end, and the middle one counts; the sides take turns. The middle
round is shown, and how many times as fast two ranks are in it, in the slowest and in the fastest for them. Nothing
else should run meanwhile.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SAMPLES, BATCH, WIDTH, EPOCHS, ROUNDS = 1024, 128, 8, 12, 5
# Few: the other side evaluates nothing.
TESTED = 16


def make(folder):
    """Images of ten classes, and the experiment that trains on them."""
    import numpy as np

    numbers = np.random.default_rng(1)
    labels = numbers.integers(0, 10, SAMPLES + TESTED)
    images = numbers.normal(size=(SAMPLES + TESTED, 3, 32, 32)) + labels[:, None, None, None] / 5
    images = images.astype("float32")
    for name, part in (("train", slice(0, SAMPLES)), ("test", slice(SAMPLES, None))):
        np.savez(folder / f"{name}.npz", x=images[part], y=labels[part])
    (folder / "ranks.toml").write_text(
        f"""name = "ranks"
seeds = [0]
data = {{ name = "arrays", train = "train.npz", test = "test.npz" }}
model = {{ name = "resnet-20", width = {WIDTH} }}
prune = {{ levels = 1, rate = 0.5 }}
strategy = {{ score = "imp/magnitude", mask = "imp/global" }}
[train]
epochs = 4
batch_size = {BATCH}
shards = 2
optimizer = {{ name = "sgd", lr = 0.1, momentum = 0.9 }}
"""
    )


def ends_of(command, is_end, epochs):
    """Times at which a process says that an epoch ended; it is stopped after so many."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    ends = []
    while len(ends) < epochs:
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{command} ended with {process.wait()}")
        if is_end(line):
            ends.append(time.perf_counter())
    process.terminate()
    process.communicate()
    return ends


def middle(ends):
    """The middle of the epochs after the first."""
    return statistics.median(after - before for before, after in zip(ends, ends[1:]))


def ours(host, folder, epochs, more):
    """Seconds of an epoch of the program's dense level."""
    with tempfile.TemporaryDirectory() as runs:
        command = [host, "run", str(folder / "ranks.toml"), "--json", "--runs", runs]
        command += ["--set", f"train.epochs={epochs}", "--checkpoint-every", "1000", *more]

        def is_end(line):
            event = json.loads(line)
            return event.get("event") == "epoch" and event["record"]["level"] == 0

        return middle(ends_of(command, is_end, epochs))


def theirs(folder, epochs, processes, threads):
    """The same of PyTorch's, in this script's other form."""
    command = [sys.executable, __file__, "--pytorch", str(folder), str(epochs)]
    command += [str(processes), str(threads)]
    return middle(ends_of(command, lambda line: line.startswith("epoch"), epochs))


def train(rank, folder, epochs, processes, threads):
    """One of PyTorch's processes, as its tutorial of DistributedDataParallel has it."""
    import numpy as np
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    from pytorch import networks

    torch.set_num_threads(threads)
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29517")
    if processes > 1:
        dist.init_process_group("gloo", rank=rank, world_size=processes)
    torch.manual_seed(0)
    stages = [3, 3, 3]
    network = networks.ResNet(3, WIDTH, stages, 10).to(memory_format=torch.channels_last)
    model = DistributedDataParallel(network) if processes > 1 else network
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    arrays = np.load(Path(folder) / "train.npz")
    images = torch.from_numpy(arrays["x"]).to(memory_format=torch.channels_last)
    labels = torch.from_numpy(arrays["y"])
    part = BATCH // processes
    for epoch in range(epochs):
        order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(epoch))
        for start in range(0, SAMPLES, BATCH):
            own = order[start + rank * part : start + (rank + 1) * part]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images[own]), labels[own]).backward()
            optimizer.step()
        if rank == 0:
            print(f"epoch {epoch}", flush=True)
    if processes > 1:
        dist.destroy_process_group()


def main():
    if sys.argv[1] == "--pytorch":
        folder, epochs, processes, threads = sys.argv[2], *map(int, sys.argv[3:6])
        if processes == 1:
            return train(0, folder, epochs, 1, threads)
        import torch.multiprocessing as mp

        return mp.spawn(train, (folder, epochs, processes, threads), nprocs=processes)
    host, *numbers = sys.argv[1:]
    epochs = int(numbers[0]) if numbers else EPOCHS
    rounds = int(numbers[1]) if len(numbers) > 1 else ROUNDS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder)
        sides = {
            "2 ranks of 1 thread": lambda: ours(host, folder, epochs, ["--ranks", "2", "--threads", "1"]),
            "1 rank of 2 threads": lambda: ours(host, folder, epochs, ["--ranks", "1", "--threads", "2"]),
            "1 rank of 2 threads, 1 shard": lambda: ours(
                host, folder, epochs, ["--set", "train.shards=1", "--threads", "2"]
            ),
            "PyTorch, DDP of 2 processes of 1 thread": lambda: theirs(folder, epochs, 2, 1),
            "PyTorch, 1 process of 2 threads": lambda: theirs(folder, epochs, 1, 2),
        }
        seconds = {side: [] for side in sides}
        for _ in range(rounds):
            for side, measure in sides.items():
                seconds[side].append(measure())
        first = seconds["2 ranks of 1 thread"]
        print("| side | images a second | 2 ranks of ours are so many times as fast |\n|---|---|---|")
        for side, all_seconds in seconds.items():
            speed = SAMPLES / statistics.median(all_seconds)
            ratios = [other / own for own, other in zip(first, all_seconds)]
            spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            print(f"| {side} | {speed:.0f} | {spread if all_seconds is not first else 1} |")


if __name__ == "__main__":
    main()
