"""Compares imported networks with PyTorch: all of torchvision's for classification, and 20 of timm's.

    python3 -m venv .venv
    .venv/bin/pip install torch==2.13.0 torchvision timm safetensors numpy
    cargo build --release -p host --example agree
    .venv/bin/python tests/models/zoo.py [NAME ...]      # all takes some hours, 20 GB of memory and 10 GB of disk

Of each network, with random weights, 3 random images go through evaluation and training, in fp64, by PyTorch and by
the host: logits have to agree to 1e-5 and gradients to 1e-4 of the largest value. Probabilities of
dropout are 0 on either side. In fp32 both round; how far each then is from fp64 stands beside it, and a factor of 10
between them fails. What was measured is kept in zoo.json beside this file, and zoo.md is written from it.
"""

import inspect
import json
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import timm
import torch
import torchvision
from safetensors.torch import save_file

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
LOGITS, GRADIENTS, ROUNDING = 1e-5, 1e-4, 10.0


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
        for option in ("p", "drop_prob", "dropout_p", "attention_dropout", "dropout", "drop"):
            if isinstance(getattr(module, option, None), float):
                setattr(module, option, 0.0)


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


def measure(make, name, folder):
    torch.manual_seed(0)
    model = make()
    example = torch.randn(3, 3, *[side(name, model)] * 2)
    rewind_export(model, example, folder / "net.pt2")
    if not (folder / "net.pt2").exists():
        raise ValueError("PyTorch cannot put both graphs into one file")
    without_dropout(model)
    state = {key: it.clone() for key, it in model.state_dict().items()}
    single = values(model, example)
    model.load_state_dict(state)
    double = values(model.double(), example.double())
    del model, state
    floor = 1e-6 * max(it.abs().max().item() for key, it in double.items() if key.startswith("grad."))
    own = {
        "eval": distance(single["logits.eval"], double["logits.eval"]),
        "train": distance(single["logits.train"], double["logits.train"]),
        "gradient": max(distance(single[key], it, floor) for key, it in double.items() if key.startswith("grad.")),
    }
    del single
    save_file({"input": example, **{key: it.float().contiguous() for key, it in double.items()}}, folder / "golden.safetensors")
    del double
    started = time.time()
    agree = ROOT / "target" / "release" / "examples" / "agree"
    said = subprocess.run([agree, folder / "net.pt2", folder / "golden.safetensors"], capture_output=True, text=True)
    if said.returncode:
        lines = [line for line in said.stderr.splitlines() if str(folder) in line or line.startswith("Error")]
        raise ValueError((lines or [f"ended by {said.returncode}: {said.stderr[-200:]}"])[0])
    return {**json.loads(said.stdout), "pytorch": own, "seconds": round(time.time() - started, 1)}


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
        "| network | parameters | prunable | fp64: evaluation | training | gradient | fp32: gradient | PyTorch's |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, found in results.items():
        reason = failure(found)
        if reason is None:
            double = " | ".join(f"{found['double'][key]:.0e}" for key in ("eval", "train", "gradient"))
            rounding = f"{found['single']['gradient']:.0e} | {found['pytorch']['gradient']:.0e}"
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
    for name, make in networks():
        if asked and name not in asked or not asked and name in results:
            continue
        with tempfile.TemporaryDirectory(dir=ROOT / "target") as folder:
            try:
                found = measure(make, name, Path(folder))
            except Exception as error:  # one that fails stops no other
                traceback.print_exc()
                found = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
        results[name] = found
        kept.write_text(json.dumps(results, indent=1) + "\n")
        print(name, failure(found) or "agrees", flush=True)
    page(results)


if __name__ == "__main__":
    main()
