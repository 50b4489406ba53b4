"""Compares the units that `host groups` lists with what is dead by numbers, on imported networks.

    .venv/bin/python tests/models/groups.py [NAME ...]     # the environment of zoo.py; some minutes a network

Of each set of units some are taken out of the PyTorch module, in fp64: first what makes the unit, then what reads it.
Gradients that become exactly 0 have to be those of the other half of the group, no more and no less. ReLU is
replaced meanwhile by a curve through 0 whose slope is nowhere 0, so that nothing is dead by chance. What was measured is kept in
groups.jsonl beside this file, a line a network.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import timm
import torch
import torchvision
from torch import nn

ROOT = Path(__file__).resolve().parent.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "experiments" / "networks"))
from export import rewind_export  # noqa: E402

RELU = nn.functional.relu, torch.relu
UNITS, SETS = 2, 10  # of a set, and sets of a network, the first and the last among them


class Gated(nn.Module):
    """Gated linear units, a concatenation and a shortcut."""

    def __init__(self):
        super().__init__()
        self.first, self.gate = nn.Linear(20, 12), nn.Linear(12, 16)
        self.left, self.right, self.last = nn.Linear(8, 12), nn.Linear(12, 6), nn.Linear(18, 5)

    def forward(self, x):
        x = torch.tanh(self.first(x))
        y = self.left(nn.functional.glu(self.gate(x), dim=-1)) + x
        return self.last(torch.cat([torch.tanh(self.right(y)), y], dim=-1))


class Groups(nn.Module):
    """Convolutions in groups, a shuffle, and features of channels."""

    def __init__(self):
        super().__init__()
        self.first, self.grouped = nn.Conv2d(3, 12, 3), nn.Conv2d(12, 24, 3, groups=3)
        self.norm, self.mixed, self.last = nn.BatchNorm2d(24), nn.Conv2d(24, 8, 1), nn.Linear(8 * 16, 7)

    def forward(self, x):
        x = self.norm(self.grouped(self.first(x).tanh())).tanh()
        return self.last(self.mixed(x).tanh().flatten(1))


def small_vit():
    return torchvision.models.VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=4, hidden_dim=32, mlp_dim=48, num_classes=10
    )


def vision(name, **options):
    return lambda: torchvision.models.get_model(name, num_classes=10, **options)


NETWORKS = {
    "own/gated": (Gated, (20,)),
    "own/groups": (Groups, (3, 8, 8)),
    "torchvision/vit": (small_vit, (3, 32, 32)),
    **{
        f"torchvision/{name}": (vision(name), (3, 64, 64))
        for name in [
            "vgg11_bn", "resnet18", "resnet50", "resnext50_32x4d", "densenet121", "mobilenet_v2", "mobilenet_v3_small",
            "shufflenet_v2_x0_5", "squeezenet1_1", "mnasnet0_5", "efficientnet_b0", "regnet_x_400mf", "regnet_y_400mf",
            "convnext_tiny", "swin_t",
        ]
    },
    "torchvision/googlenet": (vision("googlenet", aux_logits=False, init_weights=False), (3, 64, 64)),
    **{
        f"timm/{name}": (lambda name=name: timm.create_model(name, num_classes=10), (3, 224, 224))
        for name in ["vit_tiny_patch16_224", "deit_tiny_patch16_224", "mixer_s32_224", "resmlp_12_224"]
    },
    **{
        f"timm/{name}": (lambda name=name: timm.create_model(name, num_classes=10), (3, 64, 64))
        for name in ["ghostnet_100", "seresnet18", "efficientnet_lite0", "repvgg_a0", "poolformer_s12"]
    },
}  # fmt: skip


def randomise(model):
    """Weights by which nothing is dead: trained norms are not the identity, and some networks start at 0."""
    for name, it in [*model.named_parameters(), *model.named_buffers()]:
        if not it.is_floating_point():
            continue
        with torch.no_grad():
            if name.endswith("running_var"):
                it.uniform_(0.5, 1.5)
            elif name.endswith("running_mean"):
                it.normal_(0, 0.1)
            elif it.dim() < 2 and name.endswith("weight"):
                it.uniform_(0.5, 1.5)
            elif it.dim() < 2 or it.shape[1:].numel() == 1 and it.dim() == 3:
                it.normal_(0, 0.3)
            elif it.abs().max() < 1e-3:
                it.normal_(0, 0.1)


class Curve(nn.Module):
    """Half the number and half its GELU: a slope from 0.4 to 1.1."""

    def forward(self, x):
        return (x + nn.functional.gelu(x)) / 2


def smooth(model):
    for name, child in model.named_children():
        if isinstance(child, (nn.ReLU, nn.ReLU6, nn.Hardswish)):
            setattr(model, name, Curve())
        else:
            smooth(child)


def gradients(model, example, slopes):
    model.zero_grad()
    (model(example) * slopes).sum().backward()
    return {name: it.grad.clone() for name, it in model.named_parameters() if it.grad is not None}


def at_rounding(slopes):
    """Where gradients are 0 but for rounding: of a bias, say, that the norm behind it takes away."""
    largest = max(it.abs().max() for it in slopes.values())
    return {
        key: (it.abs() <= 1e-13 * it.abs().max()) | (it.abs().max() <= 1e-12 * largest) for key, it in slopes.items()
    }


def places(sets, unit, sides, shapes):
    """For each tensor which of its numbers the unit has on these sides."""
    found = {}
    for piece in sets["slices"]:
        if piece["side"] not in sides:
            continue
        own = torch.tensor([it == unit for it in piece["units"]])
        shape = [1] * len(shapes[piece["tensor"]])
        shape[piece["axis"]] = -1
        mask = own.view(shape).expand(shapes[piece["tensor"]])
        found[piece["tensor"]] = found.get(piece["tensor"], torch.zeros_like(mask)) | mask
    return found


def without(model, zeroed, example, slopes):
    """Where gradients are 0 with these numbers set to 0."""
    tensors = dict([*model.named_parameters(), *model.named_buffers()])
    kept = {name: tensors[name].detach().clone() for name in zeroed}
    with torch.no_grad():
        for name, mask in zeroed.items():
            tensors[name].masked_fill_(mask, 0.0)
    found = {name: it == 0 for name, it in gradients(model, example, slopes).items()}
    with torch.no_grad():
        for name, value in kept.items():
            tensors[name].copy_(value)
    return found


def check(name, make, shape, host, folder):
    nn.functional.relu, torch.relu = RELU
    torch.manual_seed(0)
    model = make()
    randomise(model)
    example = torch.randn(2, *shape)
    rewind_export(model, example, folder / "net.pt2")
    said = subprocess.run([host, "groups", "--json", folder / "net.pt2"], capture_output=True, text=True)
    if said.returncode:
        return {"error": said.stderr.strip()[-300:]}
    groups = json.loads(said.stdout)
    smooth(model)
    # Only now: the archive has the network's own.
    nn.functional.relu = torch.relu = lambda x, inplace=False: Curve()(x)
    model, example = model.double().eval(), torch.randn(2, *shape).double()
    slopes = torch.randn(model(example).shape).double()
    before = at_rounding(gradients(model, example, slopes))
    shapes = {key: it.shape for key, it in [*model.named_parameters(), *model.named_buffers()]}
    sets = groups["sets"]
    chosen = sets if len(sets) <= SETS else [sets[round(at * (len(sets) - 1) / (SETS - 1))] for at in range(SETS)]
    differences, units = [], 0
    for own in chosen:
        for unit in {0, own["units"] - 1} if UNITS == 2 else range(own["units"]):
            units += 1
            makes = places(own, unit, ["makes", "follows"], shapes)
            reads = places(own, unit, ["reads"], shapes)
            for zeroed, expected in [(makes, reads), (reads, makes)]:
                dead = without(model, zeroed, example, slopes)
                for key, got in dead.items():
                    none = torch.zeros_like(got)
                    known = before[key] | zeroed.get(key, none)
                    wrong = (got & ~known) ^ (expected.get(key, none) & ~known)
                    if wrong.any():
                        half = "makes" if expected is makes else "reads"
                        differences.append(f"{own['name']} unit {unit}: what {half} it: {int(wrong.sum())} of {key}")
    dead = sum(int(it.sum()) for it in before.values())
    return {
        "sets": len(sets), "units": groups["units"], "compared": units, "dead_at_start": dead,
        "left_out": len(groups["left_out"]), "differences": differences,
    }  # fmt: skip


def main():
    host = os.environ.get("REWIND_HOST", ROOT / "target" / "release" / "host")
    wanted = sys.argv[1:] or list(NETWORKS)
    failed = False
    for name in wanted:
        make, shape = NETWORKS[name]
        started = time.time()
        with tempfile.TemporaryDirectory() as folder:
            found = check(name, make, shape, host, Path(folder))
        failed |= bool(found.get("error") or found["differences"])
        print(json.dumps({"network": name, **found, "seconds": round(time.time() - started, 1)}), flush=True)
    sys.exit(failed)


main()
