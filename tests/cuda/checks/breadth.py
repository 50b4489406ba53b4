"""Rows that train whatever can be trained, for a moment."""

import re
import subprocess
from functools import partial

from .digests import compare
from .runs import Net, recording
from .verdicts import Differs, LeftOut

PROLOGUE = """\
name = "{model}"
seeds = [0]
strategy = "lrr"
{data}
{network}
[train]
epochs = 1
batch_size = {batch}
optimizer = {{ name = "sgd", lr = 0.01, momentum = 0.9 }}
[prune]
levels = 1
rate = 0.3
"""
# Sizes that suit the images, and in a dry run a moment on a CPU.
OPTIONS = {"vit": "patch = 4, width = 12, depth = 2", "resnet-50": 'stem = "cifar"'}
NARROW = {"vgg-16": "width = 8", "resnet-18": "width = 8", "resnet-34": "width = 8"}
NARROW |= {"resnet-50": 'stem = "cifar", width = 8'}
# In a dry run: one of each kind of network and of what acts within levels.
FEW_MODELS = ["lenet-300-100", "vgg-16", "vit", "pt2", "hidden-neuron"]
FEW_EXPERIMENTS = ["gmp", "ham", "hidden-neuron", "nm", "rigl", "snip", "structured", "wr"]


def models(program, root):
    """The names of all networks: the program lists them to whoever names another."""
    asked = ["plan", root / "experiments/lrr.toml", "--set", "model.name=no-such-network"]
    ended = program.call([program.path, *asked])
    names = re.findall(r"`([a-z0-9-]+)`", ended.err.partition("expected one of")[2])
    if ended.code != 2 or "mlp" not in names:
        raise Differs(f"the program does not list its networks: {ended.last_lines()}")
    return names


def model_rows(runs, root, folder, is_short, is_few):
    """A row for each network: with recorded steps and without, to the same bytes."""
    found = []
    for model in models(runs.program, root):
        if is_few and model not in FEW_MODELS:
            continue
        net = Net(f"model-{model}", write(root, folder, model, is_short), [0], 1, [])
        found.append((f"model {model}", partial(trained, runs, net)))
    return found


def write(root, folder, model, is_short):
    """An experiment file for a network with data that suit it."""
    if model == "hidden-neuron":
        data = 'data = { name = "hidden-neuron", dimension = 5, samples = 500 }'
    elif model in ("mlp", "cnn1d", "pt2"):
        data = 'data = { name = "mnist1d" }'
    else:
        data = 'data = { name = "arrays", train = "images.safetensors" }'
    options = {**OPTIONS, **(NARROW if is_short else {})}.get(model, "")
    if model == "pt2":
        options = f"file = {str(root / 'experiments/networks/mlp.pt2')!r}"
    network = ", ".join(it for it in (f'name = "{model}"', options) if it)
    text = PROLOGUE.format(
        model=model, data=data, network=f"model = {{ {network} }}", batch=32 if is_short or "arrays" in data else 250
    )
    if model == "hidden-neuron":
        text = text.replace("[train]\n", '[train]\nloss = "mse"\n')
    path = folder / f"model-{model}.toml"
    path.write_text(text)
    return path


def trained(runs, net):
    first = runs.run(net, "first")
    again = runs.run(net, "graphs", more=["--cuda-graphs"])
    count = compare(again, first)
    return f"{count} files are the same; {recording(runs.log(again), runs.program)}"


def experiment_rows(runs, root, is_short, is_few):
    """A row for each experiment that is shipped: its first level or two, of one seed."""
    found = []
    for path in sorted((root / "experiments").glob("*.toml")):
        # Those of the simulated neuron train nothing on a device.
        if re.search(r"^\[neuron\]", whole(path), re.MULTILINE):
            continue
        if not is_few or path.stem in FEW_EXPERIMENTS:
            found.append((f"experiment {path.stem}", partial(experiment, runs, path, is_short)))
    return found


# Plugins that no file of its own shows, as they take from another run: what an experiment changes for them.
TAKERS = {
    "axes": 'strategy.rewind={{ use = "axes/rewind", magnitudes = "init", signs = "{run}#level-end" }}',
    "aligned": 'strategy.mask={{ use = "aligned/levels", run = "{run}" }}',
    "transplant": 'strategy.mask={{ use = "transplant/levels", run = "{run}" }}',
}


def taker_rows(runs, net):
    """A row for each plugin that takes from another run: from the net's first one."""
    return [(f"plugin {name}", partial(taker, runs, net, name)) for name in TAKERS]


def taker(runs, net, name):
    (run,) = runs.reference(net, "fp32").glob("lrr-*")
    runs.run(net, name, TAKERS[name].format(run=run))
    return "ended well"


def whole(path):
    """The text of an experiment file behind those of its bases."""
    text = path.read_text()
    base = re.search(r'^base = "(.+)"', text, re.MULTILINE)
    return (whole(path.parent / base[1]) if base else "") + text


def experiment(runs, path, is_short):
    text = whole(path)
    more = ["--allow-plugins"] if "python/" in text else []
    if more and subprocess.run(["python3", "-c", "import numpy"], capture_output=True).returncode != 0:
        raise LeftOut("python3 has no NumPy")
    densities = re.findall(r"^densities = \[(.*)\]", text, re.MULTILINE)
    sets = []
    if densities:
        sets.append(f"prune.densities=[{', '.join(densities[-1].split(', ')[:2])}]")
    elif "levels" in text:
        sets.append("prune.levels=1")
    if path.stem == "hidden-neuron":
        sets.append("train.epochs=50")
    elif is_short and "cnn1d" in text:
        # As many as its points need.
        sets.append("train.epochs=4")
    net = Net(f"experiment-{path.stem}", path, [0], 1, [])
    net.arguments = sets
    runs.run(net, "first", more=more)
    return "ended well"
