"""Compares imported networks with PyTorch: all of torchvision's for classification, and 20 of timm's.

    python3 -m venv .venv
    .venv/bin/pip install torch==2.13.0 torchvision timm safetensors numpy
    cargo build --release -p host --example agree
    .venv/bin/python tests/models/zoo.py [NAME ...]      # all takes some hours, 20 GB of memory and 10 GB of disk

Of each network, with random weights, 3 random images go through evaluation and training, in fp64, by PyTorch and by
the host: logits have to agree to 1e-5 and gradients to 1e-4 of the largest value. Probabilities of
dropout are 0 on either side. In fp32 both round; how far each then is from fp64 stands beside it, and a factor of 10
between them fails, if it is found for three draws of weights and images. What was measured is kept in zoo.json beside
this file, and zoo.md is written from it.
"""

import inspect
import json
import subprocess
import sys
import tempfile
import time
import traceback
from collections import OrderedDict
from pathlib import Path

import timm
import torch
import torchvision
from safetensors import safe_open
from safetensors.torch import load_file, save_file

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "experiments" / "networks"))
from export import rewind_export  # noqa: E402

TIMM = [
    "vit_tiny_patch16_224", "deit_tiny_patch16_224", "deit3_small_patch16_224", "beit_base_patch16_224",
    "mixer_s32_224", "resmlp_12_224", "convmixer_768_32", "convnextv2_atto", "efficientnet_lite0", "ghostnet_100",
    "mobilenetv3_rw", "mobilevit_xxs", "nfnet_f0", "poolformer_s12", "regnetz_b16", "repvgg_a0", "res2net50_26w_4s",
    "resnest14d", "seresnet18", "xcit_nano_12_p16_224",
]  # fmt: skip
CLASSES = 10
LOGITS, GRADIENTS, ROUNDING, DRAWS = 1e-5, 1e-4, 10.0, 3


def networks():
    """Names, and what makes them."""
    for name in torchvision.models.list_models(module=torchvision.models):
        yield f"torchvision/{name}", lambda name=name: torchvision.models.get_model(name, num_classes=CLASSES, **quiet(name))
    for name in TIMM:
        yield f"timm/{name}", lambda name=name: timm.create_model(name, num_classes=CLASSES)


def quiet(name):
    """Options without which a network has several outputs."""
    builder = torchvision.models.get_model_builder(name)
    return {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {} if builder else {}


def side(name, model):
    if name.startswith("timm/"):
        return model.default_cfg["input_size"][-1]
    return 299 if name.endswith("inception_v3") else 224


def without_dropout(model):
    for module in model.modules():
        for option in ("p", "drop_prob", "drop_rate", "dropout_p", "attention_dropout", "dropout", "drop"):
            if isinstance(getattr(module, option, None), float):
                setattr(module, option, 0.0)


def without_zeros(model):
    """Draws weights that start at 0, as those of some heads do: nothing before them would be compared."""
    for parameter in model.parameters():
        if parameter.ndim > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.02)


def values(model, example):
    """What the host is compared with, in the precision of `example`."""
    logits = model.eval()(example)
    found = {"logits.eval": logits.detach()}
    trained = model.train()(example)
    names, parameters = zip(*[(name, it) for name, it in model.named_parameters() if it.requires_grad])
    slopes = torch.autograd.grad(trained.square().mean(), parameters, allow_unused=True)
    found["logits.train"] = trained.detach()
    found.update({f"grad.{name}": slope for name, slope in zip(names, slopes) if slope is not None})
    found.update({f"after.{name}": it.detach().clone() for name, it in model.named_buffers() if it.is_floating_point()})
    return found


def distance(got, expected, floor=1e-12):
    return ((got.double() - expected.double()).abs().max() / expected.double().abs().max().clamp(min=floor)).item()


def measure(name, folder, draw):
    torch.manual_seed(draw)
    model = dict(networks())[name]()
    without_zeros(model)
    example = torch.randn(3, 3, *[side(name, model)] * 2)
    rewind_export(model, example, folder / "net.pt2")
    if not (folder / "net.pt2").exists():
        raise ValueError("PyTorch cannot put both graphs into one file")
    without_dropout(model)
    # On disk: the largest networks leave no room for a second copy.
    save_file({key: it.clone() for key, it in model.state_dict().items()}, folder / "start.safetensors")
    save_file({key: it.contiguous() for key, it in values(model, example).items()}, folder / "single.safetensors")
    start = OrderedDict(load_file(folder / "start.safetensors"))
    start._metadata = model.state_dict()._metadata  # versions of layers, which files do not hold
    model.load_state_dict(start)
    double = values(model.double(), example.double())
    del model
    largest = {key: it.abs().max().item() for key, it in double.items()}
    if not all(largest[key] for key in ("logits.eval", "logits.train")):
        raise ValueError("its logits are 0, so that nothing can be compared")
    floor = 1e-6 * max(size for key, size in largest.items() if key.startswith("grad."))
    with safe_open(folder / "single.safetensors", "pt") as single:
        apart = lambda key, floor=1e-12: distance(single.get_tensor(key), double[key], floor)
        own = {
            "eval": apart("logits.eval"),
            "train": apart("logits.train"),
            "gradient": max(apart(key, floor) for key in double if key.startswith("grad.")),
        }
    for key in double:
        double[key] = double[key].float().contiguous()
    save_file({"input": example, **double}, folder / "golden.safetensors")
    return own


def compared(folder):
    """What the host makes of the files in a folder."""
    started = time.time()
    agree = ROOT / "target" / "release" / "examples" / "agree"
    said = subprocess.run([agree, folder / "net.pt2", folder / "golden.safetensors"], capture_output=True, text=True)
    if said.returncode:
        lines = [line for line in said.stderr.splitlines() if str(folder) in line or line.startswith("Error")]
        return {"error": (lines or [f"ended by {said.returncode}: {said.stderr[-200:]}"])[0]}
    return {**json.loads(said.stdout), "seconds": round(time.time() - started, 1)}


def measured(name, draw):
    """What is found of a network, PyTorch's part by a process of its own: the largest may need more memory than there is."""
    with tempfile.TemporaryDirectory(dir=ROOT / "target") as folder:
        command = [sys.executable, __file__, "--measure", name, folder, str(draw)]
        said = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if said.returncode:
            return {"error": f"PyTorch's process ended by {said.returncode}; -9 is too little memory"}
        found = json.loads(said.stdout.splitlines()[-1])
        return found if "error" in found else {**compared(Path(folder)), "pytorch": found}


def measure_here(name, folder, draw=0):
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")  # if memory ends, this process goes first
        found = measure(name, Path(folder), int(draw))
    except Exception as error:
        traceback.print_exc()
        found = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
    print(json.dumps(found))


def failure(found):
    """Why a network does not count, or nothing."""
    if "error" in found:
        return found["error"]
    double, single, own = found["double"], found["single"], found["pytorch"]
    for key, most in (("eval", LOGITS), ("train", LOGITS), ("gradient", GRADIENTS)):
        if not double[key] <= most:
            return f"{key}: {double[key]:.1e} away from PyTorch in fp64"
        if not single[key] <= max(most, ROUNDING * own[key]):
            return f"{key}: {single[key]:.1e} away in fp32, where PyTorch is {own[key]:.1e}"
    return None


def page(results):
    passed = [name for name in results if failure(results[name]) is None]
    lines = [
        "# Networks that the host was compared with",
        "",
        "Written by `tests/models/zoo.py`, whose head says what is compared and how.",
        f"PyTorch {torch.__version__.split('+')[0]}, torchvision {torchvision.__version__.split('+')[0]}, timm {timm.__version__}.",
        f"**{len(passed)} of {len(results)} agree** ({len(passed) / len(results):.1%}).",
        "",
        "| network | parameters | prunable | fp64: evaluation | training | gradient | fp32: gradient | PyTorch's | draws |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, found in results.items():
        reason = failure(found)
        if reason is None:
            double = " | ".join(f"{found['double'][key]:.0e}" for key in ("eval", "train", "gradient"))
            rounding = f"{found['single']['gradient']:.0e} | {found['pytorch']['gradient']:.0e} | {found.get('draw', 0) + 1}"
            lines.append(f"| {name} | {found['parameters']:,} | {found['prunable'] / found['parameters']:.1%} | {double} | {rounding} |")
    failed = {name: failure(found) for name, found in results.items() if name not in passed}
    if failed:
        lines += ["", "| does not agree | reason |", "|---|---|"]
        lines += [f"| {name} | {reason.replace('|', '/')} |" for name, reason in failed.items()]
    (HERE / "zoo.md").write_text("\n".join(lines) + "\n")


def main():
    kept = HERE / "zoo.json"
    results = json.loads(kept.read_text()) if kept.exists() else {}
    asked = sys.argv[1:]
    for name, _ in networks():
        if asked and name not in asked or not asked and name in results:
            continue
        # Where rounding puts one number on the other side of a ReLU, or of a maximum, gradients jump. That is chance,
        # here and in PyTorch: a fault does it with other numbers as well.
        for draw in range(DRAWS):
            found = {**measured(name, draw), "draw": draw}
            if failure(found) is None or "fp32" not in failure(found):
                break
        results[name] = found
        kept.write_text(json.dumps(results, indent=1) + "\n")
        print(name, failure(found) or "agrees", flush=True)
    page({name: results[name] for name, _ in networks() if name in results})


if __name__ == "__main__":
    measure_here(*sys.argv[2:]) if sys.argv[1:2] == ["--measure"] else main()
