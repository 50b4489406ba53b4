"""Follows networks, data and weights of one's own from PyTorch to the report and back. `make test` is too short for it.

    python3 -m venv .venv
    .venv/bin/pip install torch==2.13.0 numpy safetensors
    make build
    .venv/bin/python tests/models/own.py [resnet20 transfer language table images]

Each part writes its files and runs into a new folder target/own/PART, says what it saw, and fails where that is not
what was promised. Pictures are Fashion-MNIST's (`rewind data fetch fashion-mnist`, or Debian's package); the text is
the source of two crates in the public domain, which cargo has fetched.

    resnet20  an imported ResNet-20 beside the built-in one: an epoch, then 3 levels of LRR; killed and continued
    transfer  trained weights of 5 classes, a new head for 10, LRR, and back into PyTorch
    language  two blocks of a transformer over characters, LRR to density 0.2, perplexity of each level
    table     1,000 rows of a table with texts and gaps, to the report
    images    3,000 pictures of an .npz, to the report
"""

import csv
import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "experiments" / "networks"), str(ROOT / "tests" / "bench")]
from export import rewind_export  # noqa: E402
from pytorch import networks  # noqa: E402

HOST = ROOT / "target" / "release" / "host"
PICTURES = [Path("/usr/share/datasets/fashion-mnist"), ROOT / "data" / "fashion-mnist"]
KILLS = 5
EXPERIMENT = """
name = "{name}"
seeds = {seeds}
data = {data}
model = {model}

[train]
epochs = {epochs}
batch_size = {batch}
optimizer = {{ name = "sgd", lr = {lr}, momentum = 0.9, weight_decay = 5e-4 }}
schedule = {{ name = "cosine" }}
{train}
[prune]
{prune}
[strategy]
score = "imp/magnitude"
mask = "imp/global"
rewind = "lrr/learning-rate"
"""


def host(*arguments):
    """What the program prints."""
    said = subprocess.run([HOST, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    if said.returncode:
        raise SystemExit(f"host {' '.join(map(str, arguments))} ended by {said.returncode}")
    return said.stdout


def promised(kept, what):
    print(("kept   " if kept else "BROKEN ") + what, flush=True)
    if not kept:
        raise SystemExit(1)


def written(folder, name, data, model, prune, seeds=[0], epochs=1, batch=128, lr=0.1, train=""):
    """An experiment's file."""
    file = folder / f"{name}.toml"
    file.write_text(EXPERIMENT.format(**{key: it for key, it in locals().items() if key not in ("folder", "file")}))
    return file


def run(file, runs):
    """Trains it; the run's folder."""
    host("run", file, "--runs", runs)
    (folder,) = runs.glob(f"{file.stem}-????????")
    return folder


def checked(folder):
    """Verifies a run and writes its report."""
    said = host("verify", folder).splitlines()[-1]
    promised("nothing is wrong" in said, f"{folder.name}: verify says: {said}")
    host("report", folder)
    promised((folder / "report.html").stat().st_size > 10_000, f"{folder.name}: a report")


def levels(folder, seed=0):
    return [json.loads(path.read_text()) for path in sorted(folder.glob(f"seed-{seed}/level-*/summary.json"))]


def pictures(part):
    """Images as bytes [samples, 28, 28] and their classes, of `train` or `t10k`."""
    folder = next((it for it in PICTURES if it.exists()), None)
    if folder is None:
        raise SystemExit("Fashion-MNIST is not there: host data fetch fashion-mnist")
    read = lambda name, head: np.frombuffer(gzip.open(folder / f"{part}-{name}-ubyte.gz").read(), np.uint8, offset=head)
    return read("images-idx3", 16).reshape(-1, 28, 28), read("labels-idx1", 8).astype(np.int64)


def saved(model, file):
    save_file({name: it for name, it in model.state_dict().items() if not name.endswith("num_batches_tracked")}, file)


def resnet20(folder):
    model = networks.build("resnet-20", [1, 28, 28], 10)
    rewind_export(model, torch.zeros(2, 1, 28, 28), folder / "net.pt2")
    saved(model, folder / "start.safetensors")
    start = 'weights = "start.safetensors"'
    common = dict(data='{ name = "fashion-mnist" }', prune="levels = 3\nrate = 0.5")
    own = run(written(folder, "built-in", model=f'{{ name = "resnet-20", {start} }}', **common), folder / "runs")
    file = written(folder, "imported", model='{ name = "pt2", file = "net.pt2" }', **common)
    imported = run(file, folder / "runs")
    for level in range(4):
        files = [it / f"seed-0/level-{level:02}/{{}}.safetensors" for it in (own, imported)]
        weights, masks = ([load_file(str(file).format(name)) for file in files] for name in ("end", "mask"))
        promised(weights[0].keys() == weights[1].keys(), f"level {level}: the same names")
        apart = max(((a - b).abs().max() / a.abs().max()).item() for a, b in ((weights[0][n], weights[1][n]) for n in weights[0]))
        other = sum((masks[0][name] != masks[1][name]).sum().item() for name in masks[0])
        kept = sum(mask.sum().item() for mask in masks[0].values())
        promised(apart < 1e-3 and other == 0, f"level {level}: weights {apart:.1e} apart, {other} of {kept} masks' places")
    killed(file, folder / "killed")
    (again,) = (folder / "killed").glob("imported-*")
    names = [it.relative_to(imported) for it in imported.glob("seed-0/level-*/*")]
    differ = [str(name) for name in names if (imported / name).read_bytes() != (again / name).read_bytes()]
    promised(not differ, f"{len(names)} files after the kills, {len(differ)} differ: {differ[:5]}")
    checked(own)
    checked(imported)


def killed(file, runs):
    """Runs it and kills it some times within a level, whenever a checkpoint has been written since the last."""
    draw = random.Random(0)
    for kill in range(KILLS):
        child = subprocess.Popen([HOST, "run", file, "--runs", runs], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before, seen = stamp(runs), time.time()
        while stamp(runs) == before or time.time() - seen < 5:
            if child.poll() is not None:
                raise SystemExit(f"the run ended by itself before kill {kill}")
            time.sleep(0.2)
        time.sleep(draw.uniform(0, 20))
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        print(f"killed {kill + 1} times; levels done: {len(list(runs.glob('imported-*/seed-0/level-*/done.json')))}", flush=True)
    host("run", file, "--runs", runs)


def stamp(runs):
    """What there is of checkpoints and levels."""
    return sorted((str(it), it.stat().st_mtime_ns) for it in runs.glob("*/seed-0/*/*.json"))


class Small(nn.Module):
    def __init__(self, classes):
        super().__init__()
        layers = []
        for inputs, outputs in ((1, 16), (16, 32), (32, 64)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(64, classes)

    def forward(self, x):
        return self.fc(self.features(x).mean((2, 3)))


def transfer(folder):
    images, classes = pictures("train")
    scaled = lambda images: (torch.tensor(images).float().unsqueeze(1) / 255 - 0.2860) / 0.3530
    few = classes < 5
    model, x, y = Small(5), scaled(images[few]), torch.tensor(classes[few])
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    for batch in torch.randperm(len(x)).split(128):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
    rewind_export(model, x[:2], folder / "net.pt2")
    model = '{ name = "pt2", file = "net.pt2", replace_head = true }'
    data = '{ name = "fashion-mnist" }'
    pruned = run(written(folder, "transfer", data, model, "densities = [0.5, 0.25, 0.125]", epochs=2, lr=0.05), folder / "runs")
    print("test accuracy of each level:", [level["test_accuracy"] for level in levels(pruned)])
    host("export", pruned, "--format", "safetensors", "-o", folder / "pruned.safetensors")
    back, (images, classes) = Small(10), pictures("t10k")
    state = {name: torch.tensor(0) for name in back.state_dict() if name.endswith("num_batches_tracked")}
    print(back.load_state_dict({**load_file(folder / "pruned.safetensors"), **state}, strict=True))
    with torch.no_grad():
        correct = (back.eval()(scaled(images)).argmax(1).numpy() == classes).sum().item()
    recorded = levels(pruned)[-1]
    promised(abs(correct - recorded["test_correct"]) <= 1, f"PyTorch has {correct} right, recorded are {recorded['test_correct']}")
    promised(recorded["survivors"] == round(0.125 * recorded["weights"]), f"{recorded['survivors']} of {recorded['weights']} weights")
    checked(pruned)


class Characters(nn.Module):
    def __init__(self, tokens, length, width=128, depth=2, heads=4):
        super().__init__()
        self.tokens, self.heads = nn.Embedding(tokens, width), heads
        self.positions = nn.Parameter(torch.randn(length, width) * 0.02)
        block = lambda: nn.ModuleDict({
            "norm1": nn.LayerNorm(width), "qkv": nn.Linear(width, 3 * width), "out": nn.Linear(width, width),
            "norm2": nn.LayerNorm(width), "up": nn.Linear(width, 4 * width), "down": nn.Linear(4 * width, width),
        })  # fmt: skip
        self.blocks = nn.ModuleList(block() for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, tokens)

    def forward(self, x):
        x = self.tokens(x) + self.positions
        for block in self.blocks:
            batch, length, width = x.shape
            parts = block["qkv"](block["norm1"](x)).reshape(batch, length, 3, self.heads, width // self.heads)
            attended = nn.functional.scaled_dot_product_attention(*parts.permute(2, 0, 3, 1, 4).unbind(0), is_causal=True)
            x = x + block["out"](attended.transpose(1, 2).reshape(batch, length, width))
            x = x + block["down"](nn.functional.gelu(block["up"](block["norm2"](x))))
        return self.head(self.norm(x)).transpose(1, 2)


def language(folder, length=64):
    crates = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo")) / "registry" / "src"
    files = sorted(it for crate in ("memchr", "aho-corasick") for it in crates.glob(f"*/{crate}-*/src/**/*.rs"))
    text = "".join(file.read_text() for file in files)
    letters = sorted(set(text))
    numbers = np.array([letters.index(it) for it in text], np.int32)
    count = (len(numbers) - 1) // length
    inputs, targets = (numbers[first : first + count * length].reshape(count, length) for first in (0, 1))
    np.savez(folder / "text.npz", x=inputs, y=targets)
    print(f"{len(files)} files, {count} sequences of {length} characters, {len(letters)} different ones")
    rewind_export(Characters(len(letters), length), torch.zeros(2, length, dtype=torch.int64), folder / "net.pt2")
    data = '{ name = "arrays", train = "text.npz", test = 0.1 }'
    file = written(
        folder, "language", data, '{ name = "pt2", file = "net.pt2" }', "densities = [0.6, 0.35, 0.2]", epochs=3, batch=64,
        train='metrics = ["perplexity"]',
    )  # fmt: skip
    adam = 'optimizer = { name = "adamw", lr = 1e-3, weight_decay = 0.01 }\n'
    file.write_text("".join(adam if line.startswith("optimizer") else line for line in file.read_text().splitlines(True)))
    pruned = run(file, folder / "runs")
    for level in levels(pruned):
        print(f"density {level['density']:.4f}: perplexity {level['test_perplexity']:.2f}, {level['test_accuracy']:.2%} right")
    checked(pruned)


def table(folder):
    draw = np.random.default_rng(0)
    numbers, color = draw.normal(size=(1000, 5)), draw.choice(["red", "green", "blue"], 1000)
    sums = numbers[:, 0] * numbers[:, 1] + numbers[:, 2] + (color == "red") - (color == "blue")
    with open(folder / "table.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["a", "b", "c", "d", "e", "color", "species"])
        for row, its, total in zip(numbers, color, sums):
            cells = ["" if draw.random() < 0.02 else f"{it:.4f}" for it in row]
            rows.writerow([*cells, its, "low" if total < -0.7 else "high" if total > 0.7 else "middle"])
    data = '{ name = "arrays", train = "table.csv", target = "species", categories = "one-hot", missing = "mean", standardise = true, test = 0.2, validation = 0.1 }'
    pruned = run(written(folder, "table", data, '{ name = "mlp", hidden = [64, 64] }', "levels = 10\nrate = 0.2", [0, 1, 2], 20, 64, 0.05), folder / "runs")
    print("test accuracy of each level:", [level["test_accuracy"] for level in levels(pruned)])
    checked(pruned)


def images(folder):
    images, classes = pictures("train")
    np.savez(folder / "pictures.npz", x=images[:3000, None], y=classes[:3000])
    data = '{ name = "arrays", train = "pictures.npz", test = 0.2, standardise = true }'
    pruned = run(written(folder, "pictures", data, '{ name = "resnet-20", width = 4 }', "levels = 4\nrate = 0.4", [0, 1], 5, 64), folder / "runs")
    print("test accuracy of each level:", [level["test_accuracy"] for level in levels(pruned)])
    checked(pruned)


def main():
    parts = {part.__name__: part for part in (resnet20, transfer, language, table, images)}
    for name in sys.argv[1:] or parts:
        folder, started = ROOT / "target" / "own" / name, time.time()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        torch.manual_seed(0)
        print(f"== {name}", flush=True)
        parts[name](folder)
        print(f"{name}: {time.time() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
