"""Compares the plain vision transformer of `make.py` with timm's, in names, values at the start and numbers.

    .venv/bin/pip install timm==1.0.31
    .venv/bin/python host/tests/golden/check_vit.py

The golden files hold the host to `make.py`; this holds `make.py` to timm. With the path of a safetensors file of a
`vit`, such as `host export` writes, it is loaded into timm's network instead: names and shapes must be timm's.
"""

import json
import sys

import torch
from make import VisionTransformer, describe, listen
from safetensors import safe_open
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer as Theirs


def theirs(shape, patch=16, width=192, depth=12, heads=3, ratio=4, classes=1000, mean=False):
    pool = dict(global_pool="avg", class_token=False) if mean else {}
    sizes = dict(patch_size=patch, embed_dim=width, depth=depth, num_heads=heads, mlp_ratio=ratio)
    return Theirs(shape[1:], in_chans=shape[0], num_classes=classes, **sizes, **pool)


def compare(sizes):
    torch.manual_seed(1)
    one, other = VisionTransformer(**sizes).double(), theirs(**sizes).double()
    names = [name for name, _ in other.named_parameters()]
    assert names == [name for name, _ in one.named_parameters()]
    for parameter in other.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    one.load_state_dict(other.state_dict(), strict=True)
    images = torch.randn(5, *sizes["shape"]).double()
    error = 0.0
    results = []
    for network in (one, other):
        logits = network(images)
        logits.sin().sum().backward()
        results.append([logits, *(parameter.grad for parameter in network.parameters())])
    for got, expected in zip(*results):
        error = max(error, ((got - expected).abs() / expected.abs().clamp_min(1.0)).max().item())
    assert error < 1e-12, error
    print(f"{sizes}: {len(names)} parameters, apart by {error:.1e}")


def compare_starts(**sizes):
    """Each parameter of timm's network is spread as `make.py` says of its own."""
    sizes = dict(shape=[3, 64, 64], patch=8, width=192, depth=2, heads=3, ratio=4, classes=1000) | sizes
    one, said = listen(lambda: VisionTransformer(**sizes))
    for (name, own), other in zip(one.named_parameters(), theirs(**sizes).parameters()):
        start = describe(own, said)
        match list(start.items()):
            case [("normal", deviation)]:
                got, expected = other.std().item(), deviation
            case [("uniform", bound)]:
                got, expected = other.std().item(), bound / 3**0.5
                assert other.abs().max() <= bound, name
            case [("constant", value)]:
                got = expected = value
                assert (other == value).all(), name
        # Five standard errors of a normal one's deviation, and more of a uniform one's.
        near = 5 * expected / (2 * other.numel()) ** 0.5
        assert abs(got - expected) <= near, f"{name}: {got}, expected {expected}"
        print(f"  {name} starts as {start}, timm's at a deviation of {other.std():.2e}")


def load(path):
    with safe_open(path, "pt") as file:
        about = file.metadata()
    options = json.loads(about["model_options"])
    names = {"mlp_ratio": "ratio", "pool": None, "dropout": None, "stochastic_depth": None}
    sizes = {names.get(key, key): value for key, value in options.items() if names.get(key, key)}
    network = theirs(
        json.loads(about["input_shape"]),
        **sizes,
        classes=int(about["classes"]),
        mean=options.get("pool") == "mean",
    )
    print(network.load_state_dict(load_file(path), strict=True))


if __name__ == "__main__":
    if sys.argv[1:]:
        load(sys.argv[1])
    else:
        compare(dict(shape=[2, 8, 12], patch=4, width=12, depth=2, heads=3, ratio=2, classes=5))
        compare(dict(shape=[1, 9, 6], patch=3, width=8, depth=2, heads=2, ratio=1.6, classes=4, mean=True))
        compare_starts()
        compare_starts(mean=True)
